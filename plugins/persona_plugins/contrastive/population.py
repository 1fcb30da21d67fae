"""What a tenant's people have in common, in the features of their answers (see `persona_sdk.hierarchy`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from persona_plugins.contrastive.space import Measure, Pair, Space, matrix
from persona_sdk.hierarchy import Hierarchy, folds_of, same_for_all
from persona_sdk.laplace import Array

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

#: A word, phrase or unit enters the population only if this many people's choices contain it: it is nobody's own.
MINIMUM_USERS = 3
#: Most features the population keeps, the most widely shared first.
MAX_FEATURES = 4000
#: Most choices the population is fitted on; beyond it, whole people are drawn at random.
MAX_CHOICES = 1200
MAX_PEOPLE = 600

#: The entries of `space.SHARES` that are tried.
PROFILES = ("content", "style")
#: The (σ², τ²) at which profiles of shares are compared.
TYPICAL = (3.0, 3.0)
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
        compared = []
        for shares in PROFILES:
            space = Space.fit(pairs, known, shares)
            compared.append((space, *_compare(people, space, np.random.default_rng(seed))))
        space, names, differences, hierarchy = max(compared, key=lambda c: c[-1].log_score(*TYPICAL))
        shared, personal, temperature = hierarchy.select()
        mode = hierarchy.fit(np.arange(len(pairs)), shared, personal)
    weights = shared * (differences.T @ mode.alpha)
    mean = dict(zip(names, map(float, weights), strict=True))
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


def _compare(people: Sequence[UserPairs], space: Space, rng: np.random.Generator) -> tuple[list[str], Array, Hierarchy]:
    """Return the names and the differences of the features the population knows, and the hierarchy over all choices."""
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
        user[block], fold[block] = u, folds_of(person.groups, rng)
        new_fold[block] = same_for_all(person.groups, fold[block])
        start = block.stop
    return names, differences, Hierarchy(differences @ differences.T, own, user, fold, new_fold)
