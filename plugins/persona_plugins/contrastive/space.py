"""The space in which differences between answers are compared: each feature's centre and scale.

A feature j that differs in a share q_j of the choices, by s_j (root mean square) where it does, is scaled by
1 / (s_j · q_j^¼): one unit is a typical difference, and rare features count a little more when they do differ.
Quantities are compared on a log scale where all are positive; an answer that does not mention one has the average.
Then each group of features is scaled as a whole, so that the mean squared length of a difference is 1 and each group
has its fixed share of it: a hundred words do not drown one price, and the same prior variances mean the same for train
tickets and for stories.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import copysign, log, sqrt
from statistics import median
from typing import TypeAlias

import numpy as np

from persona_plugins.contrastive.features import STYLE
from persona_sdk.laplace import Array

__all__ = ["SHARES", "Features", "Measure", "Pair", "Space", "is_numeric", "matrix"]

Features: TypeAlias = Mapping[str, float]
#: The features of the chosen answer and of the rejected one.
Pair: TypeAlias = tuple[Features, Features]

#: How the squared length of a difference is shared between the groups of features that occur. "content" lets words
#: speak, "style" leans on what repeats from answer to answer whatever they are about; a population is fitted with the
#: better of these two. "balanced" stands between them and is used where there is no population to tell.
SHARES: Mapping[str, Mapping[str, float]] = {
    "content": {"w": 1.0, "p": 0.5, "q": 1.0, "r": 0.25, "s": 1.0, "e": 1.0},
    "balanced": {"w": 0.4, "p": 0.2, "q": 1.0, "r": 0.25, "s": 2.0, "e": 1.0},
    "style": {"w": 0.3, "p": 0.2, "q": 1.0, "r": 0.25, "s": 2.0, "e": 1.0},
}
_RARITY_OF_ONE = 3.0  # (1/q)^¼ of a feature in about one choice of eighty, where nothing tells better


@dataclass(frozen=True, slots=True)
class Measure:
    """How one feature is read: (transformed value − centre) · scale."""

    centre: float
    scale: float
    is_log: bool = False

    def read(self, value: float, *, numeric: bool) -> float:
        """Return the scaled value."""
        return ((self.transform(value, numeric=True) if numeric else value) - self.centre) * self.scale

    def transform(self, value: float, *, numeric: bool) -> float:
        """Bring a quantity onto the scale it is compared on; other features stay as they are."""
        if not numeric:
            return value
        if self.is_log and value > 0:
            return log(value)
        return copysign(sqrt(abs(value)), value)


def is_numeric(name: str) -> bool:
    """Whether a feature is a quantity, which an answer may leave unmentioned."""
    return name[0] in "qr"


@dataclass(frozen=True, slots=True)
class Space:
    """The measures of all known features. `rarity` is the median (1/q)^¼ by group, for features met later."""

    measures: Mapping[str, Measure]
    group_scale: Mapping[str, float]
    rarity: Mapping[str, float]

    @classmethod
    def fit(cls, pairs: Sequence[Pair], known: Iterable[str], shares: str = "balanced") -> Space:
        """Measure the features `known` on choices; `shares` names an entry of `SHARES`."""
        rarity: dict[str, list[float]] = {}
        measures: dict[str, Measure] = {}
        for name, (measure, rare) in _measure(pairs, set(known)).items():
            if not measure.scale:
                continue  # nobody's choice has turned on it yet; whoever's does will bring it along
            measures[name] = measure
            rarity.setdefault(name[0], []).append(rare)
        space = cls(measures, {}, {group: median(values) for group, values in rarity.items()})
        return space._with_shares(pairs, SHARES[shares])

    def _with_shares(self, pairs: Sequence[Pair], shares: Mapping[str, float]) -> Space:
        """Scale each group to its share of the mean squared length of these choices' differences."""
        squares: dict[str, float] = {}
        for pair in pairs:
            for name, z in self.difference(pair).items():
                squares[name[0]] = squares.get(name[0], 0.0) + z * z / len(pairs)
        total = sum(shares[group] for group in squares) or 1.0
        squares["s"] = max(squares.get("s", 0.0), 1.0)  # answers alike in style do not get its whole share
        scale = {group: sqrt(shares[group] / total / square) for group, square in squares.items()}
        measures = {n: replace(m, scale=m.scale * scale.get(n[0], 0.0)) for n, m in self.measures.items()}
        return Space(measures, scale, self.rarity)

    def extended(self, pairs: Sequence[Pair]) -> Space:
        """Add the features that only these choices have, one person's own words and quantities."""
        unmeasured = set().union(*(features for pair in pairs for features in pair)) - self.measures.keys()
        unknown = {name for name in unmeasured if any(a.get(name) != b.get(name) for a, b in pairs)}
        if not unknown:
            return self
        if not self.measures:  # no population: one unit is a typical difference of their own
            return Space.fit(pairs, unknown)
        added: dict[str, Measure] = {}
        for name, (measure, rare) in _measure(pairs, unknown).items():
            usual = self.rarity.get(name[0], _RARITY_OF_ONE)
            scale = measure.scale / rare * usual * self.group_scale.get(name[0], 0.0)
            added[name] = replace(measure, scale=scale)
        return Space({**self.measures, **added}, self.group_scale, self.rarity)

    def difference(self, pair: Pair) -> dict[str, float]:
        """Return chosen − rejected, scaled, of the features that differ."""
        out: dict[str, float] = {}
        chosen, rejected = pair
        measures = self.measures
        for features, opposite, sign in ((chosen, rejected, 1.0), (rejected, chosen, -1.0)):
            for name, value in features.items():
                other = opposite.get(name)
                if other == value or (other is not None and sign < 0):
                    continue  # the same in both, or already compared from the other side
                measure = measures.get(name)
                if measure is None:
                    continue
                if name[0] in "qr":
                    z = measure.read(value, numeric=True)
                    z -= 0.0 if other is None else measure.read(other, numeric=True)
                else:  # the centre is 0, and so is what is not there
                    z = (value - (other or 0.0)) * measure.scale
                z *= sign
                if z > 1e-12 or z < -1e-12:
                    out[name] = z
        return out


def matrix(rows: Sequence[Mapping[str, float]]) -> tuple[list[str], Array]:
    """Stack sparse rows into names (d) and a dense matrix (n × d)."""
    index: dict[str, int] = {}
    for row in rows:
        for name in row:
            index.setdefault(name, len(index))
    dense = np.zeros((len(rows), len(index)))
    for i, row in enumerate(rows):
        for name, value in row.items():
            dense[i, index[name]] = value
    return list(index), dense


def _measure(pairs: Sequence[Pair], names: set[str]) -> dict[str, tuple[Measure, float]]:
    """Measure features on choices: centre, scale before normalisation, and (1/q)^¼."""
    centres = _centres(pairs, names)
    squares: dict[str, float] = {}
    differing: dict[str, int] = {}
    for pair in pairs:
        difference: dict[str, float] = {}
        for features, sign in zip(pair, (1.0, -1.0), strict=True):
            for name in features.keys() & names:
                centre, is_log = centres[name]
                value = Measure(centre, 1.0, is_log).read(features[name], numeric=is_numeric(name))
                difference[name] = difference.get(name, 0.0) + sign * value
        for name, d in difference.items():
            if abs(d) > 1e-9:
                squares[name] = squares.get(name, 0.0) + d * d
                differing[name] = differing.get(name, 0) + 1
    measured: dict[str, tuple[Measure, float]] = {}
    for name, (centre, is_log) in centres.items():
        count = differing.get(name, 0)
        spread = sqrt(squares[name] / count) if count else 0.0
        if name[0] == "s":  # differences too small to notice must not be blown up to a unit
            spread = max(spread, STYLE.get(name[2:], 0.0))
        rare = (len(pairs) / max(count, 1)) ** 0.25
        measured[name] = (Measure(centre, rare / spread if spread else 0.0, is_log), rare)
    return measured


def _centres(pairs: Sequence[Pair], names: set[str]) -> dict[str, tuple[float, bool]]:
    """Return each feature's centre (0 for all but quantities) and whether it is read on a log scale."""
    values: dict[str, list[float]] = {}
    centres: dict[str, tuple[float, bool]] = {}
    for pair in pairs:
        for features in pair:
            for name in features.keys() & names:
                if is_numeric(name):
                    values.setdefault(name, []).append(features[name])
                else:
                    centres[name] = (0.0, False)
    for name, seen in values.items():
        is_log = min(seen) > 0
        measure = Measure(0.0, 1.0, is_log)
        centres[name] = (sum(measure.transform(v, numeric=True) for v in seen) / len(seen), is_log)
    return centres
