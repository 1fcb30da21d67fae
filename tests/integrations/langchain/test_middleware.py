"""`PersonaMiddleware` in agents of LangChain's, down to what a server receives."""

import openai
import pytest
from langchain.agents.middleware import ModelRetryMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver

from persona_integrations.langchain import CALL_ID
from persona_sdk.errors import InputError, PluginError
from persona_sdk.models import Message
from tests.integrations.langchain.agents import WAYS, Context, Weather, answers, ask, config, look
from tests.support.chatting import ADA, BOB, Does, Prefix

every_way = pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
one_way_each = pytest.mark.parametrize("run", [WAYS["invoke"], WAYS["astream"]], ids=["invoke", "astream"])


# What is sent, and what comes back


@every_way
def test_the_system_message_is_tailored_and_the_answer_carries_the_call_id(world, run):
    state = run(world.agent(), ask(), config("ada"))
    assert world.server.wire == [("system", f"Be kind. [{ADA}]"), ("user", "why?")]
    (answer,) = answers(state)
    assert answer.text == "echo: why?"
    assert answer.usage_metadata["output_tokens"] == 2
    assert world.plugin.answers == [(answer.response_metadata[CALL_ID], "echo: why?")]
    assert len(world.server.requests) == 1


@every_way
def test_nobody_named_means_the_same_request_to_the_byte(world, run):
    bare = run(world.agent(middleware=[]), ask(), config())
    state = run(world.agent(), ask(), config())
    assert world.server.bodies[0] == world.server.bodies[1]
    assert [m.text for m in state["messages"]] == [m.text for m in bare["messages"]]
    assert CALL_ID not in answers(state)[0].response_metadata
    assert world.plugin.tailored == world.plugin.answers == []


@every_way
def test_each_step_of_a_loop_of_tools_is_tailored_and_has_its_own_call_id(world, run):
    state = run(world.agent(look), ask("Rome"), config("ada"))
    assert [type(m) for m in state["messages"]] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert state["messages"][2].text == "sunny: echo: Rome"
    assert [r["messages"][0]["content"] for r in world.server.requests] == [f"Be kind. [{ADA}]"] * 2
    assert [m["role"] for m in world.server.requests[1]["messages"]] == ["system", "user", "assistant", "tool"]
    assert [r["tools"][0]["function"]["name"] for r in world.server.requests] == ["look"] * 2
    ids = [m.response_metadata[CALL_ID] for m in answers(state)]
    assert [text for _, text in world.plugin.answers] == ["", "echo: Rome"]
    assert ids == [call_id for call_id, _ in world.plugin.answers]
    assert len(set(ids)) == 2


@one_way_each
def test_without_a_system_prompt_a_tailor_makes_one_for_this_request_only(world, run):
    run(world.agent(system_prompt=None), ask(), config("ada"))
    assert world.server.wire == [("system", f"[{ADA}]"), ("user", "why?")]


@one_way_each
def test_system_messages_of_the_conversation_stay_in_it(world, run):
    given = {"messages": [SystemMessage("Be brief."), HumanMessage("why?")]}
    run(world.agent(system_prompt=None), given, config("ada"))
    assert world.server.wire == [("system", f"Be brief. [{ADA}]"), ("user", "why?")]
    run(world.agent(), given, config("ada"))
    assert world.server.wire == [("system", f"Be kind. [{ADA}]"), ("system", "Be brief."), ("user", "why?")]


@one_way_each
def test_what_tailors_do_to_other_messages_is_sent(make, run):
    def doing(call):
        changed = call.messages[-1].model_copy(update={"content": f"{call.messages[-1].text} (shortly)"})
        return call.override(messages=(*call.messages[:-1], Message(role="user", content="Hi."), changed))

    world = make(Does(doing))
    state = run(world.agent(), ask(), config("ada"))
    assert world.server.wire == [("system", "Be kind."), ("user", "Hi."), ("user", "why? (shortly)")]
    assert [m.text for m in state["messages"]] == ["why?", "echo: why? (shortly)"]


@one_way_each
def test_sampling_and_adapter_are_sent_and_the_agents_own_settings_have_the_last_word(make, run):
    world = make(Does(lambda call: call.override(params={"temperature": 0.2, "top_p": 0.5}, adapter="ada-7")))
    run(world.agent(look, demanding=False), ask(), config("ada"))
    sent = world.server.requests[-1]
    assert (sent["model"], sent["temperature"], sent["top_p"]) == ("ada-7", 0.2, 0.5)

    class Hot(ModelRetryMiddleware):
        def wrap_model_call(self, request, handler):
            return handler(request.override(model_settings={"temperature": 1.0}))

        async def awrap_model_call(self, request, handler):
            return await handler(request.override(model_settings={"temperature": 1.0}))

    run(world.agent(middleware=[Hot(), world.middleware()]), ask(), config("ada"))
    sent = world.server.requests[-1]
    assert (sent["model"], sent["temperature"], sent["top_p"]) == ("ada-7", 1.0, 0.5)


@pytest.mark.parametrize("form", [Weather, ToolStrategy(Weather), ProviderStrategy(Weather)])
@one_way_each
def test_structured_output_is_as_without_us_and_asked_for_once(make, run, form):
    world = make(Prefix(), Does(lambda call: call.override(n=3)))
    model = ChatOpenAI(model="gpt-4o", base_url=world.server.url, api_key="none")  # one that LangChain knows
    bare = run(world.agent(middleware=[], model=model, response_format=form), ask("Rome"), config("ada"))
    state = run(world.agent(model=model, response_format=form), ask("Rome"), config("ada"))
    assert state["structured_response"] == bare["structured_response"] == Weather(place="echo: Rome", degrees=7)
    without, tailored = world.server.requests
    assert tailored["messages"][0]["content"] == f"Be kind. [{ADA}]"
    assert {**tailored, "messages": 0} == {**without, "messages": 0}
    assert world.plugin.answers == [(answers(state)[0].response_metadata[CALL_ID], "")]


def test_feedback_finds_the_last_answer_by_its_call_id(world):
    state = world.agent(look).invoke(ask("Rome"), config("ada"))
    rating = world.personalizer.rate("ada", True, response_id=answers(state)[-1].response_metadata[CALL_ID])
    assert rating.response == "echo: Rome"
    assert [m.role for m in rating.prompt] == ["system", "user", "assistant", "tool"]
    assert rating.prompt[0].text == "Be kind."
    assert world.personalizer.explain(answers(state)[-1].response_metadata[CALL_ID]).user_id == "ada"


@one_way_each
def test_the_call_id_is_not_sent_with_the_next_turn(world, run):
    agent = world.agent(checkpointer=InMemorySaver())
    state = run(agent, ask(), config("ada", "1"))
    run(agent, ask("and?"), config("ada", "1"))
    assert answers(state)[0].response_metadata[CALL_ID].encode() not in world.server.bodies[-1]
    expected = [("system", f"Be kind. [{ADA}]"), ("user", "why?"), ("assistant", "echo: why?"), ("user", "and?")]
    assert world.server.wire == expected


# Who asks


@pytest.mark.parametrize("context", [Context("bob"), {"user_id": "bob"}], ids=["attribute", "key"])
@one_way_each
def test_the_person_is_the_contexts_then_the_configs_then_the_bound_one(world, run, context):
    agent = world.agent(middleware=[world.middleware(user_id="ada")], context_schema=type(context))
    nobody = type(context)()
    whom = {ADA: "ada", BOB: "bob"}

    def asked(*args, **kwargs):
        run(agent, ask(), *args, **kwargs)
        return whom.get(world.server.wire[0][1].partition("[")[2].rstrip("]"))

    assert asked(config("ada"), context=context) == "bob"
    assert asked(config("bob"), context=nobody) == "bob"
    assert asked(config(), context=nobody) == "ada"
    assert asked(config()) == "ada"


@every_way
def test_an_unusable_user_id_is_the_callers_error(world, run):
    with pytest.raises(InputError, match="user_id"):
        run(world.agent(middleware=[world.middleware(learn=True)]), ask(), config(42))
    assert world.server.requests == []


# What goes wrong


@every_way
def test_what_the_model_raises_comes_out_unchanged_and_once(world, run):
    world.server.fail("500")
    with pytest.raises(openai.InternalServerError):
        run(world.agent(), ask(), config("ada"))
    assert len(world.server.requests) == len(world.plugin.tailored) == 1
    assert world.plugin.answers == []


@one_way_each
def test_a_broken_tailor_does_not_break_the_agent(make, run):
    world = make(Does(lambda call: 1 / 0), Prefix())
    assert answers(run(world.agent(), ask(), config("ada")))[0].text == "echo: why?"
    assert world.server.wire == [("system", f"Be kind. [{ADA}]"), ("user", "why?")]


@one_way_each
def test_a_required_tailor_that_fails_keeps_the_model_from_being_called(make, run):
    world = make(Does(lambda call: 1 / 0, required=True))
    with pytest.raises(PluginError):
        run(world.agent(), ask(), config("ada"))
    assert world.server.requests == []


@one_way_each
def test_an_answer_that_cannot_be_kept_is_given_all_the_same(world, run, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError("the disk is full of echo: why?")

    monkeypatch.setattr(world.personalizer, "answered", full)
    assert answers(run(world.agent(), ask(), config("ada")))[0].text == "echo: why?"
    assert "OSError" in caplog.text
    assert "echo" not in caplog.text


@one_way_each
def test_a_model_that_is_asked_again_is_asked_the_same(world, run):
    world.server.fail("500")
    again = ModelRetryMiddleware(max_retries=1, initial_delay=0, jitter=False)
    state = run(world.agent(middleware=[world.middleware(), again]), ask(), config("ada"))
    assert answers(state)[0].text == "echo: why?"
    assert world.server.bodies[0] == world.server.bodies[1]
    assert len(world.plugin.tailored) == 1
