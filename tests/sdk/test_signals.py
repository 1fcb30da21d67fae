"""Signals: what is accepted, what is refused and in which words, and which choices are read out of them."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from persona_sdk.errors import InputError
from persona_sdk.models import MAX_IDENTIFIER, Message
from persona_sdk.signals import (
    MAX_TEXT,
    Edit,
    Preference,
    Rating,
    Regeneration,
    Signal,
    Utterance,
    choices_of,
    parse_signal,
)
from persona_sdk.testing.memory_strategies import ODD_IDS, ODD_TEXTS, signal_lists, texts

SECRET = "what Ann said in confidence"
ANY_SIGNAL = TypeAdapter(Signal)

#: One valid signal of each kind, as a row.
ROWS = {
    "preference": {"prompt": "Why?", "chosen": "Because.", "rejected": "Hm."},
    "rating": {"prompt": "Why?", "response": "Because.", "score": 0.5},
    "edit": {"prompt": "Why?", "original": "Hm.", "edited": "Because."},
    "regeneration": {"prompt": "Why?", "response": "Hm.", "kept": "Because."},
    "utterance": {"text": "I like it short."},
}
TEXT_FIELDS = [(kind, name) for kind, row in ROWS.items() for name in row if name != "score"]
every_text = pytest.mark.parametrize(("kind", "name"), TEXT_FIELDS, ids=[f"{k}.{n}" for k, n in TEXT_FIELDS])


def row(kind="utterance", **changes):
    return {"kind": kind, "user_id": "ann", **ROWS[kind], **changes}


def refused(data):
    """The error that a row is refused with; it never quotes what was given."""
    with pytest.raises(InputError) as caught:
        parse_signal(data)
    assert SECRET not in str(caught.value)
    return caught.value


def stored(signal, name):
    value = getattr(signal, name)
    return value if isinstance(value, str) else value[0].text


# Texts


@every_text
@pytest.mark.parametrize("empty", ["", "  ", "\n\t", "\u3000"])
def test_an_empty_text_is_refused_and_the_field_named(kind, name, empty):
    error = refused(row(kind, **{name: empty}))
    assert (error.field, str(error)) == (name, f"{name}: is empty")


@every_text
@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_odd_text_is_kept_to_the_character(kind, name, text):
    assert stored(parse_signal(row(kind, **{name: text})), name) == text


@every_text
def test_a_lone_surrogate_is_refused_and_located(kind, name):
    error = refused(row(kind, **{name: SECRET + "\ud83d"}))
    assert error.field == name
    assert f"at character {len(SECRET)}" in str(error)


def test_a_megabyte_is_fine_and_the_limit_is_the_limit():
    assert len(parse_signal(row(text="x" * 1_000_000)).text) == 1_000_000
    assert len(parse_signal(row(text="x" * MAX_TEXT)).text) == MAX_TEXT
    too_long = refused(row(text=SECRET + "x" * MAX_TEXT))
    assert str(too_long) == f"text: has {MAX_TEXT + len(SECRET):,} characters, more than the 4,000,000 that one " + (
        "field may hold"
    )


@given(texts())
def test_any_text_survives_json(text):
    signal = parse_signal(row(text=text))
    assert signal.text == text
    assert parse_signal(signal.model_dump_json()) == signal


@pytest.mark.parametrize(
    ("kind", "one", "other"), [("preference", "chosen", "rejected"), ("edit", "original", "edited")]
)
def test_nothing_was_preferred_between_equal_texts(kind, one, other):
    error = refused(row(kind, **{one: SECRET, other: SECRET}))
    assert f"{one} and {other} are the same text" in str(error)
    assert parse_signal(row(kind, **{one: "yes", other: "yes "}))  # a space is a difference


# Prompts


def test_a_prompt_is_text_or_messages():
    spoken = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?", "name": "Ann"}]
    assert parse_signal(row("rating", prompt="Why?")).prompt == (Message(role="user", content="Why?"),)
    kept = parse_signal(row("rating", prompt=spoken)).prompt
    assert [m.model_dump(exclude_unset=True) for m in kept] == spoken
    assert parse_signal(row("rating", prompt=kept)).prompt == kept


@pytest.mark.parametrize(
    "prompt",
    [
        None,
        5,
        [],
        b"Why?",
        [1],
        [[]],
        [None],
        {"role": "user", "content": SECRET},
        [{"content": SECRET}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": "  "}],
        [{"role": "user", "content": SECRET + "\ud800"}],
        [{"role": "user", "content": [{"type": "text", "text": SECRET + "\ud800"}]}],
        [{"role": "user\ud800", "content": SECRET}],
        [{"role": "user", "content": SECRET, "name": "\ud800"}],
        [{"role": "user", "content": [object]}],
    ],
    ids=repr,
)
def test_what_is_no_prompt_is_refused(prompt):
    assert refused(row("rating", prompt=prompt)).field.startswith("prompt")


def test_a_prompt_nested_without_end_is_refused():
    content: list[object] = []
    for _ in range(400):
        content = [content]
    assert refused(row("rating", prompt=[{"role": "user", "content": content}])).field == "prompt"


# Identifiers and times


@pytest.mark.parametrize("field", ["id", "user_id", "tenant", "response_id", "source"])
def test_identifiers_are_printable_and_bounded(field):
    for good in (*ODD_IDS, "a/b", '"quoted"', "it's", "x" * MAX_IDENTIFIER, "Ä ö", "../..", "a;--"):
        assert getattr(parse_signal(row(**{field: good})), field) == good
    for bad in ("", " ", "a\nb", "a\x00", "\x7f", "\t", "x" * (MAX_IDENTIFIER + 1), "\ud800", 5):
        assert refused(row(**{field: bad})).field == field, repr(bad)


def test_ids_are_made_up_where_none_is_given():
    assert parse_signal(row()).id != parse_signal(row()).id


def test_times_are_kept_in_utc():
    naive, aware = datetime(2026, 5, 1, 12), datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert parse_signal(row(at=naive)).at == datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert parse_signal(row(at=aware)).at.isoformat() == "2026-05-01T10:00:00+00:00"
    assert parse_signal(row(at="2026-05-01T12:00:00+02:00")).at == aware
    assert parse_signal(row()).at.tzinfo is UTC


@pytest.mark.parametrize(
    "at", ["yesterday " + SECRET, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", 1e300, []]
)
def test_impossible_times_are_refused(at):
    assert refused(row(at=at)).field == "at"


# Scores


@pytest.mark.parametrize("score", [-1, -0.25, 0, 1, 1.0])
def test_scores_reach_from_minus_one_to_one(score):
    assert parse_signal(row("rating", score=score)).score == score


@pytest.mark.parametrize("score", [1.0001, -2, float("nan"), float("inf"), 10**400, SECRET, None, []])
def test_other_scores_are_refused(score):
    assert refused(row("rating", score=score)).field == "score"


# Parsing


@pytest.mark.parametrize("kind", [SECRET, None, [], {}, 5])
def test_an_unknown_kind_is_not_repeated(kind):
    error = refused({"user_id": "ann", "kind": kind, "text": SECRET})
    assert error.field == "kind"
    assert str(error) == "kind: must be one of preference, rating, edit, regeneration, utterance"


def test_unknown_and_missing_fields_are_named():
    assert refused(row(mood=SECRET)).field == "mood"
    without = row()
    del without["user_id"]
    assert refused(without).field == "user_id"
    assert refused(json.dumps(without)).field == "user_id"


@pytest.mark.parametrize("broken", ["", "{", "[]", "5", b"\xff", '{"text": "\\ud800"}', "[" * 100_000])
def test_broken_json_is_refused(broken):
    assert refused(broken)


@given(
    st.dictionaries(st.sampled_from(["kind", *ROWS["preference"], "score", "at", "id", "text"]), st.text() | st.none())
)
def test_parsing_raises_nothing_else(data):
    try:
        parse_signal({"user_id": "ann", **data})
    except InputError as error:
        assert error.field  # noqa: PT017 - whether it raises is not the point


def test_signals_do_not_change():
    with pytest.raises(ValidationError):
        parse_signal(row()).text = "other"


# Choices


def rated(id_, response, score, prompt="Why?"):
    return Rating(id=id_, user_id="ann", prompt=prompt, response=response, score=score)


def read(*signals):
    return [(c.signal_id, c.chosen, c.rejected, c.certainty) for c in choices_of(signals)]


def test_preferences_edits_and_regenerations_are_choices():
    who = {"user_id": "ann", "prompt": "Why?"}
    assert read(Preference(id="p", chosen="A", rejected="B", **who)) == [("p", "A", "B", 1.0)]
    assert read(Edit(id="e", original="B", edited="A", **who)) == [("e", "A", "B", 1.0)]
    assert read(Regeneration(id="g", response="B", kept="A", **who)) == [("g", "A", "B", 0.5)]
    assert read(Regeneration(id="g", response="B", **who)) == []
    assert read(Regeneration(id="g", response="B", kept="B", **who)) == []
    assert read(Utterance(id="u", user_id="ann", text="A over B")) == []


def test_the_prompt_of_a_choice_is_the_last_thing_the_person_said():
    spoken = [("system", "Be kind."), ("user", "First?"), ("assistant", "Yes."), ("user", "Second?"), ("tool", "42")]
    prompt = tuple(Message(role=r, content=c) for r, c in spoken)
    assert choices_of([rated("1", "A", 1, prompt), rated("2", "B", -1, prompt)])[0].prompt == "Second?"
    assert choices_of([rated("1", "A", 1, prompt[:1]), rated("2", "B", -1, prompt[:1])])[0].prompt == "Be kind."


def test_a_rating_is_paired_with_the_latest_that_was_scored_differently():
    assert read(rated("1", "A", 1)) == []
    assert read(rated("1", "A", 1), rated("2", "B", 1)) == []
    assert read(rated("1", "A", 1), rated("2", "A", -1)) == []  # a changed mind about one answer compares nothing
    assert read(rated("1", "A", 1), rated("2", "B", -1)) == [("2", "A", "B", 1.0)]
    assert read(rated("1", "A", -1), rated("2", "B", 1)) == [("2", "B", "A", 1.0)]
    assert read(rated("1", "A", 0), rated("2", "B", 0.5)) == [("2", "B", "A", 0.25)]
    latest = read(rated("1", "A", -1), rated("2", "B", -0.5), rated("3", "C", 1))
    assert latest == [("2", "B", "A", 0.25)]


def test_a_rating_is_in_one_choice_only():
    """Several good answers against one bad one: the others would give away which way the one held out goes."""
    assert read(*(rated(str(i), f"A{i}", 1, f"{i}?") for i in range(3)), rated("9", "B", -1), rated("10", "C", 1)) == [
        ("9", "A2", "B", 0.5)
    ]
    up_and_down = [rated(str(i), f"A{i}", 1 if i % 2 else -1, f"{i}?") for i in range(6)]
    found = choices_of(up_and_down)
    assert [(c.chosen, c.rejected) for c in found] == [("A1", "A0"), ("A3", "A2"), ("A5", "A4")]


def test_scores_too_close_to_tell_apart_show_no_choice():
    assert read(rated("1", "A", 5e-324), rated("2", "B", 0)) == []


def test_the_same_prompt_counts_double_and_comes_first():
    there, elsewhere = rated("1", "A", -1), rated("2", "B", -1, "When?")
    assert read(elsewhere, rated("3", "C", 1)) == [("3", "C", "B", 0.5)]
    assert read(there, elsewhere, rated("3", "C", 1)) == [("3", "C", "A", 1.0)]


@given(signal_lists("ann"))
def test_choices_keep_the_order_and_are_sound(signals):
    choices = choices_of(signals)
    ids = [s.id for s in signals]
    places = [ids.index(c.signal_id) for c in choices]
    assert places == sorted(set(places))
    assert all(0 < c.certainty <= 1 and c.chosen != c.rejected for c in choices)
    before = choices_of(signals[:-1])
    assert before == choices[: len(before)]  # what comes later changes nothing about what was chosen
    assert ANY_SIGNAL.validate_json(ANY_SIGNAL.dump_json(signals[0])) == signals[0]
