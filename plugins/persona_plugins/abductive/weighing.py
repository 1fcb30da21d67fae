"""Hypotheses are tested, not believed: each sentence is a feature that has to earn its weight.

A sentence h makes z_ih of choice i: how much better the chosen answer suits someone of whom h is true than the rejected
one does, in units of what is typical of h. With an offset o_i, what is known of the choice without these sentences,

    P(chosen over rejected) = σ(o_i + Σ_h w_h z_ih),   w_h ~ N(0, τ²),

which is the preference model of `persona_sdk.laplace`. A choice that a sentence was proposed from says nothing about
that sentence (its z is 0): a story made up to fit a choice fits it.

All sentences predict together, each with its weight; many of them are a little true, and averaging over them predicts
better than betting on the best (on people's real choices, by cross-validation). To be *said* of a person a sentence has
to do more: of all sentences that set is kept which on its own predicts left-out choices best, found by adding one at a
time as long as that gains (SynthesizeMe's loop, arXiv 2506.05598, with a likelihood in place of its accuracy). One that
says again what another says gains nothing once that is in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from persona_sdk.hierarchy import FOLDS, Index
from persona_sdk.laplace import Array, Mode, find_mode, leave_out, moments, predictive

__all__ = ["LEAST_GAIN", "MOST_KEPT", "Trial", "Weights"]

#: Nats by which a sentence must improve the left-out choices together to be kept, and log H more of H sentences tried:
#: the best of many improves something by chance, as much as it takes to say which one it is.
LEAST_GAIN = 1.0
#: Most sentences that are kept.
MOST_KEPT = 5
#: Variance of a weight where no population says better.
VARIANCE = 0.3


@dataclass(frozen=True, slots=True)
class Weights:
    """Posterior means and standard deviations of the weights of some sentences (columns of `z`)."""

    columns: tuple[int, ...]
    mean: Array
    spread: Array


@dataclass(frozen=True)
class Trial:
    """One person's n choices and H sentences: `z` (n × H), offsets and certainties (n), prompt groups (n).

    `prior` (H) are the weights that everybody's sentences have, already in the offsets: what is weighed is how this
    person differs. `paired` (H) tells which sentences have a contrary, which a weight below 0 stands for.
    """

    z: Array
    offset: Array
    certainty: Array
    groups: Sequence[int]
    prior: Array
    paired: npt.NDArray[np.bool_]
    variance: float = VARIANCE

    def rows(self, which: Index) -> Trial:
        """The trial of some of the choices."""
        groups = [self.groups[i] for i in which]
        z, offset, certainty = self.z[which], self.offset[which], self.certainty[which]
        return Trial(z, offset, certainty, groups, self.prior, self.paired, self.variance)

    def keep(self) -> Weights:
        """Return the sentences that can be said of this person: the set that predicts left-out choices best."""
        kept: list[int] = []
        best = self._left_out_score(kept)
        left = [h for h in range(self.z.shape[1]) if np.any(self.z[:, h])]
        gain = LEAST_GAIN + np.log(max(1, len(left)))
        while left and len(kept) < MOST_KEPT:
            tried = {h: self._left_out_score([*kept, h]) for h in left}
            found = max(tried, key=lambda h: tried[h])
            if tried[found] < best + gain:
                break
            total = self.prior[[*kept, found]] + self.weigh([*kept, found]).mean
            if np.all((total > 0) | self.paired[[*kept, found]]):  # without a contrary, below 0 means nothing
                kept.append(found)
                best = tried[found]
            left.remove(found)
        return self.weigh(kept)

    def weigh(self, columns: Sequence[int] | None = None) -> Weights:
        """Weigh some sentences together, all of them by default, on all choices."""
        columns = range(self.z.shape[1]) if columns is None else columns
        z, unit = self.z[:, list(columns)], np.eye(len(columns))
        own = self.variance * np.ones(len(columns))
        mean, variance = moments(self._mode(z), np.zeros(len(columns)), self.variance * (unit @ z.T), own)
        return Weights(tuple(columns), mean, np.sqrt(variance))

    def held_out(self) -> Array:
        """Return the probability of every choice by weights that have not seen it, nor another of its prompt."""
        return self._left_out(range(self.z.shape[1]))

    def without(self) -> Array:
        """Return the probability of every choice by what is known of everybody, with weights still uncertain."""
        own = self.variance * np.einsum("nh,nh->n", self.z, self.z)
        return predictive(self.offset, own)

    def predict(self, z: Array, offset: Array) -> Array:
        """Return the probability of t other choices (t × H and t)."""
        own = self.variance * np.einsum("th,th->t", z, z)
        return predictive(*moments(self._mode(self.z), offset, self.variance * (z @ self.z.T), own))

    def _mode(self, z: Array) -> Mode:
        return find_mode(self.variance * (z @ z.T), self.offset, self.certainty)

    def _left_out(self, columns: Sequence[int]) -> Array:
        units = self.groups if len(set(self.groups)) >= FOLDS else range(len(self.offset))
        return predictive(*leave_out(self._mode(self.z[:, list(columns)]), units))

    def _left_out_score(self, columns: Sequence[int]) -> float:
        return float(self.certainty @ np.log(np.clip(self._left_out(columns), 1e-12, 1.0)))
