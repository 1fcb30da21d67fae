"""What a tenant's people have in common: the top level of the hierarchical model.

Level 2: the population's weights are m ~ N(0, σ² I) in the scaled feature space.
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

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from persona_plugins.contrastive.space import Measure, Pair, Space, matrix
from persona_sdk.laplace import Array, Mode, find_mode, log_sigmoid, moments, predictive

__all__ = [
    "MAX_CHOICES",
    "MAX_PEOPLE",
    "MINIMUM_PAIRS",
    "MINIMUM_PEOPLE",
    "MINIMUM_USERS",
    "Prior",
    "UserPairs",
    "fit_prior",
]

Index: TypeAlias = npt.NDArray[np.intp]

#: A word, phrase or unit enters the population only if this many people's choices contain it: it is nobody's own.
MINIMUM_USERS = 3
#: Most features the population keeps, the most widely shared first.
MAX_FEATURES = 4000
#: Most choices the population is fitted on; beyond it, whole people are drawn at random.
MAX_CHOICES = 1200
MAX_PEOPLE = 600

SHARED_GRID = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
PERSONAL_GRID = (0.3, 1.0, 3.0, 6.0, 12.0)
#: The entries of `space.SHARES` that are tried.
PROFILES = ("content", "style")
#: The (σ², τ²) at which profiles of shares are compared.
TYPICAL = (3.0, 3.0)
TEMPERATURES = (0.7, 0.85, 1.0, 1.4, 2.0)
FOLDS = 5

#: With fewer people or choices there is no population: it would be the average of a few, each of them recognisable in
#: it, and their own held-out choices would no longer be held out.
MINIMUM_PEOPLE = 5
MINIMUM_PAIRS = 100
#: Variance of a person's weights where no population has been fitted.
DEFAULT_PERSONAL = 4.0


@dataclass(frozen=True, slots=True)
class UserPairs:
    """One person's choices as features, with the group (prompt) each belongs to: equal prompts, equal numbers."""

    user_id: str
    pairs: Sequence[Pair]
    groups: Sequence[int]


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of a person before any of their choices is seen."""

    space: Space
    mean: Mapping[str, float]
    personal: float = DEFAULT_PERSONAL
    shared: float = 0.0
    temperature: float = 1.0

    @classmethod
    def default(cls) -> Prior:
        """The prior of a tenant without a population: nothing is preferred, everything may matter."""
        return cls(Space({}, {}, {}), {})

    def to_data(self) -> dict[str, Any]:
        """Return this prior JSON-ready."""
        return {
            "format": 1,
            "features": {
                n: [_short(m.centre), _short(m.scale), int(m.is_log), _short(self.mean.get(n, 0.0))]
                for n, m in self.space.measures.items()
            },
            "group_scale": dict(self.space.group_scale),
            "rarity": dict(self.space.rarity),
            "personal": self.personal,
            "shared": self.shared,
            "temperature": self.temperature,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Prior:
        """Read what `to_data` wrote."""
        measures = {n: Measure(c, s, bool(is_log)) for n, (c, s, is_log, _) in data["features"].items()}
        mean = {n: w for n, (_, _, _, w) in data["features"].items() if w}
        space = Space(measures, data["group_scale"], data["rarity"])
        return cls(space, mean, data["personal"], data["shared"], data["temperature"])

    @property
    def fingerprint(self) -> str:
        """A short name for exactly this prior."""
        return hashlib.sha256(json.dumps(self.to_data(), sort_keys=True).encode()).hexdigest()[:16]


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def vocabulary(people: Sequence[UserPairs], minimum_users: int = MINIMUM_USERS) -> list[str]:
    """Return the features that enough people's choices contain; style and embeddings are nobody's own words."""
    holders: dict[str, int] = {}
    for person in people:
        for name in {name for pair in person.pairs for features in pair for name in features}:
            holders[name] = holders.get(name, 0) + 1
    shared = [n for n, count in holders.items() if count >= minimum_users or n[0] in "se"]
    return sorted(shared, key=lambda n: (n[0] not in "se", -holders[n], n))[:MAX_FEATURES]


def fit_prior(people: Sequence[UserPairs], seed: int = 0) -> Prior:
    """Fit the population on people's choices; there should be `MINIMUM_PEOPLE` and `MINIMUM_PAIRS` or more."""
    rng = np.random.default_rng(seed)
    people = _drawn(people, rng)
    pairs = [pair for person in people for pair in person.pairs]
    known = vocabulary(people)
    with threadpool_limits(limits=1, user_api="blas"):  # matrices this small are slower on several threads
        problems = []
        for shares in PROFILES:
            space = Space.fit(pairs, known, shares)
            problems.append((space, _Problem.build(people, space, np.random.default_rng(seed))))
        space, problem = max(problems, key=lambda p: p[1].log_score(*TYPICAL))
        shared, personal, temperature = problem.select()
        mode = problem.fit(np.arange(len(pairs)), shared, personal)
    weights = shared * (problem.differences.T @ mode.alpha)
    mean = dict(zip(problem.names, map(float, weights), strict=True))
    return Prior(space, mean, personal, shared, temperature)


def _drawn(people: Sequence[UserPairs], rng: np.random.Generator) -> list[UserPairs]:
    """Draw whole people at random until there are enough choices."""
    chosen: list[UserPairs] = []
    total = 0
    for i in rng.permutation(len(people)):
        if total >= MAX_CHOICES:
            break
        room = MAX_CHOICES - total
        person = people[i]
        chosen.append(UserPairs(person.user_id, person.pairs[:room], person.groups[:room]))
        total += min(len(person.pairs), room)
    return chosen


@dataclass(frozen=True)
class _Problem:
    """All choices of all people, and the two kernels between them (n × n): shared features, and own ones."""

    names: list[str]
    differences: Array
    shared_gram: Array
    own_gram: Array
    user: Array
    fold: Array
    new_fold: Array

    @classmethod
    def build(cls, people: Sequence[UserPairs], space: Space, rng: np.random.Generator) -> _Problem:
        """Compute kernels and folds."""
        names, differences = matrix([space.difference(pair) for person in people for pair in person.pairs])
        n = len(differences)
        own = np.zeros((n, n))
        user, fold, new_fold = np.zeros(n), np.zeros(n), np.zeros(n)
        start = 0
        for u, person in enumerate(people):
            block = slice(start, start + len(person.pairs))
            theirs = space.extended(person.pairs)
            _, rows = matrix([theirs.difference(pair) for pair in person.pairs])
            own[block, block] = rows @ rows.T
            user[block], fold[block] = u, _folds(person.groups, rng)
            new_fold[block] = _same_for_all(person.groups, fold[block])
            start = block.stop
        return cls(names, differences, differences @ differences.T, own, user, fold, new_fold)

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


def _folds(groups: Sequence[int], rng: np.random.Generator) -> Array:
    """Spread choices over folds; choices of one prompt stay together where a person answered several prompts."""
    units = np.array(groups) if len(set(groups)) >= FOLDS else np.arange(len(groups))
    order = rng.permutation(np.unique(units))
    place = {unit: i % FOLDS for i, unit in enumerate(order)}
    return np.array([place[unit] for unit in units], float)


def _same_for_all(groups: Sequence[int], folds: Array) -> Array:
    """Put choices of one prompt into the same fold for everyone, where a person answered several prompts."""
    return np.array([g % FOLDS for g in groups], float) if len(set(groups)) >= FOLDS else folds


def _temperature(log_probabilities: Array) -> float:
    """Choose the temperature that log odds are divided by."""
    logit = log_probabilities - np.log1p(-np.exp(np.minimum(log_probabilities, -1e-12)))
    return max(TEMPERATURES, key=lambda t: float(log_sigmoid(logit / t).mean()))
