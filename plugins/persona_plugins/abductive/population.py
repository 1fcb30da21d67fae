"""What the sentences that are tried for everyone say about a tenant's people as a whole."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from persona_plugins.abductive.hypotheses import Hypothesis
from persona_plugins.abductive.weighing import VARIANCE, Trial
from persona_sdk.hierarchy import Hierarchy, folds_of, same_for_all
from persona_sdk.inference import History, Population
from persona_sdk.laplace import Array
from persona_sdk.signals import Choice, choices_of

__all__ = [
    "MAX_CHOICES", "MINIMUM_PAIRS", "MINIMUM_PEOPLE", "Common", "Differences", "Drawn", "clipped", "fingerprint",
    "fit_beside", "fit_common",
]  # fmt: skip

MINIMUM_PEOPLE = 5
MINIMUM_PAIRS = 100
#: Most people and choices a population is fitted on.
MAX_PEOPLE = 600
MAX_CHOICES = 1200
#: A sentence whose scores hardly differ anywhere must not be blown up: no scale is below this share of the median.
_LEAST_SCALE = 0.3
#: Differences beyond this many typical ones count as this many.
_MOST = 3.0
#: Variances tried where another inferrer predicts already.
_BESIDE_GRID = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True, slots=True)
class Differences:
    """One person's choices: how much better each sentence suits what was chosen (n × H), and the prompts' groups.

    `offset` (n) is the log-odds that another inferrer gives to each choice without having seen it, 0 for none.
    """

    user_id: str
    values: Array
    groups: Sequence[int]
    offset: Array


class Drawn:
    """Counts people with choices as they pass by, and draws a few of them at random: only those are held."""

    def __init__(self, histories: Iterable[History]) -> None:
        self.people = self.choices = 0
        self._histories = histories
        self._held: list[tuple[History, list[Choice]]] = []

    def __iter__(self) -> Iterator[History]:
        rng = random.Random(0)  # noqa: S311 - the same people for the same histories
        for history in self._histories:
            choices = choices_of(history.signals)
            if choices:
                self.people, self.choices = self.people + 1, self.choices + len(choices)
                place = len(self._held) if len(self._held) < MAX_PEOPLE else rng.randrange(self.people)
                if place < MAX_PEOPLE:
                    self._held[place : place + 1] = [(history, choices)]
            yield history
        rng.shuffle(self._held)

    def read(self) -> None:
        """Let everyone pass by."""
        for _ in self:
            pass

    def some(self, room: int) -> list[tuple[History, list[Choice]]]:
        """Return people with no more choices together than there is room for."""
        taken = []
        for history, choices in self._held:
            if room <= 0:
                break
            taken.append((history, choices[:room]))
            room -= len(choices)
        return taken


@dataclass(frozen=True, slots=True)
class Common:
    """The typical difference of each sentence, everybody's weights, and how much people differ around them."""

    scale: Mapping[str, float] = field(default_factory=dict)
    mean: Mapping[str, float] = field(default_factory=dict)
    variance: float = VARIANCE

    @classmethod
    def of(cls, population: Population | None, scorer: str) -> Common:
        """Read a population; one that another scorer was used for says nothing here."""
        if population is None or population.data.get("scorer") != scorer:
            return cls()
        data = population.data
        return cls(data["scale"], data["mean"], data["variance"])

    def to_data(self, scorer: str) -> dict[str, Any]:
        """Return this JSON-ready."""
        return {"scorer": scorer, "scale": dict(self.scale), "mean": dict(self.mean), "variance": self.variance}

    def scales(self, values: Array, statements: Sequence[str]) -> Array:
        """Return the typical difference of each sentence: the population's, else what these choices show."""
        own = typical(values)
        known = np.array([self.scale.get(s, 0.0) for s in statements])
        found = np.where(known > 0, known, own)
        floor = _LEAST_SCALE * float(np.median(found[found > 0])) if np.any(found > 0) else 1.0
        return np.maximum(found, max(floor, 1e-9))

    def means(self, statements: Sequence[str]) -> Array:
        """Return everybody's weights of these sentences."""
        return np.array([self.mean.get(s, 0.0) for s in statements])


def typical(values: Array) -> Array:
    """Return the root mean square of each column's differences, of those there are."""
    there = values != 0
    count = np.maximum(there.sum(axis=0), 1)
    found: Array = np.sqrt((values**2).sum(axis=0) / count)
    return found


def fit_common(people: Sequence[Differences], tried: Sequence[Hypothesis]) -> Common:
    """Fit everybody's weights, and the variance around them, by cross-validation."""
    common, rows = _scaled(people, tried)
    z = np.concatenate(rows)
    user = np.concatenate([np.full(len(r), i) for i, r in enumerate(rows)])
    rng = np.random.default_rng(0)
    folds = [folds_of(p.groups, rng) for p in people]
    new = [same_for_all(p.groups, f) for p, f in zip(people, folds, strict=True)]
    gram = z @ z.T
    own = gram * (user[:, None] == user[None, :])
    with threadpool_limits(limits=1, user_api="blas"):
        hierarchy = Hierarchy(gram, own, user, np.concatenate(folds), np.concatenate(new))
        shared, personal, _ = hierarchy.select()
        mode = hierarchy.fit(np.arange(len(z)), shared, personal)
    mean = map(_short, shared * (z.T @ mode.alpha))
    return replace(common, mean=dict(zip(common.scale, mean, strict=True)), variance=personal)


def fit_beside(people: Sequence[Differences], tried: Sequence[Hypothesis]) -> Common:
    """Fit how far people's weights vary where another inferrer predicts already; what they share is in its hands.

    The variance is the one with which left-out choices are predicted best, 0 where the sentences add nothing.
    """
    common, rows = _scaled(people, tried)
    paired = np.array([h.contrary is not None for h in tried], bool)

    def score(variance: float) -> float:
        prior = np.zeros(len(tried))
        trials = (
            Trial(z, p.offset, np.ones(len(z)), p.groups, prior, paired, variance)
            for z, p in zip(rows, people, strict=True)
        )
        return sum(float(np.log(np.clip(t.held_out(), 1e-12, 1.0)).sum()) for t in trials)

    return replace(common, variance=max(_BESIDE_GRID, key=score))


def _scaled(people: Sequence[Differences], tried: Sequence[Hypothesis]) -> tuple[Common, list[Array]]:
    statements = [h.statement for h in tried]
    values = np.concatenate([p.values for p in people])
    common = Common(dict(zip(statements, map(_short, typical(values)), strict=True)))
    return common, [clipped(p.values, common.scales(values, statements)) for p in people]


def clipped(values: Array, scales: Array | float) -> Array:
    """Return differences in units of what is typical of each sentence, none beyond a few of them."""
    found: Array = np.clip(values / scales, -_MOST, _MOST)
    return found


def fingerprint(data: Mapping[str, Any]) -> str:
    """Return a short name for exactly these data."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _short(value: float) -> float:
    return float(f"{value:.6g}")
