"""`PersonalizedChat` over LangChain's own fake models, and over a real `BaseChatModel` that keeps what it received."""

import asyncio
import copy
import pickle

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda

from persona_sdk.chat import CALL_ID, PersonalizedChat
from persona_sdk.errors import InputError, PluginError
from tests.support.chatting import ADA, BOB, CALLS, Does, Prefix, Recorder, for_user, make_personalizer, sent


@pytest.fixture
def world():
    personalizer, plugin = make_personalizer()
    model = Recorder()
    yield personalizer.wrap(model), model, plugin
    personalizer.close()


every_way = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


# Whatever way it is called


@every_way
def test_a_call_is_tailored_and_its_answer_carries_the_call_id(world, call):
    chat, model, plugin = world
    answer = call(chat, "why?", for_user("ada"))
    assert sent(model) == [("system", f"[{ADA}]"), ("human", "why?")]
    assert answer.content == "one two three"
    assert plugin.answers == [(answer.response_metadata[CALL_ID], "one two three")]
    assert len(model.received) == 1


@every_way
def test_without_a_user_the_model_gets_the_call_as_it_came(world, call):
    chat, model, plugin = world
    answer = call(chat, "why?", {"tags": ["t"]}, stop=["x"])
    assert sent(model) == [("human", "why?")]
    assert model.options == [{"stop": ["x"]}]
    assert CALL_ID not in answer.response_metadata
    assert plugin.tailored == plugin.answers == []


@every_way
def test_what_the_model_raises_comes_out_unchanged_and_once(world, call):
    chat, model, plugin = world
    model.answers = [broken := ZeroDivisionError("the model")]
    with pytest.raises(ZeroDivisionError) as raised:
        call(chat, "why?", for_user("ada"))
    assert raised.value is broken
    assert len(model.received) == len(plugin.tailored) == 1
    assert plugin.answers == []


@every_way
def test_a_broken_tailor_does_not_break_the_chat(call):
    personalizer, _ = make_personalizer(Does(lambda call: 1 / 0), Prefix())
    model = Recorder()
    assert call(personalizer.wrap(model), "why?", for_user("ada")).content == "one two three"
    assert sent(model) == [("system", f"[{ADA}]"), ("human", "why?")]


@every_way
def test_a_required_tailor_that_fails_keeps_the_model_from_being_called(call):
    personalizer, _ = make_personalizer(Does(lambda call: 1 / 0, required=True))
    model = Recorder()
    with pytest.raises(PluginError):
        call(personalizer.wrap(model), "why?", for_user("ada"))
    assert model.received == []


# Who is asking


def test_the_user_is_the_configs_then_the_calls_then_the_bound_one(world):
    chat, model, _ = world
    bound = chat.for_user("ada")
    bound.invoke("why?")
    bound.invoke("why?", user_id="bob")
    bound.invoke("why?", for_user("ada"), user_id="bob")
    chat.with_config(for_user("bob")).invoke("why?")
    chat.bind(user_id="bob").invoke("why?")
    RunnableLambda(bound.invoke).invoke("why?", for_user("bob"))
    assert [m[0].content for m in model.received] == [f"[{t}]" for t in (ADA, BOB, ADA, BOB, BOB, BOB)]
    assert all("user_id" not in options for options in model.options)


def test_each_call_of_a_batch_has_its_own_user(world):
    chat, model, _ = world
    configs = [for_user("ada"), {}, for_user("bob"), for_user("nobody known")]
    chat.batch(["1", "2", "3", "4"], configs)
    asyncio.run(chat.abatch(["1", "2", "3", "4"], configs))
    expected = [[("human", "2")], [("human", "4")]]
    expected += [[("system", f"[{who}]"), ("human", what)] for who, what in ((ADA, "1"), (BOB, "3"))]
    seen = [sent(model, i) for i in range(8)]
    assert sorted(seen[:4]) == sorted(seen[4:]) == sorted(expected)


def test_a_batch_can_return_exceptions(world):
    chat, model, _ = world
    model.answers = [broken := ValueError("no")]
    assert chat.batch(["1", "2"], for_user("ada"), return_exceptions=True) == [broken, broken]


def test_an_unusable_user_id_is_the_callers_error(world):
    chat, model, _ = world
    with pytest.raises(InputError):
        chat.invoke("why?", user_id=42)
    assert model.received == []


def test_what_is_not_messages_is_the_callers_error(world):
    chat, model, _ = world
    with pytest.raises(InputError, match="dict"):
        chat.invoke({"question": "why?"}, user_id="ada")
    with pytest.raises(NotImplementedError):  # the model's own words for it
        chat.invoke([object()], user_id="ada")
    assert model.received == []


# What it can do besides


def test_whatever_is_made_of_the_model_stays_personalised(world):
    chat, model, _ = world
    fallback = Recorder()
    made = {
        "bind": chat.bind(stop=["x"]),
        "bind_tools": chat.bind_tools([{"name": "tool"}]),
        "with_config": chat.with_config(tags=["t"]),
        "with_retry": chat.with_retry(),
        "with_fallbacks": chat.with_fallbacks([fallback]),
        "with_types": chat.with_types(output_type=str),
        "with_listeners": chat.with_listeners(),
        "with_alisteners": chat.with_alisteners(),
        "its own method": chat.terse(),
        "one after the other": chat.bind(stop=["x"]).bind_tools([]).with_retry().with_config(tags=["t"]),
    }
    for how, runnable in made.items():
        runnable.invoke("why?", for_user("ada"))
        assert sent(model) == [("system", f"[{ADA}]"), ("human", "why?")], how
    assert model.options[:2] == [{"stop": ["x"]}, {"tools": [{"name": "tool"}]}]
    assert model.options[-2] == {"stop": ["."]}
    model.bind(stop=["x"]).bind_tools([]).with_retry().with_config(tags=["t"]).invoke("why?")
    assert model.options[-2] == model.options[-1]


def test_a_retry_and_a_fallback_get_the_same_tailored_call_once_tailored(world):
    chat, model, plugin = world
    other = Recorder(answers=["other"])
    model.answers = [ValueError("1"), ValueError("2")]
    retrying = chat.with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
    assert retrying.with_fallbacks([chat.bind()._over(other)]).invoke("why?", for_user("ada")).content == "other"
    assert len(model.received) == 2
    assert sent(model, 0) == sent(model, 1) == sent(other) == [("system", f"[{ADA}]"), ("human", "why?")]
    assert len(plugin.tailored) == len(plugin.answers) == 1


def test_it_is_reached_through_like_the_model(world):
    chat, model, _ = world
    assert isinstance(chat, Runnable)
    assert chat.model_name == "recorder"
    assert chat.get_num_tokens_from_messages is not None
    assert chat.get_name() == model.get_name()
    assert (chat.InputType, chat.OutputType) == (model.InputType, model.OutputType)
    assert chat.get_input_jsonschema() == model.get_input_jsonschema()
    assert chat.get_output_jsonschema() == model.get_output_jsonschema()
    assert chat.config_specs == model.config_specs
    assert not hasattr(chat, "no_such_thing")
    assert "Recorder" in repr(chat)
    assert len(chat.get_graph().nodes) == 3


def test_it_survives_copying_and_pickling():
    chat = PersonalizedChat("engine", FakeListChatModel(responses=["a"]), user_id="ada")
    for other in (copy.copy(chat), copy.deepcopy(chat), pickle.loads(pickle.dumps(chat))):
        assert (other._engine, other._user_id, other.responses) == ("engine", "ada", ["a"])


def test_it_is_a_step_of_a_chain(world):
    chat, model, plugin = world
    prompt = ChatPromptTemplate.from_messages([("system", "Be kind."), ("human", "{question}")])
    chain = prompt | chat | StrOutputParser()
    assert chain.invoke({"question": "why?"}, for_user("ada")) == "one two three"
    assert "".join(chain.stream({"question": "why?"}, for_user("ada"))) == "one two three"
    assert asyncio.run(chain.ainvoke({"question": "why?"}, for_user("ada"))) == "one two three"
    assert sent(model) == [("system", f"Be kind. [{ADA}]"), ("human", "why?")]
    assert len(chain.batch([{"question": "1"}, {"question": "2"}], for_user("bob"))) == 2
    assert len(plugin.answers) == 5


def test_callbacks_see_the_models_run_and_nothing_else(world):
    class Watching(BaseCallbackHandler):
        def __init__(self):
            self.seen = []

        def on_chat_model_start(self, serialized, messages, *, tags, name, **kwargs):
            self.seen.append((name, tags, [m.type for m in messages[0]]))

        def on_chain_start(self, *args, **kwargs):
            self.seen.append("chain")

        def on_llm_end(self, *args, **kwargs):
            self.seen.append("end")

    watching = Watching()
    config = {"callbacks": [watching], "tags": ["t"], "run_name": "mine", **for_user("ada")}
    world[0].invoke("why?", config)
    assert watching.seen == [("mine", ["t"], ["system", "human"]), "end"]


async def test_events_are_streamed_as_from_the_model(world):
    events = [e["event"] async for e in world[0].astream_events("why?", for_user("ada"), version="v2")]
    assert events == [e["event"] async for e in world[1].astream_events("why?", version="v2")]
    assert "on_chat_model_stream" in events


@pytest.mark.parametrize(
    "model",
    [
        lambda: FakeListChatModel(responses=["so it is"]),
        lambda: GenericFakeChatModel(messages=iter(["so it is"])),
        lambda: RunnableLambda(lambda messages: AIMessage(content="so it is")),
        lambda: lambda messages: "so it is",
    ],
)
@pytest.mark.parametrize("call", [CALLS["invoke"], CALLS["astream"]])
def test_any_model_or_runnable_can_be_wrapped(world, model, call):
    _, _, plugin = world
    answer = call(PersonalizedChat(world[0]._engine, model()), "why?", for_user("ada"))
    assert getattr(answer, "content", answer) == "so it is"
    assert plugin.answers[0][1] == "so it is"
    if not isinstance(answer, str):
        assert answer.response_metadata[CALL_ID] == plugin.answers[0][0]
