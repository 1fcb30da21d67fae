"""What many people have in common, and how much each differs: the top level of a hierarchical preference model.

Level 2: the population's weights are m ~ N(0, σ² I) in a scaled feature space.
Level 1: a person's weights are w_u ~ N(m, τ² I).
Choices: P(a over b) = sigmoid(w_u · δ).

Together, two choices i and j have prior covariance σ² δ_i·δ_j, plus τ² δ_i·δ_j if the same person made them. So the
population is fitted by one Laplace approximation over all choices (`laplace.find_mode`) with that kernel: m is not
shrunk towards what a few talkative people like, because their own part is modelled too.

σ², τ² and a temperature are chosen by cross-validation inside each person's choices, on the log probability of what
was chosen. A personal part is only kept (τ² > 0) when held-out choices are predicted better with it than without it,
and better than with another person's: where people do not differ, or nothing shows how, everyone gets the population's
answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from persona_sdk.laplace import Array, Mode, find_mode, log_sigmoid, moments, predictive

__all__ = ["FOLDS", "Hierarchy", "Index", "folds_of", "same_for_all"]

Index: TypeAlias = npt.NDArray[np.intp]

SHARED_GRID = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
PERSONAL_GRID = (0.3, 1.0, 3.0, 6.0, 12.0)
TEMPERATURES = (0.7, 0.85, 1.0, 1.4, 2.0)
FOLDS = 5


@dataclass(frozen=True)
class Hierarchy:
    """All n choices of all people, and the two kernels between them (n × n).

    `shared_gram` is of the features the population knows, `own_gram` of everything, 0 between different people. `user`
    numbers who made each choice, `fold` and `new_fold` are the folds of cross-validation (`folds_of`, `same_for_all`).
    """

    shared_gram: Array
    own_gram: Array
    user: Array
    fold: Array
    new_fold: Array

    def fit(self, rows: Index, shared: float, personal: float) -> Mode:
        """Fit the joint posterior of the latent utilities of `rows`."""
        return find_mode(self._kernel(rows, rows, shared, personal), np.zeros(len(rows)), tolerance=1e-3)

    def _kernel(self, a: Index, b: Index, shared: float, personal: float) -> Array:
        kernel: Array = shared * self.shared_gram[np.ix_(a, b)] + personal * self.own_gram[np.ix_(a, b)]
        return kernel

    def held_out(self, shared: float, personal: float) -> tuple[Array, Array]:
        """Probabilities of every choice by models that had not seen its fold, and the same with another's persona."""
        mine, others = np.full(len(self.fold), 0.5), np.full(len(self.fold), 0.5)
        for fold in np.unique(self.fold):
            train, test = np.flatnonzero(self.fold != fold), np.flatnonzero(self.fold == fold)
            if not len(train):
                continue
            mode = self.fit(train, shared, personal)
            own = np.diag(self._kernel(test, test, shared, personal))
            cross = self._kernel(test, train, shared, personal)
            mean, variance = moments(mode, np.zeros(len(test)), cross, own)
            mine[test] = predictive(mean, variance)
            without = shared * self.shared_gram[np.ix_(test, train)]
            others[test] = predictive(self._with_other(test, train, mode, without, personal), variance)
        return mine, others

    def _with_other(self, test: Index, train: Index, mode: Mode, without: Array, personal: float) -> Array:
        """Means under the next person's weights, which are known through shared features only."""
        mean = without @ mode.alpha
        people = np.unique(self.user)
        following = dict(zip(people, np.roll(people, -1), strict=True))
        whose = np.array([following[u] for u in self.user[test]])
        theirs = whose[:, None] == self.user[train][None, :]
        borrowed: Array = mean + personal * (self.shared_gram[np.ix_(test, train)] * theirs) @ mode.alpha
        return borrowed

    def log_score(self, shared: float, personal: float) -> float:
        """Mean log probability of held-out choices."""
        return float(np.log(self.held_out(shared, personal)[0]).mean())

    def select(self) -> tuple[float, float, float]:
        """Choose σ², τ² and the temperature by cross-validated log probability."""
        without = {s: np.log(self.held_out(s, 0.0)[0]) for s in SHARED_GRID}
        shared = max(without, key=lambda s: float(without[s].mean()))
        personal, best = 0.0, without[shared]
        for candidate in PERSONAL_GRID:
            mine, others = map(np.log, self.held_out(shared, candidate))
            if mine.mean() > max(best.mean(), others.mean()):
                personal, best = candidate, mine
        return shared, personal, _temperature(np.log(self.as_used(shared, personal)))

    def as_used(self, shared: float, personal: float) -> Array:
        """Probabilities of held-out choices by the model as it is used: m a point, one belief per person around it.

        How far to trust it is judged on prompts that nobody had answered: other people's choices give theirs away.
        """
        found = np.full(len(self.user), 0.5)
        kernel = personal * self.own_gram
        for fold in np.unique(self.new_fold):
            train = np.flatnonzero(self.new_fold != fold)
            if not len(train):
                continue
            offset = shared * (self.shared_gram[:, train] @ self.fit(train, shared, personal).alpha)
            for user in np.unique(self.user[self.new_fold == fold]):
                own = np.flatnonzero((self.user == user) & (self.new_fold != fold))
                test = np.flatnonzero((self.user == user) & (self.new_fold == fold))
                mode = find_mode(kernel[np.ix_(own, own)], offset[own])
                spread = np.diag(kernel)[test]
                found[test] = predictive(*moments(mode, offset[test], kernel[np.ix_(test, own)], spread))
        bounded: Array = np.clip(found, 1e-12, 1.0)
        return bounded


def folds_of(groups: Sequence[int], rng: np.random.Generator) -> Array:
    """Spread choices over folds; choices of one prompt stay together where a person answered several prompts."""
    units = np.array(groups) if len(set(groups)) >= FOLDS else np.arange(len(groups))
    order = rng.permutation(np.unique(units))
    place = {unit: i % FOLDS for i, unit in enumerate(order)}
    return np.array([place[unit] for unit in units], float)


def same_for_all(groups: Sequence[int], folds: Array) -> Array:
    """Put choices of one prompt into the same fold for everyone, where a person answered several prompts."""
    return np.array([g % FOLDS for g in groups], float) if len(set(groups)) >= FOLDS else folds


def _temperature(log_probabilities: Array) -> float:
    """Choose the temperature that log odds are divided by."""
    logit = log_probabilities - np.log1p(-np.exp(np.minimum(log_probabilities, -1e-12)))
    return max(TEMPERATURES, key=lambda t: float(log_sigmoid(logit / t).mean()))
