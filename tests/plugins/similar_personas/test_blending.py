"""What is borrowed, by hand and by its laws."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_plugins.similar_personas.blending import (
    NEIGHBOURS,
    Borrowing,
    added,
    borrowed,
    faded,
    group_of,
    similarity,
)

NAMES = st.sampled_from(["w:a", "w:b", "w:c", "s:a", "s:b", "q:a", "plain"])
WEIGHTS = st.dictionaries(NAMES, st.floats(-1e6, 1e6))
GROUPS = st.frozensets(st.sampled_from(["w", "s", "q", "plain"]))
BORROWING = st.builds(
    Borrowing,
    groups=GROUPS,
    strength=st.floats(0.001, 100),
    fade=st.floats(0.1, 100),
    people=st.integers(0, 1000),
    choices=st.integers(0, 10**6),
    gain=st.floats(-1, 1),
    standard_error=st.floats(0, 1),
)
WORDS = frozenset("w")


def test_similarity_by_hand():
    a, b = {"w:x": 3.0, "w:y": 4.0, "s:x": 9.0}, {"w:x": 1.0, "s:x": -9.0}
    assert similarity(a, b, WORDS) == pytest.approx(3 / 5)
    assert similarity(a, b, frozenset("s")) == pytest.approx(-1.0)
    assert similarity(a, b, frozenset("ws")) == pytest.approx((3 - 81) / math.sqrt((9 + 16 + 81) * (1 + 81)))
    assert similarity(a, {"w:z": 1.0}, WORDS) == 0.0
    assert similarity(a, {}, WORDS) == similarity({}, {}, WORDS) == similarity(a, a, frozenset()) == 0.0


@given(WEIGHTS, WEIGHTS, GROUPS)
def test_similarity_is_mutual_and_a_cosine(a, b, groups):
    found = similarity(a, b, groups)
    assert -1.0 <= found <= 1.0
    assert found == pytest.approx(similarity(b, a, groups))
    within = {name: weight for name, weight in a.items() if group_of(name) in groups}
    if math.hypot(*within.values()) > 1e-100:
        assert similarity(a, a, groups) == pytest.approx(1.0)


def test_what_is_borrowed_by_hand():
    lenders = [(0.5, {"w:x": 2.0, "w:y": 1.0, "s:x": 7.0}), (0.25, {"w:x": -4.0}), (-0.9, {"w:y": 100.0})]
    borrowing = Borrowing(WORDS, strength=3.0, fade=2.0)
    assert borrowed(lenders, borrowing, 0) == pytest.approx({"w:x": 0.0, "w:y": 1.5})
    assert borrowed(lenders[:1], borrowing, 4) == pytest.approx({"w:x": 1.0, "w:y": 0.5})  # 2 / (2 + 4) of it


def test_only_the_most_similar_lend_in_whatever_order_they_come():
    near = [(0.9, {"w:near": 1.0})] * NEIGHBOURS
    far = [(0.8, {"w:far": 1.0})] * 5
    assert borrowed([*far, *near], Borrowing(WORDS, 1.0), 0) == pytest.approx({"w:near": 0.9 * NEIGHBOURS})


def test_what_too_few_agree_on_is_not_lent():
    lenders = [(1.0, {"w:x": 1.0, "w:y": -1.0, "w:z": 1.0}), (0.5, {"w:x": 1.0, "w:y": 1.0}), (0.1, {"w:y": 1.0})]
    borrowing = Borrowing(WORDS, 1.0, agree=2)
    assert borrowed(lenders, borrowing, 0) == pytest.approx({"w:x": 1.5})  # two are for w:y, and the sum is against it
    assert Borrowing.from_data(json.loads(json.dumps(borrowing.to_data()))) == borrowing


def test_nothing_is_borrowed_where_it_was_refused():
    assert borrowed([(1.0, {"w:x": 1.0})], Borrowing(WORDS, strength=0.0), 0) == {}


@given(BORROWING, WEIGHTS, st.floats(0, 1), st.integers(0, 100))
def test_what_is_borrowed_fades_as_own_choices_come(borrowing, weights, alike, choices):
    less, more = (borrowed([(alike, weights)], borrowing, n) for n in (choices + 1, choices))
    assert less.keys() == more.keys() <= {name for name in weights if group_of(name) in borrowing.groups}
    assert all(abs(less[name]) <= abs(more[name]) for name in more)
    assert faded(borrowing.fade, round(borrowing.fade)) == pytest.approx(0.5, abs=0.5 / borrowing.fade)


def test_what_is_added_by_hand():
    assert added({"w:x": 2.0, "w:y": -1.0, "w:z": 9.0}, {"w:x": 0.5, "w:y": 3.0, "w:new": 8.0}) == pytest.approx(-2.0)
    assert added({}, {"w:x": 1.0}) == added({"w:x": 1.0}, {}) == 0.0


@given(WEIGHTS, WEIGHTS)
def test_turning_a_choice_round_turns_what_is_added_round(weights, contrast):
    turned = {name: -difference for name, difference in contrast.items()}
    assert added(weights, turned) == -added(weights, contrast)


@given(BORROWING)
def test_what_was_found_survives_being_stored(borrowing):
    assert Borrowing.from_data(json.loads(json.dumps(borrowing.to_data(), allow_nan=False))) == borrowing
    json.dumps(Borrowing().to_data(), allow_nan=False)


def test_what_was_verified_is_said_in_a_sentence():
    figures = {"people": 96, "choices": 1998, "gain": 0.0042, "standard_error": 0.0011}
    helps = Borrowing(WORDS, 1.0, 6.0, **figures).verified
    assert helps == (
        "borrowing predicts 1,998 left-out choices of 96 people better: +0.0042 nats a choice (s.e. 0.0011)"
    )
    refused = Borrowing(WORDS, 0.0, **figures).verified
    assert "not shown to help" in refused
    assert "refused" in refused
    assert "not tried" in Borrowing(WORDS).verified
