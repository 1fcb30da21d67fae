"""Recipes are those of the papers, and rates follow the size of the base."""

import pytest

from persona_sdk.tuning.recipes import PRESETS, learning_rate
from tests.tuning.training_runs import RECIPE


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
