"""What calls show by themselves, as the server of a chat app sees them: each request is the whole conversation."""

from datetime import timedelta

import pytest

from persona_sdk import Personalizer
from persona_sdk.calls import AnsweredCall
from persona_sdk.models import Message, utc_now
from persona_sdk.noticing import Notice
from tests.support.chat_app import PICTURE, Chat, again, assistant, kinds, request, said, stayed, user
from tests.support.people import QUESTIONS, hedged

WHY = "Why is the sky blue?"
SHORT, LONG, OTHER = "Light scatters.", "Well, that is a long story, and it begins with light.", "Rayleigh, 1871."


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'persona.db'}"


@pytest.fixture
def p(url):
    with Personalizer(url, learning="manual", time_budget=30, calls="memory") as personalizer:
        yield personalizer


@pytest.fixture
def chat(p):
    return Chat(p, "ann")


# What somebody says


def test_what_somebody_says_is_recorded_once(url, p, chat):
    (noticed,) = chat.say("I am a vegetarian.", "Noted.")
    assert (noticed.text, noticed.source, noticed.tenant, noticed.user_id) == (
        "I am a vegetarian.",
        "noticed",
        "default",
        "ann",
    )
    with Personalizer(url, learning="manual", calls="memory") as worker:  # a retry reaches another worker
        request(worker, "ann", [user("I am a vegetarian.")], "Noted again.")
    chat.again("Noted once more.")
    assert said(p) == ["I am a vegetarian."]
    chat.say("What should I cook?", "Pasta.")
    chat.edit("What should I cook tonight?", "Soup.")
    assert said(p) == ["I am a vegetarian.", "What should I cook?", "What should I cook tonight?"]
    request(p, "bob", [user("I am a vegetarian.")])
    assert said(p, "bob") == ["I am a vegetarian."]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [user("")],
        [user(" \n\t")],
        [user(None)],
        [user([PICTURE])],
        [user([{"type": "text", "text": " "}, PICTURE])],
        [{"role": "system", "content": "Greet the person."}],
        [user(WHY), assistant("The sky is")],
        [user(WHY), assistant(None, tool_calls=[]), {"role": "tool", "content": "Rain."}],
        [user(WHY), assistant("Let me look."), {"role": "function", "name": "weather", "content": "Rain."}],
        [user(WHY), assistant(None, tool_calls=[])],
    ],
    ids=lambda messages: str(messages)[:80],
)
def test_what_nobody_says_is_not_recorded(p, messages):
    p.said("ann", "Hello")
    for _ in range(2):  # nor is anything else, when it comes again
        assert request(p, "ann", messages, "Hm.")[0] == []
    assert len(p.signals("ann")) == 1


def test_whatever_an_app_says_behind_a_person_is_not_theirs(p):
    request(p, "ann", [user(WHY), {"role": "system", "content": "Answer in French."}])
    request(p, "ann", [user([{"type": "text", "text": "What is this?"}, PICTURE])])
    request(p, "ann", [user("x" * 4000)])
    request(p, "ann", [user("x" * 4001)])  # nobody says that much: it is a text to work on
    assert said(p) == [WHY, "What is this?", "x" * 4000]


def test_without_calls_in_memory_only_words_are_noticed(url, p):
    Chat(p, "ann").say(WHY, OTHER)
    with Personalizer(url, learning="manual", time_budget=30, calls="process") as other:
        chat = Chat(other, "ann")
        chat.say(WHY, LONG)
        chat.again(SHORT)
        chat.say("Thanks!", "You are welcome.")
    assert (said(p), again(p), stayed(p)) == ([WHY, "Thanks!"], [], [])


# Asking again


def test_asking_again_is_a_wish_for_another_answer(p, chat):
    chat.front = [{"role": "system", "content": "Be kind."}]
    chat.say(WHY, LONG)
    call = p._memory.related_calls("default", "ann", [], [_call(WHY).before])[0]
    _, regeneration = chat.again(SHORT)
    assert (regeneration.response, regeneration.kept, regeneration.response_id) == (LONG, None, call.response_id)
    assert [m.text for m in regeneration.prompt] == ["Be kind.", WHY]
    chat.again(OTHER)
    assert again(p) == [LONG, SHORT]
    assert len(p.signals("ann")) == 3


def _call(*texts, answer="x", **fields):
    """Return an answered call after these texts of a person and a model in turn."""
    asked = [Message(role=("user", "assistant")[n % 2], content=text) for n, text in enumerate(texts)]
    return AnsweredCall(user_id="ann", call_id="c", response_id="r", asked=tuple(asked), answer=answer, **fields)


def test_asking_again_that_is_tried_again_is_one_wish(url, p, chat):
    chat.say(WHY, LONG)
    with Personalizer(url, learning="manual", calls="memory") as worker:
        for personalizer in (p, worker, p):
            request(personalizer, "ann", [user(WHY)])
    assert again(p) == [LONG]


def test_trying_again_what_was_never_answered_is_no_wish(p):
    for answer in (None, None, "", SHORT):
        request(p, "ann", [user(WHY)], answer)
    assert kinds(p.signals("ann")) == ["utterance"]


def test_after_an_hour_it_is_a_new_question():
    notice = Notice("default", "ann", (Message(role="user", content=WHY),))
    earlier, an_hour = _call(WHY, answer=LONG), timedelta(hours=1)
    assert kinds(notice.signals([earlier], now=earlier.at + an_hour)) == ["utterance", "regeneration"]
    assert kinds(notice.signals([earlier], now=earlier.at + an_hour * 1.01)) == ["utterance"]
    assert kinds(notice.signals([_call(WHY, at=utc_now() - an_hour * 1.01)])) == ["utterance"]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_what_an_app_tells_the_model_does_not_matter(p, role):
    for minute, answer in enumerate((LONG, SHORT)):
        request(p, "ann", [{"role": role, "content": f"It is 10:0{minute}."}, user(WHY)], answer)
    history = [user(WHY), assistant(SHORT), {"role": role, "content": "It is 10:02."}]
    request(p, "ann", [{"role": role, "content": "Be quick."}, *history, user("Thanks!")])
    assert (again(p), stayed(p), said(p)) == ([LONG], [(SHORT, LONG)], [WHY, "Thanks!"])


def test_what_others_asked_does_not_matter(p):
    request(p, "ann", [user(WHY)], LONG)
    request(p.for_tenant("elsewhere"), "ann", [user(WHY)], LONG)
    for personalizer, user_id in ((p, "bob"), (p.for_tenant("other"), "ann")):
        assert kinds(request(personalizer, user_id, [user(WHY)])[0]) == ["utterance"]


# Asking in other words


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (WHY, "Why is the sky blue, in one word?"),
        ("Why is the sky blue, and not green?", "why is the SKY blue"),
        (WHY, "Why is the sky blue???"),
    ],
)
def test_a_first_question_is_edited_by_adding_or_leaving_out(p, chat, first, then):
    chat.say(first, LONG)
    assert kinds(chat.edit(then, SHORT)) == ["utterance", "regeneration"]
    assert again(p) == [LONG]
    chat.say("Thanks!", "You are welcome.")
    assert stayed(p) == [(SHORT, LONG)]
    assert [m.text for m in p.signals("ann")[-1].prompt] == [then]


@pytest.mark.parametrize(
    "then",
    [
        "What is the capital of Chile?",  # half of the words and more, and another question
        "Convert 8 miles to kilometres.",
        "Why do cats purr?",
        "What is the capital of Peru? " + "And now for something completely different, a long story." * 2,
        "?!",
    ],
)
def test_a_new_conversation_is_none_asked_again(p, then):
    for first in ("What is the capital of Peru?", "Convert 5 miles to kilometres.", "!"):
        request(p, "ann", [user(first)], LONG)
    request(p, "ann", [user(then)], SHORT)
    request(p, "ann", [user(then), assistant(SHORT), user("Thanks!")])
    assert (again(p), stayed(p)) == ([], [])


def test_long_questions_are_compared_as_they_stand(p, chat):
    p.said("ann", "Hello")
    long = "word " * 20_001
    chat.say(long, LONG)
    assert chat.edit(f"{long} more", SHORT) == []
    assert kinds(chat.again(OTHER)) == ["regeneration"]


def test_in_a_conversation_half_of_the_words_are_enough(p, chat):
    chat.say("Hello", "Hi!")
    chat.say("Explain monads to me briefly", LONG)
    assert kinds(chat.edit("Explain monads to me in detail", SHORT)) == ["utterance", "regeneration"]  # 4 of 7
    assert kinds(chat.edit("Which books do you like?", OTHER)) == ["utterance"]
    chat.say("Thanks!", "You are welcome.")
    assert stayed(p) == []


# Staying with one of several answers


@pytest.mark.parametrize("answers", [(LONG, SHORT), (LONG, SHORT, OTHER)], ids=len)
def test_going_on_from_the_last_of_several_answers(p, chat, answers):
    first, *more = answers
    chat.say(WHY, first)
    for answer in more:
        chat.again(answer)
    noticed = chat.say("Thanks!", "You are welcome.")
    assert kinds(noticed) == ["utterance", *["regeneration"] * len(more)]
    assert sorted(stayed(p)) == sorted((answers[-1], other) for other in answers[:-1])
    assert {s.response_id for s in noticed[1:]} == {p.call(noticed[1].response_id).response_id}
    assert p.call(noticed[1].response_id).answer == answers[-1]


def test_going_on_from_an_earlier_answer(p, chat):
    chat.say("Hello", "\nHi! ")
    chat.say(WHY, f"\n\n{LONG}")
    chat.said[1] = assistant("Hi!")  # answers may come back as they were, or trimmed
    chat.again(SHORT)
    chat.back_to(f"{LONG}\n")
    chat.say("Thanks!", "You are welcome.")
    assert stayed(p) == [(f"\n\n{LONG}", SHORT)]


def test_it_is_noticed_once_that_somebody_stays(p, chat):
    chat.say(WHY, LONG)
    chat.again(SHORT)
    chat.say("Thanks!", "You are welcome.")
    chat.again("My pleasure.")
    chat.edit("Thank you!", "Any time.")
    chat.say("And why is it red at dusk?", "More air.")
    assert stayed(p) == [(SHORT, LONG)]


def test_going_on_from_the_only_answer_shows_nothing(p, chat):
    chat.say(WHY, LONG)
    chat.say("Thanks!", "You are welcome.")
    request(p, "ann", [user(WHY), assistant("The app made this up."), user("Really?")])
    assert (again(p), stayed(p)) == ([], [])


def test_the_same_answer_twice_shows_no_preference(p, chat):
    chat.say(WHY, SHORT)
    chat.again(f"{SHORT} ")
    chat.again(SHORT)
    chat.say("Thanks!", "You are welcome.")
    assert (again(p), stayed(p)) == ([SHORT, f"{SHORT} "], [])


def test_ids_that_a_server_begins_anew_hide_nothing(p):
    for question in (WHY, "Who was Rayleigh?"):
        for answer in (LONG, SHORT):
            p.notice("ann", [user(question)])
            p.answered(p.tailor("ann", [user(question)]), answer, f"response of {len(answer)}")
        p.notice("ann", [user(question), assistant(SHORT), user("Thanks!")])
    assert (again(p), stayed(p)) == ([LONG] * 2, [(SHORT, LONG)] * 2)


def test_an_empty_answer_is_none():
    """Memories of others may keep them."""
    notice = Notice("default", "ann", (Message(role="user", content=WHY),))
    (_, regeneration) = notice.signals([_call(WHY, answer=" "), _call(WHY, answer=LONG)])
    assert regeneration.response == LONG


def test_several_messages_in_a_row_are_one_turn(p):
    for answer in (LONG, SHORT):
        request(p, "ann", [user("Here is a picture book."), user(WHY)], answer)
    history = [user("Here is a picture book."), user(WHY), assistant(SHORT)]
    request(p, "ann", [*history, user("Oh."), user("Thanks!")])
    assert (again(p), stayed(p)) == ([LONG], [(SHORT, LONG)])


# Learning from it


@pytest.mark.parametrize("crisp", [True, False], ids=["short", "long"])
def test_a_persona_is_learnt_from_noticing_alone(p, crisp):
    """It counts half of a choice each time: six tell which answers are liked, twelve can be put in words."""
    for place in range(12):
        prompt, short = QUESTIONS[place % 8]
        unwanted, wanted = (hedged(place % 8), short) if crisp else (short, hedged(place % 8))
        chat = Chat(p, "ann", system=f"It is {place} o'clock.")
        chat.say(f"{prompt} ({place})", f"{unwanted} ({place})")
        chat.again(f"{wanted} ({place})")
        chat.say("I see.", "Anything else?")
        if place == 5:
            liked, other = p.score("ann", "How do I cook rice?", [QUESTIONS[0][1], hedged(0)][:: 1 if crisp else -1])
            assert liked > other
    assert len(stayed(p)) == 12
    persona = p.persona("ann")
    assert persona.trait("style:length").polarity == ("against" if crisp else "for")
    assert persona.lift.accuracy_with > 0.9
