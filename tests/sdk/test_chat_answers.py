"""What `PersonalizedChat` makes of answers: streams, the best of n, sampling, feedback."""

import asyncio

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable

from persona_sdk.chat import CALL_ID, PersonalizedChat
from persona_sdk.errors import PluginTypeError, StorageError
from persona_sdk.models import Message
from tests.support.chatting import CALLS, Does, Recorder, choosing, collect, for_user, joined, make_personalizer


@pytest.fixture
def world():
    personalizer, plugin = make_personalizer()
    model = Recorder()
    yield personalizer.wrap(model), model, plugin
    personalizer.close()


every_way = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


# Streams


def test_a_stream_is_the_models_own_with_the_call_id_in_its_last_chunk(world):
    chat, model, _ = world
    mine, theirs = list(chat.stream("why?", for_user("ada"))), list(model.stream("why?"))
    assert [c.content for c in mine] == [c.content for c in theirs]
    assert [CALL_ID in c.response_metadata for c in mine] == [False] * (len(mine) - 1) + [True]
    assert mine[-1].chunk_position == "last"


def test_a_stream_that_does_not_mark_its_end_gets_one_more_empty_chunk(world):
    class Unmarked(Runnable):
        def invoke(self, given, config=None, **kwargs):
            raise AssertionError

        def stream(self, given, config=None, **kwargs):
            yield from [AIMessageChunk(content="a ", id="7"), AIMessageChunk(content="b", id="7")]

        async def astream(self, given, config=None, **kwargs):
            for chunk in self.stream(given):
                yield chunk

    chat = PersonalizedChat(world[0]._engine, Unmarked(), user_id="ada")
    for chunks in (list(chat.stream("why?")), asyncio.run(collect(chat.astream("why?")))):
        assert [c.content for c in chunks] == ["a ", "b", ""]
        assert (joined(chunks).id, CALL_ID in joined(chunks).response_metadata) == ("7", True)


async def test_a_stream_left_early_is_closed_and_not_answered(world):
    closed = []

    class Endless(Runnable):
        def invoke(self, given, config=None, **kwargs):
            raise AssertionError

        async def astream(self, given, config=None, **kwargs):
            try:
                while True:
                    yield AIMessageChunk(content="on ")
            finally:
                closed.append(True)

    chunks = PersonalizedChat(world[0]._engine, Endless(), user_id="ada").astream("why?")
    await anext(chunks)
    await chunks.aclose()
    assert closed == [True]
    assert world[2].answers == []


# Best of n


@every_way
def test_the_best_of_several_answers_is_given(call):
    chat, model, plugin = choosing("a", "the longest of all", "short")
    answer = call(chat, "why?")
    assert answer.content == "the longest of all"
    assert len(model.received) == 3
    assert plugin.answers == [(answer.response_metadata[CALL_ID], "the longest of all")]


@every_way
def test_failed_ones_among_several_answers_are_left_out(call):
    chat, model, _ = choosing(ValueError("1"), "ab", ZeroDivisionError("3"))
    assert call(chat, "why?").content == "ab"
    assert len(model.received) == 3


@every_way
def test_when_all_of_several_answers_fail_one_of_their_errors_is_raised(call):
    chat, model, plugin = choosing(ValueError("all"))
    with pytest.raises(ValueError, match="all"):
        call(chat, "why?")
    assert len(model.received) == 3
    assert plugin.answers == []


@every_way
def test_a_tool_call_that_came_first_is_given_without_choosing(call):
    calls = AIMessage(content="", tool_calls=[{"name": "look", "args": {"at": 1}, "id": "1"}])
    chat, _, _ = choosing(calls, "a text", "a longer text", choose=lambda texts: 1 / 0)
    assert call(chat, "why?").tool_calls[0]["args"] == {"at": 1}


def test_a_run_id_names_the_first_of_several_runs(recwarn):
    chat, model, _ = choosing("a")
    chat.invoke("why?", {"run_id": "01234567-89ab-7def-8123-456789abcdef"})
    assert len(model.received) == 3
    assert not [w for w in recwarn if "run_id" in str(w.message)]


def test_sampling_and_adapter_reach_the_model_and_the_caller_has_the_last_word():
    changes = {"params": {"temperature": 0.1, "top_p": 0.5}, "model": "small", "adapter": "ada-7"}
    personalizer, _ = make_personalizer(Does(lambda call: call.override(**changes)))
    model = Recorder()
    chat = personalizer.wrap(model, user_id="ada")
    chat.invoke("why?")
    list(chat.stream("why?", temperature=0.9, model="mine"))
    assert model.options == [
        {"temperature": 0.1, "top_p": 0.5, "model": "ada-7"},
        {"temperature": 0.9, "top_p": 0.5, "model": "mine"},
    ]


def test_a_message_langchain_cannot_express_is_the_tailors_error():
    put_in = Does(lambda call: call.override(messages=(*call.messages, Message(role="tool", content="x", name=[1]))))
    personalizer, _ = make_personalizer(put_in)
    model = Recorder()
    with pytest.raises(PluginTypeError, match="tool message"):
        personalizer.wrap(model, user_id="ada").invoke("why?")
    assert model.received == []


def test_feedback_finds_the_answer_by_its_call_id(world):
    chat, _, _ = world
    question = [SystemMessage("Be kind."), HumanMessage("why?")]
    answer = chat.invoke(question, for_user("ada"))
    rating = chat._engine.rate("ada", True, response_id=answer.response_metadata[CALL_ID])
    assert rating.response == "one two three"


# What others see of a call


class Watching(BaseCallbackHandler):
    def __init__(self):
        self.seen = []

    def on_chat_model_start(self, serialized, messages, *, tags, metadata, **kwargs):
        self.seen.append((tags, metadata))


@every_way
def test_callbacks_find_the_call_id_in_the_metadata_of_the_run(world, call):
    chat, _, plugin = world
    watching = Watching()
    config = {"callbacks": [watching], "metadata": {"mine": 1}, "tags": ["t"], **for_user("ada")}
    call(chat, "why?", config)
    call(chat.with_config(metadata={"bound": 2}), "why?", config)
    first, second = watching.seen
    assert (first[0], first[1]["mine"], first[1][CALL_ID]) == (["t"], 1, plugin.answers[0][0])
    assert (second[1]["mine"], second[1]["bound"], second[1][CALL_ID]) == (1, 2, plugin.answers[1][0])
    assert (config["metadata"], config["tags"]) == ({"mine": 1}, ["t"])


@every_way
def test_answers_that_are_chosen_among_are_marked_as_not_to_be_streamed(call):
    chat, _, plugin = choosing("a", "ab", "abc")
    watching = Watching()
    call(chat, "why?", {"callbacks": [watching], "tags": ["t"]})
    assert [tags for tags, _ in watching.seen] == [["t", "nostream"]] * 3
    assert {metadata[CALL_ID] for _, metadata in watching.seen} == {plugin.answers[0][0]}


@pytest.mark.parametrize("failure", [StorageError("no room"), RuntimeError("no room for one two three")])
@every_way
def test_an_answer_that_cannot_be_kept_is_given_all_the_same(world, call, failure, monkeypatch, caplog):
    def full(*_, **__):
        raise failure

    monkeypatch.setattr(world[0]._engine, "answered", full)
    assert call(world[0], "why?", for_user("ada")).content == "one two three"
    assert "could not be kept" in caplog.text
    assert "two" not in caplog.text
