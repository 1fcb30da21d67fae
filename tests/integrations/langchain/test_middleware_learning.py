"""What `PersonaMiddleware(learn=True)` records: what the person says, each message once."""

import pytest
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from persona_sdk.engine import Personalizer
from persona_sdk.errors import StorageError
from tests.integrations.langchain.agents import WAYS, Context, answers, ask, config, look
from tests.support.chatting import Recorder

every_way = pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
one_way_each = pytest.mark.parametrize("run", [WAYS["invoke"], WAYS["astream"]], ids=["invoke", "astream"])


@pytest.fixture
def learning(world):
    def agent(*tools, **options):
        return world.agent(*tools, middleware=[world.middleware(learn=True)], **options)

    return agent


@every_way
def test_what_the_person_says_is_recorded_once_however_many_steps_it_takes(world, learning, run):
    agent = learning(look, checkpointer=InMemorySaver(), context_schema=Context)
    run(agent, ask("Rome"), config(None, "1"), context=Context("ada"))
    run(agent, ask("Paris"), config(None, "1"), context=Context("ada"))
    run(agent, ask("Oslo"), config("bob", "2"))
    assert world.said == {"ada": ["Rome", "Paris"], "bob": ["Oslo"]}
    assert {s.source for s in world.personalizer.signals("ada")} == {"langchain"}


@one_way_each
def test_nothing_is_recorded_unless_asked_for_or_of_nobody(world, learning, run):
    run(world.agent(), ask(), config("ada"))
    run(learning(), ask(), config())
    assert world.said == {}


@one_way_each
def test_a_replay_records_nothing_twice(world, learning, run):
    agent = learning(look, checkpointer=InMemorySaver())
    run(agent, ask("Rome"), config("ada", "1"))
    states = list(agent.get_state_history(config("ada", "1")))
    before = next(s for s in states if s.next and len(s.values.get("messages", ())) == 1)
    replayed = {"configurable": {**before.config["configurable"], "user_id": "ada"}}
    asked = len(world.server.requests)
    run(agent, None, replayed)
    assert len(world.server.requests) == 2 * asked
    assert world.said == {"ada": ["Rome"]}


@one_way_each
def test_a_run_that_failed_and_goes_on_records_nothing_twice(world, learning, run):
    agent = learning(checkpointer=InMemorySaver())
    world.server.fail("500")
    with pytest.raises(Exception, match="broken"):
        run(agent, ask("Rome"), config("ada", "1"))
    assert answers(run(agent, None, config("ada", "1")))[0].text == "echo: Rome"
    assert world.said == {"ada": ["Rome"]}


@one_way_each
def test_an_app_that_sends_the_whole_conversation_each_time_is_heard_once(world, learning, run):
    told = [("user", "one"), ("assistant", "1"), ("system", "Go on."), ("user", "two")]
    run(learning(), {"messages": told[:1]}, config("ada"))
    run(learning(), {"messages": told}, config("ada"))
    assert world.said == {"ada": ["one", "two"]}


@one_way_each
def test_messages_numbered_anew_in_every_thread_are_different_messages(world, learning, run):
    agent = learning(checkpointer=InMemorySaver())
    for thread, text in (("1", "one"), ("2", "one"), ("3", "two")):
        for _ in range(2):
            run(agent, {"messages": [HumanMessage(text, id="1")]}, config("ada", thread))
    *_, beginning = agent.get_state_history(config("ada", "3"))
    forked = {"configurable": {**beginning.config["configurable"], "user_id": "ada"}}
    run(agent, {"messages": [HumanMessage("corrected", id="1")]}, forked)
    assert world.said == {"ada": ["one", "one", "two", "corrected"]}


@one_way_each
def test_a_summary_is_not_what_the_person_says(world, learning, run):
    summary = SummarizationMiddleware(
        model=Recorder(answers=["They spoke."]), trigger=("messages", 3), keep=("messages", 1)
    )
    agent = world.agent(middleware=[summary, world.middleware(learn=True)], checkpointer=InMemorySaver())
    for text in ("one", "two", "three"):
        state = run(agent, ask(text), config("ada", "1"))
    assert "They spoke." in state["messages"][0].text
    assert isinstance(state["messages"][0], HumanMessage)
    assert world.said == {"ada": ["one", "two", "three"]}


@one_way_each
def test_what_is_put_into_an_interrupted_conversation_is_heard(world, learning, run):
    agent = learning(look, checkpointer=InMemorySaver(), interrupt_before=["tools"])
    run(agent, ask("Rome"), config("ada", "1"))
    call = agent.get_state(config("ada", "1")).values["messages"][-1].tool_calls[0]
    put_in = [ToolMessage("none", tool_call_id=call["id"]), HumanMessage("never mind")]
    run(agent, Command(update={"messages": put_in}, goto="model"), config("ada", "1"))
    assert world.said == {"ada": ["Rome", "never mind"]}


@one_way_each
def test_only_text_is_heard(world, learning, run, caplog):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    parts = [HumanMessage([image]), HumanMessage(" \n"), HumanMessage([{"type": "text", "text": "a cat"}, image])]
    run(learning(), {"messages": parts}, config("ada"))
    assert world.said == {"ada": ["a cat"]}
    assert caplog.text == ""


@pytest.mark.parametrize("failure", [StorageError("no room"), RuntimeError("no room for: Rome")])
@every_way
def test_a_memory_that_fails_does_not_stop_the_chat(world, learning, run, failure, monkeypatch, caplog):
    def broken(_):
        raise failure

    monkeypatch.setattr(world.plugin.memory, "append", broken)
    assert answers(run(learning(), ask("Rome"), config("ada")))[0].text == "echo: Rome"
    assert "what a person said was not recorded" in caplog.text
    assert "Rome" not in caplog.text


@one_way_each
def test_what_cannot_be_recorded_is_left_out_and_the_rest_is_not(world, learning, run, caplog):
    given = {"messages": [HumanMessage("half a pair \ud83d"), HumanMessage("fine")]}
    state = run(learning(model=Recorder()), given, config("ada"))
    assert answers(state)[0].text == "one two three"
    assert world.said == {"ada": ["fine"]}
    assert "not valid Unicode" in caplog.text
    assert "half" not in caplog.text


@one_way_each
def test_what_was_said_is_learnt_and_the_next_turn_is_tailored_to_it(world, run, tmp_path):
    with Personalizer(f"sqlite:///{tmp_path}/persona.db", time_budget=30.0) as world.personalizer:
        agent = world.agent(middleware=[world.middleware(learn=True)], checkpointer=InMemorySaver())
        run(agent, ask("I don't eat meat."), config("ada", "1"))
        assert world.server.wire[0] == ("system", "Be kind.")
        assert world.personalizer.flush(60)
        run(agent, ask("What is for dinner?"), config("ada", "2"))
        assert "Does not eat meat." in world.server.wire[0][1]
        run(agent, ask("What is for dinner?"), config("bob", "3"))
        assert world.server.wire[0] == ("system", "Be kind.")
