"""Recipes are those of the papers, and rates follow the size of the base."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_sdk.tuning.recipes import PRESETS, auto, learning_rate
from tests.tuning.training_runs import RECIPE, rows

PAIRS = rows(10, 8)
THUMBS = [one.model_copy(update={"example": one.example.model_copy(update={"rejected": None})}) for one in PAIRS]
COSTS = {"sft": 1, "dpo": 2.5, "kto": 2}


@pytest.mark.parametrize(
    ("parameters", "method", "rate"),
    [(1e9, "dpo", 2e-4), (3e9, "dpo", 1e-4), (8e9, "dpo", 5e-5), (1.35e8, "sft", 1e-3), (8e9, "sft", 2e-4),
     (1, "dpo", 2.5e-4), (1e12, "dpo", 2e-5)],
)  # fmt: skip
def test_rates_follow_the_size_of_the_base(parameters, method, rate):
    assert learning_rate(int(parameters), method) == pytest.approx(rate)
    assert learning_rate(2 * int(parameters), method) <= learning_rate(int(parameters), method)


def test_recipes_are_as_the_papers_have_them():
    assert RECIPE.methods == "sft → dpo"
    sft, dpo = PRESETS["pt"].stages
    assert (PRESETS["pt"].rank, PRESETS["pt"].alpha, PRESETS["pt"].dropout) == (16, 32, 0.05)
    assert (sft.learning_rate, dpo.learning_rate, dpo.beta) == (2e-5, 5e-6, 0.1)
    assert PRESETS["pt"].halves
    assert (PRESETS["wikipersonas"].rank, PRESETS["wikipersonas"].stages[0].beta) == (8, 0.01)
    assert PRESETS["aloe"].stages[1].beta == 0.9


def test_auto_teaches_all_there_is_where_time_does_not_matter():
    made = auto(PAIRS)
    assert (made.methods, made.halves, made.evaluations) == ("sft → dpo", True, 4)
    assert made.stages[1].losses == ("sigmoid", "sft")
    assert auto(PAIRS[:20]).halves is False
    assert auto(THUMBS).methods == "kto"


@given(
    taught=st.sampled_from([PAIRS, PAIRS[:20], THUMBS]),
    minutes=st.floats(0.5, 600),
    seconds=st.floats(1e-3, 10),
    checked=st.integers(0, 60),
)
def test_auto_takes_no_longer_than_it_may(taught, minutes, seconds, checked):
    made = auto(taught, minutes=minutes, seconds_per_row=seconds, checked=checked)
    each = len(taught) / (2 if made.halves else 1)
    learning = [COSTS[stage.method] * stage.epochs * each * seconds for stage in made.stages]
    once = checked * seconds * sum(COSTS[stage.method] for stage in made.stages) / 3
    within = max(minutes * 60, once + minutes * 60 * 0.2)  # evaluated once at least, and something is learnt
    slack = 1e-3 * seconds * each * 3.5  # the least of a stage
    assert sum(learning) + made.evaluations * once <= within * 1.01 + slack
    assert made.evaluations == 1 or made.evaluations * once <= minutes * 60 * 0.2
    assert all(given.epochs <= free.epochs for given, free in zip(made.stages, auto(taught).stages, strict=True))
