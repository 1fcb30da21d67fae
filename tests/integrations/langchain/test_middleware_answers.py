"""`PersonaMiddleware` where answers are chosen among, and where they are streamed."""

import asyncio
from typing import Any

import openai
import pytest
from langchain.agents.middleware import AgentMiddleware, AgentState
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.runnables.config import ensure_config
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from persona_integrations.langchain import CALL_ID
from tests.integrations.langchain.agents import WAYS, answers, ask, config, look, streamed
from tests.support.chatting import ADA, Does, joined

every_way = pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
one_way_each = pytest.mark.parametrize("run", [WAYS["invoke"], WAYS["astream"]], ids=["invoke", "astream"])
both = pytest.mark.parametrize("use_async", [False, True], ids=["stream", "astream"])


def longest_of(n):
    return Does(lambda call: call.override(n=n), lambda texts: texts.index(max(texts, key=len)))


# The best of n


@every_way
def test_the_best_of_several_answers_is_given(make, run):
    world = make(longest_of(3))
    world.server.answers.extend(["a", "the longest of all", "short"])
    state = run(world.agent(look, demanding=False), ask(), config("ada"))
    (answer,) = answers(state)
    assert answer.text == "the longest of all"
    assert len(world.server.requests) == 3
    assert len({str(r) for r in world.server.requests}) == 1
    assert world.plugin.answers == [(answer.response_metadata[CALL_ID], "the longest of all")]


@every_way
def test_a_tool_call_is_taken_as_it_is_and_asked_for_once(make, run):
    world = make(longest_of(3))
    state = run(world.agent(look), ask("Rome"), config("ada"))
    assert [m["role"] for m in world.server.requests[1]["messages"]][-1] == "tool"
    assert len(world.server.requests) == 1 + 3
    assert [m.text for m in answers(state)] == ["", "echo: Rome"]


@one_way_each
def test_failed_ones_among_the_others_are_left_out(make, run):
    world = make(longest_of(3))
    world.server.answers.extend(["a", "ab", "abc"])
    world.server.fail(None, "500", "500")
    assert answers(run(world.agent(), ask(), config("ada")))[0].text == "a"
    assert len(world.server.requests) == 3


@one_way_each
def test_a_first_answer_that_fails_fails_the_call_as_without_us(make, run):
    world = make(longest_of(3))
    world.server.fail("500")
    with pytest.raises(openai.InternalServerError):
        run(world.agent(), ask(), config("ada"))
    assert len(world.server.requests) == 1
    assert world.plugin.answers == []


@one_way_each
def test_others_that_call_tools_are_left_out(make, run):
    class Calling(AgentMiddleware):
        """Has every answer but the first call a tool."""

        def __init__(self):
            super().__init__()
            self.calls = 0

        def changed(self, response):
            self.calls += 1
            if self.calls > 1:
                call = {"name": "look", "args": {"place": "Rome"}, "id": "1"}
                response.result = [AIMessage("a longer text with a call", tool_calls=[call])]
            return response

        def wrap_model_call(self, request, handler):
            return self.changed(handler(request))

        async def awrap_model_call(self, request, handler):
            return self.changed(await handler(request))

    world = make(longest_of(3))
    world.server.answers.extend(["a", "ab", "abc"])
    agent = world.agent(look, demanding=False, middleware=[world.middleware(), Calling()])
    assert [m.text for m in answers(run(agent, ask(), config("ada")))] == ["a"]


@one_way_each
def test_an_interrupt_in_one_of_several_answers_is_the_graphs(make, run):
    class Asking(AgentMiddleware):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def ask(self):
            self.calls += 1
            if self.calls > 1:
                interrupt("really?")

        def wrap_model_call(self, request, handler):
            self.ask()
            return handler(request)

        async def awrap_model_call(self, request, handler):
            self.ask()
            return await handler(request)

    world = make(longest_of(2))
    agent = world.agent(middleware=[world.middleware(), Asking()], checkpointer=InMemorySaver())
    assert run(agent, ask(), config("ada", "1"))["__interrupt__"][0].value == "really?"


# Streams


@both
def test_a_stream_of_messages_is_the_models_and_its_metadata_has_the_call_id(world, use_async):
    agent = world.agent(look, checkpointer=InMemorySaver())
    chunks = streamed(agent, ask("one two"), config("ada", "1"), use_async=use_async)
    spoken = [(m, metadata) for m, metadata in chunks if isinstance(m, AIMessageChunk)]
    assert [m.content for m, _ in spoken if m.content] == ["echo: ", "one ", "two"]
    whole = joined([m for m, metadata in spoken if metadata["langgraph_step"] == spoken[-1][1]["langgraph_step"]])
    assert whole.usage_metadata["output_tokens"] == 3
    kept = answers(agent.get_state(config("ada", "1")).values)
    assert list(dict.fromkeys(md[CALL_ID] for _, md in spoken)) == [m.response_metadata[CALL_ID] for m in kept]
    assert whole.id == kept[-1].id


@both
def test_a_stream_of_messages_has_only_the_answer_that_was_chosen(make, use_async):
    world = make(longest_of(3))
    world.server.answers.extend(["a", "the longest of all", "short"])
    chunks = streamed(world.agent(), ask(), config("ada"), use_async=use_async)
    assert [(m.content, CALL_ID in m.response_metadata) for m, _ in chunks] == [("the longest of all", True)]


def test_events_are_streamed_as_without_us(world):
    async def seen(agent):
        events = [e async for e in agent.astream_events(ask("one two"), config("ada"), version="v2")]
        return [(e["event"], e["name"]) for e in events if e["event"].startswith("on_chat_model")], events

    bare, _ = asyncio.run(seen(world.agent(middleware=[])))
    ours, events = asyncio.run(seen(world.agent()))
    assert ours == bare
    assert [name for _, name in ours[:2]] == ["ChatOpenAI", "ChatOpenAI"]
    models = [e for e in events if e["event"] == "on_chat_model_end"]
    assert {e["metadata"][CALL_ID] for e in models} == {call_id for call_id, _ in world.plugin.answers}


@one_way_each
def test_callbacks_and_their_tags_reach_the_model(world, run):
    class Watching(BaseCallbackHandler):
        seen: list[Any]

        def __init__(self):
            self.seen = []

        def on_chat_model_start(self, serialized, messages, *, tags, metadata, **kwargs):
            self.seen.append((tags, metadata["mine"], CALL_ID in metadata, len(messages[0])))

    watching = Watching()
    run(world.agent(), ask(), config("ada", callbacks=[watching], tags=["t"], metadata={"mine": 1}))
    ((tags, mine, known, count),) = watching.seen
    assert "t" in tags
    assert "nostream" not in tags
    assert (mine, known, count) == (1, True, 2)


# Beside other middleware


@one_way_each
def test_what_other_middleware_writes_to_the_state_is_kept(world, run):
    class Counting(AgentMiddleware):
        state_schema = type("Counted", (AgentState,), {"__annotations__": {"calls": int}})

        def wrap_model_call(self, request, handler):
            from langchain.agents.middleware import ExtendedModelResponse

            return ExtendedModelResponse(handler(request), Command(update={"calls": 1}))

        async def awrap_model_call(self, request, handler):
            from langchain.agents.middleware import ExtendedModelResponse

            return ExtendedModelResponse(await handler(request), Command(update={"calls": 1}))

    for middleware in ([world.middleware(), Counting()], [Counting(), world.middleware()]):
        state = run(world.agent(middleware=middleware), ask(), config("ada"))
        assert state["calls"] == 1
        assert CALL_ID in answers(state)[0].response_metadata


class Looking(AgentMiddleware):
    """Keeps what it is asked, and the config that holds before and after."""

    def __init__(self):
        super().__init__()
        self.asked, self.configs = [], []

    @property
    def name(self):
        return f"Looking {id(self)}"

    def look(self, request):
        self.asked.append(request)
        self.configs.append(ensure_config())

    def wrap_model_call(self, request, handler):
        self.look(request)
        response = handler(request)
        self.look(request)
        return response

    async def awrap_model_call(self, request, handler):
        self.look(request)
        response = await handler(request)
        self.look(request)
        return response


@one_way_each
def test_middleware_around_it_sees_the_call_as_it_came_and_inside_as_it_goes(world, run):
    around, inside = Looking(), Looking()
    run(world.agent(middleware=[around, world.middleware(), inside]), ask(), config("ada"))
    assert [r.system_message.text for r in around.asked] == ["Be kind."] * 2
    assert [r.system_message.text for r in inside.asked] == [f"Be kind. [{ADA}]"] * 2
    assert [CALL_ID in c["metadata"] for c in around.configs] == [False, False]
    assert [CALL_ID in c["metadata"] for c in inside.configs] == [True, True]
    assert [id(m) for m in inside.asked[0].messages] == [id(m) for m in around.asked[0].messages]


@pytest.mark.parametrize("prompt", [None, "Be kind."])
@one_way_each
def test_system_messages_of_the_conversation_stay_where_they_are(world, run, prompt):
    inside, told = Looking(), [SystemMessage("Be brief."), HumanMessage("why?")]
    agent = world.agent(middleware=[world.middleware(), inside], system_prompt=prompt)
    run(agent, {"messages": told}, config("ada"))
    asked = inside.asked[0]
    if prompt is None:
        assert asked.system_message is None
        assert [m.text for m in asked.messages] == [f"Be brief. [{ADA}]", "why?"]
    else:
        assert asked.system_message.text == f"Be kind. [{ADA}]"
        assert [m.text for m in asked.messages] == ["Be brief.", "why?"]
    run(agent, ask(), config("ada"))
    assert inside.asked[-1].system_message.text == (f"{prompt} [{ADA}]" if prompt else f"[{ADA}]")
    assert [m.text for m in inside.asked[-1].messages] == ["why?"]
