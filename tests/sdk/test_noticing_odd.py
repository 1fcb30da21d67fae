"""Whatever messages an app sends: noticing raises nothing, changes nothing, and records nothing twice."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_sdk import Personalizer
from persona_sdk.calls import AnsweredCall, conversation_digest, texts_only
from persona_sdk.errors import InputError
from persona_sdk.models import Message
from persona_sdk.noticing import Notice
from persona_sdk.testing.memory_strategies import ODD_TEXTS, new_user, searching


@pytest.fixture(scope="module")
def p():
    with Personalizer("sqlite://", learning="manual", calls="memory", time_budget=30) as personalizer:
        yield personalizer


TEXTS = st.text(max_size=20) | st.sampled_from(["", " \n", "\ud800", "a\udfffb", "Why?", "Why, then?", *ODD_TEXTS])
#: What JSON can hold, and what it cannot. The built-in function is its own copy, so that copies are equal.
THINGS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS | st.binary(max_size=4) | st.just(len),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.integers(), inner, max_size=3),
    max_leaves=6,
)
PARTS = THINGS | st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "input_audio"]) | THINGS},
    optional={"text": TEXTS | THINGS, "image_url": THINGS, "digest": st.just("0" * 32) | THINGS},
)
MESSAGES = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "user", "assistant", "assistant", "system", "developer", "tool"]) | TEXTS,
        "content": st.none() | TEXTS | st.lists(PARTS, max_size=3),
    },
    optional={"tool_calls": THINGS, "name": TEXTS, "refusal": THINGS},
)


#: What is asked and answered between odd messages, so that something is asked again, and gone on from.
ASKED = [{"role": "user", "content": text} for text in ("Why?", "Why, then?")]
ANSWERED = [{"role": "assistant", "content": text} for text in ("Because.", "It is so.")]


@st.composite
def requests(draw):
    """Conversations with their answers: the same few messages, odd ones now and then."""
    odd = st.lists(st.sampled_from(draw(st.lists(MESSAGES, min_size=1, max_size=3))), max_size=1)
    asked, answered = (st.sampled_from(messages).map(lambda m: [m]) for messages in (ASKED, ANSWERED))
    turns = (odd, asked, odd, answered, odd, asked, odd)
    upto = st.sampled_from([1, 2, 2, 3, 5, 6, 6, 6, 7])
    conversation = upto.flatmap(lambda n: st.tuples(*turns[:n])).map(
        lambda parts: [deepcopy(m) for ms in parts for m in ms]
    )
    answers = st.sampled_from(["Because.", "Because.", " It is so.\n"]) | TEXTS
    return draw(st.lists(st.tuples(conversation, answers), min_size=1, max_size=8))


@searching
@given(asked=requests())
def test_whatever_is_asked_is_noticed_once_and_left_as_it_is(p, asked):
    user = new_user()
    for messages, answer in asked:
        before = deepcopy(messages)
        noticed = [s.id for s in p.notice(user, messages)]
        known = p.signals(user)
        assert [s.id for s in p.notice(user, messages)] == noticed
        assert p.signals(user) == known
        assert len({s.id for s in known}) == len(known)
        assert messages == before
        tailored = p.tailor(user, messages)
        try:
            p.answered(tailored, answer)
        except InputError:  # memory keeps Unicode only
            with pytest.raises(UnicodeEncodeError):
                "".join([answer, *(m.role + m.text for m in _read(messages))]).encode()


@searching
@given(messages=THINGS | st.lists(THINGS | MESSAGES, max_size=3))
def test_what_is_no_conversation_is_refused(p, messages):
    before = deepcopy(messages)
    try:
        assert isinstance(p.notice(new_user(), messages), list)
    except InputError as error:
        assert error.field == "messages" or error.field.startswith("messages.")  # noqa: PT017 - it may be one
    assert messages == before


@searching
@given(asked=requests(), data=st.data())
def test_whatever_was_answered_before(asked, data):
    """Other people's memories may hand over any calls at all."""
    calls = [
        AnsweredCall(user_id="ann", call_id=f"c{n}", response_id="r", asked=texts_only(_read(messages)), answer=answer)
        for n, (messages, answer) in enumerate(asked)
    ]
    messages, _ = data.draw(st.sampled_from(asked))
    signals = Notice("default", "ann", texts_only(_read(messages))).signals(calls)
    assert len({s.id for s in signals}) == len(signals)
    assert all(s.kind == "utterance" or s.response.strip() for s in signals)


@searching
@given(messages=st.lists(MESSAGES, max_size=4))
def test_what_is_kept_of_messages_is_as_good_as_they_are(messages):
    read = _read(messages)
    kept = texts_only(read)
    assert texts_only(kept) == kept
    assert [(m.role, m.text) for m in kept] == [(m.role, m.text) for m in read]
    assert conversation_digest(kept) == conversation_digest(read)


def _read(messages):
    return tuple(Message(**m) for m in messages)
