"""How a model is tuned: named recipes, those of the papers and one that looks at the data and the machine. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from persona_sdk.errors import InputError
from persona_sdk.models import Frozen
from persona_sdk.tuning.rows import Row

__all__ = ["PRESETS", "Method", "Recipe", "Stage", "Told", "auto", "learning_rate", "preset"]

#: Learn to say what was chosen; learn to prefer it to what was rejected; learn from thumbs.
Method: TypeAlias = Literal["sft", "dpo", "kto"]
#: Is told of progress: the stage's number (from 1), of how many, its method, its step, of how many.
Told: TypeAlias = Callable[[int, int, str, int, int], None]
#: Parameters of a model, and the rate for DPO with a LoRA on it (arXiv 2505.13257 from 1B to 8B; 1e-3 spoiled 135M).
_RATES = ((1.35e8, 2.5e-4), (1e9, 2e-4), (3e9, 1e-4), (8e9, 5e-5), (7e10, 2e-5))
#: SFT takes larger steps: it is told what to say, not only which is better.
_SFT = 4.0
#: Fewer pairs than this are not halved: either half would teach nothing.
_HALVED = 64


class Stage(Frozen):
    """One stage of training: it goes on with the LoRA of the stage before, whose state at its start is its reference.

    `learning_rate` None is chosen by the model's size. `batch` is the effective batch in rows, over all devices.
    `losses` are TRL's names: ("sigmoid",) is DPO, ("sigmoid", "sft") is DPO that also goes on saying what was chosen,
    each with its weight in `weights`. `patience` is how many evaluations without improvement end a stage; 0 is never.
    """

    method: Method
    learning_rate: float | None = Field(default=None, gt=0)
    epochs: float = Field(default=1.0, gt=0)
    batch: int = Field(default=16, ge=1)
    beta: float = Field(default=0.1, gt=0)
    losses: tuple[str, ...] = ("sigmoid",)
    weights: tuple[float, ...] = ()
    patience: int = Field(default=3, ge=0)

    @model_validator(mode="after")
    def _weighted(self) -> Stage:
        if self.weights and len(self.weights) != len(self.losses):
            raise ValueError(f"has {len(self.weights)} weights for {len(self.losses)} losses")
        return self


class Recipe(Frozen):
    """A LoRA on all attention and MLP projections, and the stages it is trained in, one after the other.

    `evaluations` is how often a stage is evaluated, each time a checkpoint is kept; the best one is used. With
    `halves`, SFT and DPO learn from disjoint halves of each person's rows. `warmup` is a share of the steps.
    Rows longer than `max_length` tokens, or than the model reads, are left out; nothing is cut.
    """

    name: str
    stages: tuple[Stage, ...] = Field(min_length=1)
    rank: int = Field(default=16, ge=1, le=512)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    halves: bool = False
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(default=0.1, ge=0, lt=1)
    evaluations: int = Field(default=4, ge=1)
    max_length: int | None = Field(default=None, ge=16)
    source: str = ""

    @property
    def methods(self) -> str:
        """The stages in words: "sft → dpo"."""
        return " → ".join(stage.method for stage in self.stages)


#: Learning rates of the papers are for the sizes they trained; None scales with the size of the base.
PRESETS = {
    "pt": Recipe(
        name="pt",
        stages=(
            Stage(method="sft", learning_rate=2e-5, epochs=10, patience=2),
            Stage(method="dpo", learning_rate=5e-6, epochs=10, beta=0.1, patience=2),
        ),
        dropout=0.05,
        halves=True,
        schedule="linear",
        evaluations=10,
        source="arXiv 2501.11549 (PT_sft, PT_dpo): 8B models; there the SFT is merged and DPO trains another LoRA",
    ),
    "wikipersonas": Recipe(
        name="wikipersonas",
        stages=(Stage(method="dpo", epochs=2, batch=40, beta=0.01),),
        rank=8,
        dropout=0.1,
        source="arXiv 2505.13257 (MT-DPO): rate by size, 2e-4 for 1B to 5e-5 for 8B",
    ),
    "aloe": Recipe(
        name="aloe",
        stages=(
            Stage(method="sft", learning_rate=1e-5, patience=0),
            Stage(method="dpo", learning_rate=1e-5, beta=0.9, patience=0),
        ),
        source="arXiv 2410.03642: β=0.9, one epoch",
    ),
}


def preset(name: str) -> Recipe:
    """Return the recipe of this name.

    Raises:
        InputError: there is none.
    """
    if name not in PRESETS:
        raise InputError(
            f"recipe: there is none called {name!r}; there are {', '.join(PRESETS)} and auto", field="recipe"
        )
    return PRESETS[name]


def learning_rate(parameters: int, method: Method = "dpo") -> float:
    """Return the learning rate for a LoRA on a model with so many parameters, interpolated between known ones."""
    if method == "sft":
        return float(f"{_SFT * learning_rate(parameters):.2g}")
    points = [(math.log(size), math.log(rate)) for size, rate in _RATES]
    at = math.log(max(1, parameters))
    if at <= points[0][0]:
        return _RATES[0][1]
    for (low, low_rate), (high, high_rate) in itertools.pairwise(points):
        if at <= high:
            rate = low_rate + (high_rate - low_rate) * (at - low) / (high - low)
            return float(f"{math.exp(rate):.2g}")
    return _RATES[-1][1]


def auto(
    rows: Sequence[Row], *, minutes: float | None = None, seconds_per_row: float | None = None, checked: int = 0
) -> Recipe:
    """Return a recipe for these rows: SFT, then DPO that goes on saying what was chosen; for thumbs KTO.

    Small models learn little from DPO alone in a few hundred steps, and their text decays when it is driven on; SFT
    teaches them to read the prefix, and DPO then the difference. `minutes` is how long it may take, given how many
    seconds learning from one row takes here, and how many rows are `checked` at each evaluation: there are fewer
    evaluations, and shorter stages, SFT being worth twice as much as DPO.
    """
    pairs = sum(row.example.is_pair for row in rows)
    thumbs = pairs < len(rows) - pairs  # for the most part
    methods: tuple[Method, ...] = ("kto",) if thumbs else ("sft", "dpo")
    evaluations, left = _EVALUATIONS, None
    if minutes and seconds_per_row:
        once = checked * seconds_per_row * sum(_COSTS[method] for method in methods) * _FORWARDS
        evaluations = max(1, min(_EVALUATIONS, int(minutes * 60 * _CHECKING / once))) if once else _EVALUATIONS
        left = max(minutes * 60 - evaluations * once, minutes * 60 * _CHECKING) / seconds_per_row
    if thumbs:
        return Recipe(name="auto", stages=(_fitted("kto", len(rows), left),), evaluations=evaluations)
    halved = pairs >= _HALVED
    each = pairs // 2 if halved else pairs
    first = _fitted("sft", each, left and left * 2 / 3)
    second = _fitted("dpo", each, left and left / 3)
    return Recipe(name="auto", stages=(first, second), halves=halved, evaluations=evaluations)


def _fitted(method: Method, rows: int, affordable: float | None) -> Stage:
    """Return a stage of at least some forty steps, as far as the time allows: that for so many rows of SFT."""
    batch = next((size for most, size in _BATCHES if rows <= most), _BATCHES[-1][1])
    epochs = min(max(1.0, _STEPS * batch / max(1, rows)), _EPOCHS)
    if affordable is not None:
        epochs = min(epochs, affordable / (_COSTS[method] * max(1, rows)))
    more = {"losses": ("sigmoid", "sft"), "weights": (1.0, _SAYING)} if method == "dpo" else {}
    return Stage(method=method, batch=batch, epochs=float(f"{max(epochs, 1e-3):.3g}"), **more)


#: Rows up to which a batch has so many: few rows need steps, many rows calm ones.
_BATCHES = ((400, 8), (4000, 16), (10**9, 32))
_STEPS, _EPOCHS, _EVALUATIONS = 40, 3.0, 4
#: What a row takes beside one of SFT: a pair has two sides, and its reference is computed beforehand.
_COSTS: dict[Method, float] = {"sft": 1.0, "dpo": 2.5, "kto": 2.0}
#: Evaluating a row only runs forwards, a third of the work; of a given time no more than so much is spent on it.
_FORWARDS, _CHECKING = 1 / 3, 0.2
#: Weight of going on saying what was chosen, beside preferring it.
_SAYING = 0.5
