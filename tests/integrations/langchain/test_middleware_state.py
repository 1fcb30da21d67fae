"""`PersonaMiddleware` over many turns: checkpoints, interrupts, several threads and people at once."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.types import Command

from persona_integrations.langchain import CALL_ID
from persona_sdk.models import Message
from tests.integrations.langchain.agents import WAYS, Saver, answers, ask, config, look, streamed
from tests.support.chatting import ADA, BOB, Does, Prefix

every_way = pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
one_way_each = pytest.mark.parametrize("run", [WAYS["invoke"], WAYS["astream"]], ids=["invoke", "astream"])

SECRET = "Told to the model only."


def telling():
    """A tailor that says something about the person in a message of its own, too."""
    return Does(lambda call: call.override(messages=(Message(role="user", content=SECRET), *call.messages)))


# Checkpoints


@every_way
def test_no_word_about_the_person_is_in_the_state_or_any_checkpoint(make, run):
    world, saver = make(telling(), Prefix()), Saver()
    agent = world.agent(look, checkpointer=saver, middleware=[world.middleware(learn=True)])
    for text in ("Rome", "Paris"):
        state = run(agent, ask(text), config("ada", "1"))
        sent = [m["content"] for m in world.server.requests[-1]["messages"]]
        assert f"[{ADA}]" in sent[0] + sent[1]
        assert SECRET in sent[0] + sent[1]
        assert ADA not in repr(state)
        assert SECRET not in repr(state)
    assert saver.holds("Paris")
    assert saver.holds(CALL_ID)
    assert not saver.holds(ADA)
    assert not saver.holds(SECRET)
    updates = list(agent.stream(ask("Oslo"), config("ada", "1"), stream_mode=["updates", "debug", "checkpoints"]))
    assert ADA not in repr(updates)


def test_a_turn_writes_as_many_checkpoints_as_without_us(world):
    counts = []
    for middleware in ([], [world.middleware(learn=True)]):
        saver = Saver()
        world.agent(look, middleware=middleware, checkpointer=saver).invoke(ask(), config("ada", "1"))
        counts.append(len(list(saver.list(None))))
    assert counts[0] == counts[1]


@one_way_each
def test_a_later_turn_reads_the_conversation_back(world, run):
    agent = world.agent(checkpointer=Saver())
    run(agent, ask("one"), config("ada", "1"))
    run(agent, ask("two"), config("ada", "1"))
    said = [("user", "one"), ("assistant", "echo: one"), ("user", "two")]
    assert world.server.wire == [("system", f"Be kind. [{ADA}]"), *said]


# Interrupts


def approving(world, saver, **options):
    human = HumanInTheLoopMiddleware(interrupt_on={"look": True})
    return world.agent(look, middleware=[human, world.middleware(**options)], demanding=True, checkpointer=saver)


@every_way
def test_an_interrupted_run_goes_on_where_it_was(world, run):
    saver = Saver()
    agent = approving(world, saver, learn=True)
    state = run(agent, ask("Rome"), config("ada", "1"))
    assert state["__interrupt__"]
    assert len(world.server.requests) == 1
    # Another process would go on with an agent of its own, over the same checkpoints.
    agent = approving(world, saver, learn=True)
    state = run(agent, Command(resume={"decisions": [{"type": "approve"}]}), config("ada", "1"))
    assert [type(m) for m in state["messages"]] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert [r["messages"][0]["content"] for r in world.server.requests] == [f"Be kind. [{ADA}]"] * 2
    assert all(CALL_ID in m.response_metadata for m in answers(state))
    assert world.said == {"ada": ["Rome"]}
    assert not saver.holds(ADA)


@one_way_each
def test_a_rejected_call_is_answered_for_the_same_person(world, run):
    agent = approving(world, Saver())
    run(agent, ask("Rome"), config("ada", "1"))
    no = {"decisions": [{"type": "reject", "message": "Not that."}]}
    state = run(agent, Command(resume=no), config("ada", "1"))
    assert world.server.wire[0] == ("system", f"Be kind. [{ADA}]")
    assert state["messages"][-1].text == "echo: Rome"


# Several at once


def test_one_agent_serves_many_threads_and_people_at_once(world):
    agent = world.agent(look, checkpointer=Saver(), middleware=[world.middleware(learn=True)])
    people = [("ada", ADA), ("bob", BOB), (None, None)] * 4

    def turn(number):
        return agent.invoke(ask(f"question {number}"), config(people[number][0], str(number)))

    async def turns():
        return await asyncio.gather(
            *(agent.ainvoke(ask(f"question {n}"), config(people[n][0], f"async {n}")) for n in range(len(people)))
        )

    with ThreadPoolExecutor(6) as pool:
        states = [*pool.map(turn, range(len(people))), *asyncio.run(turns())]
    assert [s["messages"][-1].text for s in states] == [f"echo: question {n}" for n in range(len(people))] * 2
    for request in world.server.requests:
        number = int(next(m for m in request["messages"] if m["role"] == "user")["content"].split()[-1])
        statement = people[number][1]
        assert request["messages"][0]["content"] == (f"Be kind. [{statement}]" if statement else "Be kind.")
    assert {user: len(said) for user, said in world.said.items()} == {"ada": 8, "bob": 8}


def test_a_stream_left_early_does_not_spoil_the_next_call(world):
    agent = world.agent(checkpointer=Saver())
    stream = agent.stream(ask("one two three"), config("ada", "1"), stream_mode="messages")
    next(stream)
    stream.close()
    assert "".join(m.content for m, _ in streamed(agent, ask("again"), config("bob", "2"))) == "echo: again"
    assert world.server.wire[0] == ("system", f"Be kind. [{BOB}]")
