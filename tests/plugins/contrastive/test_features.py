"""What is read off a text: quantities with their units, style, words and phrases. Any text will do."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_plugins.contrastive.features import GROUPS, MAX_CHARACTERS, STYLE, features


def quantities(text: str) -> dict[str, float]:
    return {name: value for name, value in features(text).items() if name[0] == "q"}


#: A text and all the quantities in it.
QUANTITIES = [
    ("It costs $12.50 a month.", {"$": 12.5}),
    ("It costs 12,50 € a month.", {"€": 12.5}),
    ("5€", {"€": 5}),
    ("£1,000 is too much", {"£": 1000}),
    ("1.234,50 €", {"€": 1234.5}),
    ("1,234.50 dollars", {"dollar": 1234.5}),
    ("1,234,567 people", {"people": 1234567}),
    ("3,5 km", {"km": 3.5}),
    ("CHF 5", {"chf": 5}),
    ("7 cents per kWh", {"cent per kwh": 7}),
    ("7 cents/kWh", {"cent per kwh": 7}),
    ("a 1-year contract", {"year": 1}),
    ("a two-week trip", {"week": 2}),
    ("three stops and 40 minutes", {"stop": 3, "minute": 40}),
    ("no contract", {"contract": 0}),
    ("zero stops", {"stop": 0}),
    ("5% off", {"%": 5}),
    ("12 percent off", {"percent": 12}),
    ("room 12", {"room": 12}),
    ("over 100 seats", {"seat": 100}),
    # times of day, all on one clock
    ("leaves at 8 am", {"clock": 8}),
    ("leaves at 8pm", {"clock": 20}),
    ("leaves at 8 p.m. sharp", {"clock": 20}),
    ("leaves at 8 a.m. and is fast", {"clock": 8}),
    ("leaves at 12 am", {"clock": 0}),
    ("leaves at 12 pm", {"clock": 12}),
    ("leaves at 8:30 pm", {"clock": 20.5}),
    ("leaves at 8:30pm", {"clock": 20.5}),
    ("leaves at 20:15", {"clock": 20.25}),
    ("leaves at 20:15:00", {"clock": 20.25}),
    ("option 3: 5 apples", {"option": 3, "apple": 5}),
    # dates and versions are no quantities, or the first two parts of one
    ("on 31.12.2024", {}),
    ("2024-01-31", {}),
    ("version 2.1.3", {"version": 2.1}),
    # digits of any script
    ("٣ books", {"book": 3}),
    ("１２ km", {"km": 12}),
    ("² books", {}),
    # nothing says what is measured
    ("30.", {}),
    ("it is 3", {}),
    ("two", {}),
    ("", {}),
]


@pytest.mark.parametrize(("text", "expected"), QUANTITIES, ids=[text for text, _ in QUANTITIES])
def test_quantities(text: str, expected: dict[str, float]) -> None:
    assert quantities(text) == pytest.approx({f"q:{unit}": value for unit, value in expected.items()})


def test_several_quantities_of_one_unit_have_a_mean_and_a_range() -> None:
    found = features("Between $5 and $10, in 3 days.")
    assert found["q:$"] == 7.5
    assert found["r:$"] == 5
    assert "r:day" not in found


def test_units_meet_in_singular_and_plural() -> None:
    assert quantities("1 minute") == {"q:minute": 1}
    assert quantities("5 minutes") == {"q:minute": 5}
    assert quantities("3 glasses") == {"q:glasse": 3}  # crude, and the same every time
    assert quantities("1 business class") == {"q:business": 1}


@pytest.mark.parametrize("digits", [15, 16, 400, 19_000])
def test_numbers_without_end_are_finite(digits: int) -> None:
    for text in ("9" * digits + " km", "0." + "9" * digits + " km", "9" * digits + ",5 km", "1," * digits + "5 km"):
        assert math.isfinite(quantities(text).get("q:km", 0.0))


#: By dimension: a text, and one that has more of it.
MORE = [
    ("length", "It works.", "It works, and here is a good deal more about how it does so."),
    ("sentence_length", "It works. It is fast. It is small.", "It works and it is fast and it is small."),
    ("lists", "Apples, pears and plums.", "- Apples\n- Pears\n- Plums"),
    ("lists", "Apples, pears and plums.", "1. Apples\n2. Pears\n3) Plums"),
    ("code", "Use sort.", "Use `sort`."),
    ("headings", "Sorting\nUse sort.", "## Sorting\nUse sort."),
    ("headings", "Sorting\nUse sort.", "**Sorting**\nUse sort."),
    ("paragraphs", "One thing. Another thing.", "One thing.\n\nAnother thing."),
    ("questions", "Tell me the city.", "Which city is it?"),
    ("exclamations", "Good work.", "Good work!"),
    ("formality", "Hey, that's cool, gonna work.", "Therefore it works; furthermore it is sound."),
    ("formality", "It isn't ready and it won't be.", "It is not ready and it will not be."),
    ("warmth", "The result is correct.", "Thanks, friend: the lovely result is correct."),
    ("hedging", "It works on this system.", "It might possibly work on this system."),
    ("directness", "One could perhaps restart it.", "You restart your router."),
    (
        "reading_level",
        "We go to the sea. It is a big day.",
        "Considerable precipitation accompanies mountainous regions.",
    ),
    ("examples", "Use a tool.", "Use a tool, for example a saw, or such as a file."),
    ("emoji", "Good work.", "Good work 🎉"),
    ("numbers", "It takes a while.", "It takes 3 of 4 days, or 75 hours."),
    ("first_person", "The model reads it.", "I read it, and we like our way."),
    ("negations", "It works.", "It does not work, and never will."),
    ("function_words", "Restart router now.", "You have to do this with the router that is in there."),
    ("quotes", "He called it fine.", 'He called it "fine".'),
]


@pytest.mark.parametrize(("dimension", "less", "more"), MORE, ids=[dimension for dimension, _, _ in MORE])
def test_style_moves_the_right_way(dimension: str, less: str, more: str) -> None:
    name = "s:" + dimension
    assert features(more)[name] > features(less)[name]


def test_every_dimension_of_style_is_in_every_text_and_tested_above() -> None:
    assert {dimension for dimension, _, _ in MORE} == set(STYLE)
    for text in ("", "Yes.", "🙂"):
        assert {name[2:] for name in features(text) if name[0] == "s"} == set(STYLE)


@pytest.mark.parametrize("text", ["今天天气很好。真的！", "おはよう、元気？", "한국어！", "a → b — c … d", "½ ± 3"])
def test_punctuation_of_other_scripts_is_no_emoji(text: str) -> None:
    assert features(text)["s:emoji"] == 0


@pytest.mark.parametrize("text", ["❤️", "⭐", "😀", "✅"])
def test_one_emoji_counts_once(text: str) -> None:
    assert features(text)["s:emoji"] == pytest.approx(math.log(2))


def test_tone_is_counted_per_word_so_that_length_is_not_counted_twice() -> None:
    once = "Thanks, you might like it. "
    for dimension in ("warmth", "hedging", "directness", "formality", "sentence_length", "reading_level"):
        name = "s:" + dimension
        assert features(once * 10)[name] == pytest.approx(features(once)[name])


def test_words_and_phrases() -> None:
    found = features("Fresh local bread, from “the local” bakery")
    assert {n for n in found if n[0] == "w"} == {"w:fresh", "w:local", "w:bread", "w:from", "w:the", "w:bakery"}
    assert "p:local bread" in found
    assert "p:local bakery" in found  # quotation marks do not part words
    assert found["w:local"] == 1.0  # there or not, however often


@pytest.mark.parametrize("end", [".", "!", "?", "\n", ",", ";", ":", " 3 ", "🙂"])
def test_phrases_do_not_run_across_a_sentence_or_a_pause(end: str) -> None:
    found = features(f"fresh bread{end} cold milk")
    assert "p:bread cold" not in found
    assert {"p:fresh bread", "p:cold milk"} <= found.keys()


def test_apostrophes_of_both_kinds_are_one_word() -> None:
    assert features("I don’t know") == features("I don't know")
    assert "w:don't" in features("I don’t know")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=400))
def test_any_text_has_finite_features_and_always_the_same(text: str) -> None:
    found = features(text)
    assert features(text) == found
    for name, value in found.items():
        assert name[0] in GROUPS
        assert name[1] == ":"
        assert math.isfinite(value)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="0123456789.,:%$€-/ apmerkw\n", max_size=80))
def test_any_heap_of_numbers_has_finite_features(text: str) -> None:
    assert all(math.isfinite(value) for value in features(text).values())


def test_only_the_beginning_of_a_long_text_is_read() -> None:
    start = "word " * (MAX_CHARACTERS // 5)
    assert len(start) == MAX_CHARACTERS
    assert features(start + "marker! " * 100_000) == features(start)


@pytest.mark.parametrize("piece", ["word ", "9", "9,", "(", "1. ", "**", "\n\n", "p.m.", "12:", "-", "$1 "])
def test_a_long_text_of_any_one_thing_is_read_fast(piece: str) -> None:
    started = time.perf_counter()
    features(piece * 1_000_000)
    assert time.perf_counter() - started < 2  # some 20 ms; what grows with the square would take minutes
