"""What is counted of choices between two answers, against numpy, scipy, and drawing people anew."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_sdk.evaluation._tailoring_figures import (
    Mean,
    Pairwise,
    length_controlled,
    matched,
    mean_of,
    pearson,
    prefers,
)


def test_means_and_ties():
    assert mean_of([]).value is None
    assert mean_of([0.5]) == Mean(0.5, None, 1)
    assert mean_of([0.0, 1.0, 1.0]).standard_error == pytest.approx(math.sqrt(1 / 3) / math.sqrt(3))
    assert [prefers(m) for m in (0.1, -0.1, 0.0, 1e-12)] == [1.0, 0.0, 0.5, 0.5]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=12))
def test_pearson_is_numpys(pairs):
    import numpy as np

    first, second = zip(*pairs, strict=True)
    found = pearson(first, second)
    if min(np.std(first), np.std(second)) > 1e-6:
        assert found == pytest.approx(float(np.corrcoef(first, second)[0, 1]), abs=1e-6)
    if len(set(first)) == 1:
        assert found is None


def test_pairs_alike_in_length_count_per_person():
    people = {
        "a": [Pairwise(1.0, 100, 91), Pairwise(0.0, 100, 110), Pairwise(0.0, 100, 80)],
        "b": [Pairwise(1.0, 10, 10)],
        "c": [Pairwise(0.0, 10, 20)],
    }
    mean, count = matched(people)
    assert (mean.value, mean.people, count) == (pytest.approx((0.5 + 1.0) / 2), 2, 3)


def drawn(people, choices, *, skill, length, seed=0):
    """Pairs of people whose chance to be right depends on skill, and on which answer is the longer one."""
    rng = random.Random(seed)
    found = {}
    for user in range(people):
        for _ in range(choices):
            chosen, rejected = rng.randrange(50, 500), rng.randrange(50, 400)
            z = skill + length * (1 if chosen > rejected else -1)
            right = float(rng.random() < 1 / (1 + math.exp(-z)))
            found.setdefault(str(user), []).append(Pairwise(right, chosen, rejected))
    return found


def test_length_alone_is_a_coins_accuracy_at_like_length():
    lazy = drawn(40, 25, skill=0.0, length=3.0)
    plain = sum(p.right for pairs in lazy.values() for p in pairs) / 1000
    controlled = length_controlled(lazy)
    assert plain > 0.57
    assert controlled.value == pytest.approx(0.5, abs=3 * controlled.standard_error)
    assert controlled.value < plain - 0.02
    skilled = length_controlled(drawn(40, 25, skill=1.0, length=0.0))
    assert skilled.value == pytest.approx(1 / (1 + math.exp(-1)), abs=3 * skilled.standard_error)


def test_the_fit_is_the_best_there_is():
    """Against scipy, on the same penalised and weighted likelihood."""
    import numpy as np
    from scipy.optimize import minimize

    people = drawn(6, 9, skill=0.4, length=1.0, seed=3)
    people["0"] = people["0"][:2]  # everybody counts alike, however many their choices
    pairs = [(p, len(theirs)) for theirs in people.values() for p in theirs]
    delta = np.array([p.chosen - p.rejected for p, _ in pairs], float)
    x = np.tanh(delta / math.sqrt((delta**2).mean()))
    y = np.array([p.right for p, _ in pairs])
    w = np.array([len(pairs) / len(people) / count for _, count in pairs])

    def loss(at):
        z = at[0] + at[1] * x
        return (w * (np.logaddexp(0, z) - y * z)).sum() + 0.005 * (at @ at)

    best = minimize(loss, np.zeros(2), tol=1e-10).x
    assert length_controlled(people).value == pytest.approx(1 / (1 + math.exp(-best[0])), abs=1e-4)


def test_its_standard_error_is_that_of_drawing_people_anew():
    people = drawn(40, 10, skill=0.5, length=1.0, seed=5)
    rng = random.Random(1)
    names = list(people)
    again = [
        length_controlled({str(n): people[rng.choice(names)] for n in range(len(names))}).value for _ in range(200)
    ]
    assert length_controlled(people).standard_error == pytest.approx(math.sqrt(_variance(again)), rel=0.25)


def _variance(values):
    mean = sum(values) / len(values)
    return sum((v - mean) ** 2 for v in values) / (len(values) - 1)


def test_where_length_always_points_one_way_nothing_is_told():
    assert length_controlled({"a": [Pairwise(1.0, 9, 5), Pairwise(0.0, 7, 5)]}).value is None
    assert length_controlled({"a": [Pairwise(1.0, 5, 9)]}).value is None
    assert length_controlled({}).value is None
    same = length_controlled({"a": [Pairwise(1.0, 5, 5), Pairwise(1.0, 5, 5), Pairwise(0.0, 5, 5)]})
    assert same.value == pytest.approx(2 / 3, abs=0.01)
    all_right = length_controlled({"a": [Pairwise(1.0, 9, 5), Pairwise(1.0, 5, 9)] * 5})
    assert 0.98 < all_right.value < 1
