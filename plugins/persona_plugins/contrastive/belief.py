"""What is believed of one person: the posterior over their weights, given their choices and what they said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from persona_plugins.contrastive.population import Prior
from persona_plugins.contrastive.space import Features, Measure, Pair, Space, is_numeric, matrix
from persona_sdk.laplace import (
    Array,
    Mode,
    find_mode,
    leave_out,
    moments,
    predictive,
    sigmoid,
)

__all__ = ["STATE_FEATURES", "Belief", "Evidence", "utilities"]

#: A state keeps this many of a person's weights, the ones that matter most.
STATE_FEATURES = 256
#: What a person says outright about style counts as this many choices between answers that typically differ in it.
WORD_OF_MOUTH = 4.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """Choices as features, their certainties and groups (prompts), and directions the person stated.

    `stated` maps style features to (direction, number of choices made before it was said): those choices no longer
    speak about that feature, because the person has told us better. `excluded` features the person does not want to be
    known by: no choice speaks about them.
    """

    pairs: Sequence[Pair]
    certainty: Sequence[float]
    groups: Sequence[int]
    stated: Mapping[str, tuple[int, int]]
    excluded: frozenset[str] = frozenset()

    def first(self, n: int) -> Evidence:
        """The first n choices, and what was said by the time of the next one."""
        stated = {name: said for name, said in self.stated.items() if said[1] <= n}
        return Evidence(self.pairs[:n], self.certainty[:n], self.groups[:n], stated, self.excluded)


class Belief:
    """The Laplace posterior of one person's weights. Rows are their choices, then one per stated direction."""

    def __init__(self, prior: Prior, evidence: Evidence) -> None:
        self.prior = prior
        self.evidence = evidence
        self.space = prior.space.extended(evidence.pairs)
        self.choices = len(evidence.pairs)
        said = [{name: float(direction)} for name, (direction, _) in evidence.stated.items()]
        self.names, self.rows = matrix([*self._differences(), *said])
        self.mean = np.array([prior.mean.get(n, 0.0) for n in self.names])
        certainty = np.array([*evidence.certainty, *(WORD_OF_MOUTH for _ in said)])
        self.offset: Array = self.rows @ self.mean
        self.mode: Mode = find_mode(prior.personal * (self.rows @ self.rows.T), self.offset, certainty)

    def _differences(self) -> list[dict[str, float]]:
        """Chosen minus rejected for every choice, without what it no longer speaks about."""
        return [self._difference(i, self.space) for i in range(self.choices)]

    def _difference(self, i: int, space: Space) -> dict[str, float]:
        row = space.difference(self.evidence.pairs[i])
        for name, (_, before) in self.evidence.stated.items():
            if i < before:
                row.pop(name, None)
        for name in self.evidence.excluded:
            row.pop(name, None)
        return row

    def predicted_by(self, earlier: Belief, start: int, stop: int) -> Array:
        """Probabilities that an earlier belief gives to choices start … stop, as far as they still speak."""
        return earlier.predict_differences([self._difference(i, earlier.space) for i in range(start, stop)])

    @cached_property
    def deviation(self) -> Array:
        """How the person's mean weights differ from the population's, by name: τ² Σ_i δ_i α_i."""
        back: Array = self.prior.personal * (self.rows.T @ self.mode.alpha)
        return back

    def effect(self, directions: Array) -> tuple[Array, Array]:
        """Posterior means and variances of utilities along t directions (t × d), in log-odds."""
        personal = self.prior.personal
        cross = personal * (directions @ self.rows.T)
        own = personal * np.einsum("td,td->t", directions, directions)
        return moments(self.mode, directions @ self.mean, cross, own)

    def influence(self, direction: Array) -> Array:
        """How much each row moved the mean utility along one direction: the terms of τ² Σ_i (direction·δ_i) α_i."""
        moved: Array = self.prior.personal * (self.rows @ direction) * self.mode.alpha
        return moved

    def predict(self, pairs: Sequence[Pair]) -> Array:
        """Probabilities that the first answer of each pair is chosen."""
        return self.predict_differences([self.space.difference(pair) for pair in pairs])

    def predict_differences(self, rows: Sequence[Mapping[str, float]]) -> Array:
        """The same, given the scaled differences."""
        index = {n: i for i, n in enumerate(self.names)}
        known = np.zeros((len(rows), len(self.names)))
        mean, own = np.zeros(len(rows)), np.zeros(len(rows))
        for i, row in enumerate(rows):
            for name, z in row.items():
                if name in index:
                    known[i, index[name]] = z
                mean[i] += z * self.prior.mean.get(name, 0.0)
                own[i] += self.prior.personal * z * z
        cross = self.prior.personal * (known @ self.rows.T)
        return self._probability(*moments(self.mode, mean, cross, own))

    def predict_as(self, state: Mapping[str, Any]) -> Array:
        """Probabilities of this person's choices under another person's state, taken at its word: without variance."""
        theirs = np.zeros(len(self.names))
        index = {name: i for i, name in enumerate(self.names)}
        for name, own in state["weights"].items():
            scale = self.space.measures[name].scale if name in index and name in self.space.measures else 0.0
            if scale:  # what a person said can be about something in which no answer of theirs has differed yet
                theirs[index[name]] = own[0] / scale
        return sigmoid((self.offset + self.rows @ theirs)[: self.choices])

    def held_out(self) -> tuple[Array, Array]:
        """Probabilities of the person's choices without a persona (t), and with one that has not seen them (t).

        Choices of one prompt are left out together where there are several prompts. Also used: nothing later than the
        population, whose fit may have seen these choices too; that favours both sides alike.
        """
        own = self.prior.personal * np.einsum("nd,nd->n", self.rows, self.rows)
        without = self._probability(self.offset, own)[: self.choices]
        mean, variance = leave_out(self.mode, self._groups())
        return without, self._probability(mean, variance)[: self.choices]

    def _groups(self) -> Sequence[int]:
        groups = list(self.evidence.groups) if len(set(self.evidence.groups)) >= 5 else list(range(self.choices))
        return [*groups, *range(len(groups), len(groups) + len(self.rows) - self.choices)]

    def _probability(self, mean: Array, variance: Array) -> Array:
        p = predictive(mean, variance)
        if self.prior.temperature == 1.0:
            return p
        p = np.clip(p, 1e-12, 1 - 1e-12)
        sharpened: Array = 1.0 / (1.0 + ((1.0 - p) / p) ** (1.0 / self.prior.temperature))
        return sharpened

    def state(self) -> dict[str, Any]:
        """Return what is needed to score new answers, JSON-ready: this person's weights beyond the population's."""
        order = [i for i in np.argsort(-np.abs(self.deviation)) if self.names[i] in self.space.measures]
        order = order[:STATE_FEATURES]
        measures = [self.space.measures[self.names[i]] for i in order]
        raw = _five_digits(self.deviation[order] * np.array([m.scale for m in measures]))
        weights: dict[str, list[float]] = {}
        for i, measure, weight in zip(order, measures, raw.tolist(), strict=True):
            name = self.names[i]
            weights[name] = [weight, measure.centre, float(measure.is_log)] if is_numeric(name) else [weight]
        return {"weights": weights}


def _five_digits(values: Array) -> Array:
    """Round to five significant digits: more would only make states longer."""
    unit = 10.0 ** (4 - np.floor(np.log10(np.maximum(np.abs(values), 1e-300))))
    rounded: Array = np.round(values * unit) / unit
    return rounded


def utilities(prior: Prior, state: Mapping[str, Any], answers: Sequence[Features]) -> list[float]:
    """Return the utility of each answer, in log-odds, under a person's state."""
    scores, weights = [], state.get("weights", {})
    for features in answers:
        score = 0.0
        for name, value in features.items():
            measure = prior.space.measures.get(name)
            if measure is not None:
                score += prior.mean.get(name, 0.0) * measure.read(value, numeric=is_numeric(name))
            own = weights.get(name)
            if own is not None:
                score += own[0] * _read(value, own)
        scores.append(score)
    return scores


def _read(value: float, own: Sequence[float]) -> float:
    if len(own) == 1:
        return value
    return Measure(own[1], 1.0, bool(own[2])).read(value, numeric=True)
