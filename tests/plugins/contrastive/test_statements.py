"""What people say outright, found; what they do not say of themselves, left alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_plugins.contrastive.statements import STYLE_DIMENSIONS, Statement, standing, statements_in
from tests.plugins.contrastive.statement_cases import NOTHING, SAID, SEQUENCES, STYLE


@pytest.mark.parametrize(("text", "senses"), STYLE)
def test_finds_what_is_said_about_style(text: str, senses: str) -> None:
    found = {f"{s.feature}{'+' if s.direction > 0 else '-'}" for s in statements_in(text, "s1")}
    assert found == set(senses.split())
    for s in statements_in(text, "s1"):
        assert s.key == f"style:{s.feature}"
        assert s.kind == "style"
        assert s.feature in STYLE_DIMENSIONS
        assert s.polarity == ("for" if s.direction > 0 else "against")


@pytest.mark.parametrize(("text", "sentence"), SAID)
def test_finds_what_is_said_about_oneself(text: str, sentence: str) -> None:
    found = statements_in(text, "s1")
    assert sentence in [s.text for s in found]
    assert all(s.quote in text and s.signal_id == "s1" for s in found)


@pytest.mark.parametrize("text", NOTHING)
def test_finds_nothing_where_nothing_is_said(text: str) -> None:
    assert statements_in(text, "s1") == []


@pytest.mark.parametrize(("turns", "sentences"), SEQUENCES)
def test_later_statements_correct_earlier_ones(turns: list[str], sentences: list[str]) -> None:
    said = [s for n, turn in enumerate(turns) for s in statements_in(turn, f"s{n}")]
    assert [s.text for s in standing(said)] == sentences


def test_scope_holds_the_words_of_where_it_holds() -> None:
    (formal,) = statements_in("For work emails, I prefer a formal tone.", "s")
    assert formal.scope == ("work", "emails")
    (coffee,) = statements_in("I like coffee in the morning", "s")
    assert (coffee.key, coffee.scope) == ("said:coffee", ("morning",))
    (short,) = statements_in("when cooking, keep it short", "s")
    assert short.scope == ("cooking",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("for work emails keep it formal, otherwise be casual", {(1, ("work", "emails")), (-1, ())}),
        ("in emails be formal, but otherwise be casual", {(1, ("emails",)), (-1, ())}),
        ("keep it formal for work emails, otherwise be casual", {(1, ("work", "emails")), (-1, ())}),
        ("I want short answers at work and long answers at home", {(-1, ("work",)), (1, ("home",))}),
        ("keep it short at work but detailed at home", {(-1, ("work",)), (1, ("home",))}),
        ("keep it short for emails and reports", {(-1, ("emails", "reports"))}),
    ],
)
def test_two_wishes_in_a_sentence_keep_their_own_scopes(text: str, expected: set[tuple[int, tuple[str, ...]]]) -> None:
    assert {(s.direction, s.scope) for s in statements_in(text, "s")} == expected


@pytest.mark.parametrize("what", ["90s music", "3D printing", "R&B", "B12 smoothies", "C++"])
def test_digits_and_signs_that_belong_to_a_word_are_read(what: str) -> None:
    assert [s.text for s in statements_in(f"I love {what}", "s")] == [f"Loves {what}."]


def test_keys_let_opposites_meet() -> None:
    pairs = [("I love jazz", "I'm not into jazz"), ("I love dogs", "I hate dogs"), ("I eat fish", "I don't eat fish")]
    for one, other in pairs:
        (a,), (b,) = statements_in(one, "1"), statements_in(other, "2")
        assert a.key == b.key
        assert {a.polarity, b.polarity} == {"for", "against"}


@pytest.mark.parametrize("text", ["I'm Muslim", "I'm a Christian nurse", "I'm deaf", "I vote Labour"])
def test_protected_statements_are_kept_only_on_request(text: str) -> None:
    assert statements_in(text, "s") == []
    assert len(statements_in(text, "s", keep_protected=True)) == 1


def test_reads_only_the_introduction_of_a_long_turn() -> None:
    essay = "I love storms. I hate calm seas. " * 200
    assert statements_in(essay, "s") == []
    assert [s.text for s in statements_in(f"I'm a nurse.\n\n{essay}", "s")] == ["Is a nurse."]
    assert [s.text for s in statements_in(f"```\n{essay}\n```\nkeep it short", "s")] == ["Wants answers kept short."]


@pytest.mark.parametrize(
    "unit",
    ["I don't ", "'a ", "“", '"', "`", "```\n", "\n", " \n", ": ", "- ", "I like a, and ", "always ", "((", "a-",
     "not ", "I love jazz\n\n", "> x\n", "\x00", "forget what I said ", "short and "],
)  # fmt: skip
def test_a_megabyte_takes_linear_time(unit: str) -> None:
    text = (unit * (1_000_000 // len(unit) + 1))[:1_000_000]
    started = time.process_time()
    statements_in(text, "s")
    statements_in(text[:1_900], "s")
    assert time.process_time() - started < 10


PIECES = [
    *"I don't like hate prefer am a an not never no longer always keep it short bullets stop using work".split(),
    *[",", ".", "?", ":", "\n", '"', "'", "for", "when", "forget", "what", "said", "about", "my", "is", "have"],
    *"too please more longer answers wait otherwise at home call me Rob moved to Lyon again vegan turned 35".split(),
    *"<b> you can be not enough imperial better in otherwise".split(),
]


@given(st.one_of(st.text(max_size=400), st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join)))
@settings(deadline=None, max_examples=400)
def test_reads_any_text(text: str) -> None:
    found = statements_in(text, "s", keep_protected=True)
    assert found == statements_in(text, "s", keep_protected=True)
    assert standing(found) == standing(standing(found))
    for s in found:
        assert isinstance(s, Statement)
        assert s.quote
        assert s.quote in text
        assert "\n" not in s.text
        assert s.takes_back or (s.key and s.text)
        assert (s.direction == 0) == (s.feature is None)
