"""What calls show that hold more than text (calls of tools, pictures), or come of an agent's steps."""

import json
from datetime import timedelta

import pytest

from persona_sdk import Personalizer
from persona_sdk.calls import AnsweredCall, texts_only
from persona_sdk.models import Message, utc_now
from persona_sdk.noticing import Notice
from tests.support.chat_app import PICTURE, again, assistant, kinds, request, said, stayed, user

SHORT, LONG = "Light scatters.", "Well, that is a long story, and it begins with light."


@pytest.fixture
def p(tmp_path):
    with Personalizer(f"sqlite:///{tmp_path / 'persona.db'}", learning="manual", calls="memory") as personalizer:
        yield personalizer


# Tools


WEATHER = "What is the weather in Rome?"


def tool_call(role, text):
    """Return what a model says when it calls a tool, and what the tool says."""
    calls = [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]
    return [assistant(text, tool_calls=calls), {"role": role, "tool_call_id": "1", "content": "Rain."}]


@pytest.mark.parametrize("role", ["tool", "function"])
@pytest.mark.parametrize("text", ["Let me look.", ""], ids=["says what it does", "only calls"])
@pytest.mark.parametrize("kept", [True, False], ids=["tools in the history", "answers only"])
def test_what_comes_of_calling_tools_is_one_answer(p, role, text, kept):
    steps = tool_call(role, text)
    for answer in ("It rains.", "Rain, all day long, and in the evening it is going to rain even more."):
        request(p, "ann", [user(WEATHER)], text)
        assert request(p, "ann", [user(WEATHER), *steps], text)[0] == []
        assert request(p, "ann", [user(WEATHER), *steps, *steps], answer)[0] == []
    assert again(p) == ["It rains."]
    request(p, "ann", [user(WEATHER), *(steps * 2 if kept else ()), assistant("It rains."), user("A pity.")], "Yes.")
    assert [(kept, other[:5]) for kept, other in stayed(p)] == [("It rains.", "Rain,")]
    assert said(p) == [WEATHER, "A pity."]


def test_an_edited_question_that_took_tools_to_answer(p):
    request(p, "ann", [user(WEATHER)], "")
    request(p, "ann", [user(WEATHER), *tool_call("tool", "")], "It rains.")
    request(p, "ann", [user(f"{WEATHER} Now?")], "It does.")
    assert again(p) == ["It rains."]


def test_an_app_may_leave_tools_out_of_the_history_later(p):
    for steps in (tool_call("tool", ""), []):
        request(p, "ann", [user(WEATHER), *steps, assistant("It rains."), user("And in Oslo?")], LONG)
    assert again(p) == [LONG]


# Pictures


def picture(text, data):
    return user([{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": f"data:image/png,{data}"}}])


def test_other_pictures_are_other_questions(p):
    for data in ("one", "two"):
        assert kinds(request(p, "ann", [picture("What is this?", data)], data)[0]) == ["utterance"]
    _, regeneration = request(p, "ann", [picture("What is this?", "one")], "A cat.")[0]
    assert regeneration.response == "one"
    history = [picture("What is this?", "one"), assistant("A cat.")]
    request(p, "ann", [*history, user("Thanks!")])
    assert stayed(p) == [("A cat.", "one")]


def test_no_picture_is_stored(p, tmp_path):
    odd = {"type": "image_url", "text": "a caption", "image_url": "Zq7Zq7"}
    messages = [
        {"role": "user", "content": [PICTURE, odd, "Which?"], "images": ["Zq7Zq7"]},
        assistant("That one.", audio={"data": "Zq7Zq7"}),
        user([{"type": "text", "text": "Sure?"}, PICTURE, {"type": "input_audio", "input_audio": {"data": "Zq7Zq7"}}]),
    ]
    for answer in (LONG, SHORT):
        request(p, "ann", messages, answer)
    request(p, "ann", [*messages, assistant(SHORT), user("Thanks!")], "You are welcome.")
    assert (again(p), stayed(p)) == ([LONG], [(SHORT, LONG)])
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"a caption" in files
    assert b"Zq7" not in files
    assert all(part.keys() == {"type", "digest"} for part in p.signals("ann")[-1].prompt[2].content[1:])


def test_messages_are_thinned_out_once():
    circle, deep = [], []
    circle.append(circle)
    for _ in range(100_000):
        deep = [deep]
    odd = [object(), {7: 7, "7": 7}, circle, deep, b"x"]  # what is no JSON
    parts = ["a", PICTURE, {"text": "b"}, 7, {"type": 7}, *({"type": "\ud800", "of": one} for one in odd)]
    thin = texts_only((Message(role="user", content=parts),))
    assert texts_only(thin) == thin
    types = [part if isinstance(part, str) else part["type"] for part in thin[0].content]
    assert types == ["a", "image_url", "text", "unknown", "unknown", *["\ud800"] * 5]
    json.dumps(thin[0].model_dump())


@pytest.mark.parametrize(("apart", "noticed"), [(0.9, []), (1.1, [(LONG, SHORT)])])
def test_answers_that_came_too_close_together_were_not_chosen_among(monkeypatch, apart, noticed):
    monkeypatch.setattr("persona_sdk.noticing.READ", timedelta(seconds=1))  # as it is outside of tests
    at, why = utc_now(), Message(role="user", content="Why?")
    steps = [(SHORT, at), (LONG, at + timedelta(seconds=apart))]  # of an agent, say, that asks several models
    calls = [
        AnsweredCall(user_id="ann", call_id=text, response_id=text, asked=(why,), answer=text, at=when)
        for text, when in steps
    ]
    on = (why, Message(role="assistant", content=LONG), Message(role="user", content="Thanks!"))
    found = Notice("default", "ann", on).signals(calls[::-1])
    assert [(s.kept, s.response) for s in found if s.kind == "regeneration"] == noticed


def test_an_answer_that_was_stopped_is_known_but_not_compared_with(p):
    p.notice("ann", "Why?")
    p.answered(p.tailor("ann", "Why?"), "Because it", "stopped", complete=False)
    request(p, "ann", [user("Why?")], LONG)
    request(p, "ann", [user("Why?"), assistant(LONG), user("Thanks!")], "You are welcome.")
    assert (again(p), stayed(p)) == ([], [])  # to want the rest of an answer is not to want a longer one
    assert not p.call("stopped").complete
    assert p.feedback("stopped", thumb=False).response == "Because it"
