"""`PersonalizedChat` over `ChatOpenAI` and the official client, down to the bytes a server receives."""

import asyncio
import json

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from persona_sdk.chat import CALL_ID
from tests.support.chatting import ADA, BOB, CALLS, Does, for_user, joined, make_personalizer
from tests.support.openai_server import openai_server

every_way = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
one_way_each = pytest.mark.parametrize("call", [CALLS["invoke"], CALLS["astream"]], ids=["invoke", "astream"])


class Weather(BaseModel):
    """The weather somewhere."""

    place: str
    degrees: int


@pytest.fixture
def server():
    with openai_server() as running:
        yield running


@pytest.fixture
def model(server):
    options = {"max_retries": 0, "stream_usage": True, "timeout": 30}
    return ChatOpenAI(model="some-model", base_url=server.url, api_key="none", **options)


@pytest.fixture
def world(model):
    personalizer, plugin = make_personalizer()
    yield personalizer.wrap(model), model, plugin
    personalizer.close()


CONVERSATION = [
    SystemMessage("Be kind."),
    HumanMessage([{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]),
    AIMessage("", tool_calls=[{"name": "look", "args": {"at": "it"}, "id": "1"}]),
    ToolMessage("a cat", tool_call_id="1"),
    HumanMessage("Sure?", name="ada"),
]


@every_way
def test_without_a_user_the_request_is_the_same_to_the_byte(world, server, call):
    chat, model, _ = world
    call(model, CONVERSATION, temperature=0.3)
    call(chat, CONVERSATION, temperature=0.3)
    assert len(server.bodies) == 2
    assert server.bodies[0] == server.bodies[1]


@every_way
def test_with_a_user_only_the_system_message_differs_on_the_wire(world, server, call):
    chat, model, plugin = world
    call(model, CONVERSATION)
    answer = call(chat, CONVERSATION, for_user("ada"))
    bare, tailored = server.requests
    assert tailored["messages"][0] == {"role": "system", "content": f"Be kind. [{ADA}]"}
    assert {**tailored, "messages": tailored["messages"][1:]} == {**bare, "messages": bare["messages"][1:]}
    assert answer.content == "echo: Sure?"
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.response_metadata["model_name"] == "some-model"
    assert answer.usage_metadata["output_tokens"] == 2
    assert plugin.answers == [(answer.response_metadata[CALL_ID], "echo: Sure?")]


@every_way
def test_the_call_id_is_not_sent_with_the_next_turn(world, server, call):
    chat, _, _ = world
    answer = call(chat, "why?", for_user("ada"))
    chat.invoke([HumanMessage("why?"), answer, HumanMessage("and?")], for_user("ada"))
    assert answer.response_metadata[CALL_ID].encode() not in server.bodies[-1]
    assert server.wire == [("system", f"[{ADA}]"), ("user", "why?"), ("assistant", "echo: why?"), ("user", "and?")]


@one_way_each
def test_openai_dicts_are_sent_on_as_they_are(world, server, call):
    chat, model, _ = world
    dicts = [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "why?", "name": "ada"}]
    call(model, dicts)
    call(chat, dicts, for_user("ada"))
    bare, tailored = (r["messages"] for r in server.requests)
    assert tailored[0] == {"role": "developer", "content": f"Be kind. [{ADA}]"}
    assert tailored[1:] == bare[1:]


def test_streamed_chunks_and_their_sum_are_the_models_own(world):
    chat, model, _ = world
    mine, theirs = list(chat.stream("why is it so?", for_user("ada"))), list(model.stream("why is it so?"))
    assert [c.content for c in mine] == [c.content for c in theirs]
    sums = [joined(chunks) for chunks in (mine, theirs)]
    assert sums[0].response_metadata.pop(CALL_ID)
    assert sums[0].response_metadata == sums[1].response_metadata
    assert sums[0].usage_metadata["output_tokens"] == sums[1].usage_metadata["output_tokens"]
    assert [c.usage_metadata is None for c in mine] == [c.usage_metadata is None for c in theirs]


def test_two_users_in_one_batch_each_get_theirs(world, server):
    chat, _, _ = world
    configs = [for_user("ada"), for_user("bob"), {}]
    for answers in (chat.batch(["1", "2", "3"], configs), asyncio.run(chat.abatch(["1", "2", "3"], configs))):
        assert [a.content for a in answers] == ["echo: 1", "echo: 2", "echo: 3"]
        assert [CALL_ID in a.response_metadata for a in answers] == [True, True, False]
    sent = sorted([m["content"] for m in r["messages"]] for r in server.requests)
    assert sent == sorted([[f"[{ADA}]", "1"], [f"[{BOB}]", "2"], ["3"]] * 2)


# Tools and structured output


@one_way_each
def test_tools_are_bound_and_called(world, server, call):
    chat, _, plugin = world
    answer = call(chat.bind_tools([Weather], tool_choice="Weather"), "Rome", for_user("ada"))
    assert [t["function"]["name"] for t in server.requests[0]["tools"]] == ["Weather"]
    assert server.wire == [("system", f"[{ADA}]"), ("user", "Rome")]
    assert answer.tool_calls[0]["args"] == {"place": "echo: Rome", "degrees": 7}
    assert plugin.answers == [(answer.response_metadata[CALL_ID], "")]


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
@one_way_each
def test_structured_output_is_the_models_own(world, server, method, call):
    structured = world[0].with_structured_output(Weather, method=method)
    if call is CALLS["invoke"]:
        assert call(structured, "Rome", for_user("ada")) == Weather(place="echo: Rome", degrees=7)
    else:
        assert list(structured.stream("Rome", for_user("ada")))[-1] == Weather(place="echo: Rome", degrees=7)
    assert server.wire == [("system", f"[{ADA}]"), ("user", "Rome")]


def test_structured_output_comes_with_the_raw_message_if_asked(world):
    structured = world[0].with_structured_output(Weather, method="function_calling", include_raw=True)
    result = structured.invoke("Rome", for_user("ada"))
    assert result["parsed"].degrees == 7
    assert result["raw"].tool_calls


def test_structured_output_is_asked_for_once_where_answers_are_chosen_among(model, server):
    personalizer, _ = make_personalizer(Does(lambda call: call.override(n=3)))
    chat = personalizer.wrap(model, user_id="ada")
    assert chat.with_structured_output(Weather).invoke("Rome").degrees == 7
    assert len(server.requests) == 1


def test_a_chain_with_a_prompt_and_a_parser(world, server):
    prompt = ChatPromptTemplate.from_messages([("system", "Be kind."), ("human", "{question}")])
    chain = prompt | world[0] | StrOutputParser()
    assert "".join(chain.stream({"question": "why?"}, for_user("ada"))) == "echo: why?"
    assert server.wire == [("system", f"Be kind. [{ADA}]"), ("user", "why?")]


@every_way
def test_the_best_of_several_answers_is_given(model, server, call):
    longest = Does(lambda call: call.override(n=3), lambda texts: texts.index(max(texts, key=len)))
    personalizer, plugin = make_personalizer(longest)
    server.answers.extend(["a", "the longest of all", "short"])
    server.fail("500")
    answer = call(personalizer.wrap(model), "why?", for_user("ada"))
    assert answer.content in ("the longest of all", "short")  # which of the three failed is chance
    assert len(server.requests) == 3
    assert plugin.answers == [(answer.response_metadata[CALL_ID], answer.content)]


def test_sampling_and_adapter_are_on_the_wire(model, server):
    personalizer, _ = make_personalizer(Does(lambda call: call.override(adapter="ada-7", params={"temperature": 0.2})))
    personalizer.wrap(model).invoke("why?", user_id="ada")
    assert (server.requests[0]["model"], server.requests[0]["temperature"]) == ("ada-7", 0.2)


# What goes wrong


def raised_by(call, *args, **kwargs):
    with pytest.raises(openai.OpenAIError) as raised:
        call(*args, **kwargs)
    return type(raised.value), str(raised.value)


@pytest.mark.parametrize("fault", ["500", "cut"])
@every_way
def test_a_failing_server_fails_the_call_once_as_without_us(world, server, call, fault):
    chat, model, plugin = world
    server.fail(fault, fault)
    bare = raised_by(call, model, "one two three")
    assert raised_by(call, chat, "one two three", for_user("ada")) == bare
    assert len(server.requests) == 2
    assert plugin.answers == []


def test_chunks_that_came_before_the_line_went_dead_are_given(world, server):
    server.fail("cut")
    chunks = world[0].stream("one two three four", for_user("ada"))
    assert [next(chunks).content for _ in range(3)] == ["", "echo: ", "one "]
    with pytest.raises(openai.OpenAIError):
        list(chunks)


@one_way_each
def test_a_slow_server_fails_the_call_once_when_the_clients_patience_ends(world, server, call):
    chat, _, plugin = world
    server.fail("slow")
    impatient = chat.bind(timeout=0.2)
    with pytest.raises(openai.APITimeoutError):
        call(impatient, "why?", for_user("ada"))
    assert len(server.requests) == 1
    assert plugin.answers == []


def test_a_fallback_gets_the_tailored_messages(world, server):
    chat, model, _ = world
    server.fail("500")
    answer = chat.with_fallbacks([model.bind(model="other")]).invoke("why?", for_user("ada"))
    assert answer.response_metadata["model_name"] == "other"
    first, second = server.requests
    assert json.dumps(first["messages"]) == json.dumps(second["messages"])
    assert CALL_ID in answer.response_metadata
