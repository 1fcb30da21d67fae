"""How people of a tenant borrow, chosen and verified by predicting choices that were left out.

For a person and a fold of their choices, their leaning comes from the rest, and also from only the first few of the
rest, as if they were new here; others lend their whole leanings. The groups of names, the strength and the fade are
those that most surely raise the mean log probability of the left-out choices, beside what the inferrer itself predicts.

Whoever picks the best of many tries is lucky, too. So what borrowing gains is measured on people who had no say in the
choice: they are dealt into parts, and for each part everything is chosen on the others. Borrowing is refused unless
that gain is more than `MARGIN` of its standard errors, over people, and no fewer choices are predicted right.
"""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from persona_plugins.similar_personas.blending import NEIGHBOURS, Borrowing, faded, group_of
from persona_plugins.similar_personas.leanings import Leanings, Matrix, Places, asked_about, leanings_of, ratio
from persona_sdk.hierarchy import folds_of
from persona_sdk.inference import History, Inferrer, Population
from persona_sdk.laplace import Array, log_sigmoid
from persona_sdk.signals import Signal, choices_of

__all__ = ["MARGIN", "MAX_LENDERS", "MAX_TESTED", "MINIMUM_PEOPLE", "PARTS", "fit"]

#: The gain must be more than this many of its standard errors: of ways that do not help, one in twenty would pass.
MARGIN = 1.645
#: People who are tested, and people who lend to them; of more, so many are drawn at random.
MAX_TESTED, MAX_LENDERS = 200, 1000
#: With fewer people to test nothing is tried: there would be no standard error to speak of.
MINIMUM_PEOPLE = 5
#: At most so many of a person's signals are read when they are tested, the latest ones.
MAX_SIGNALS = 24
#: A person is tested with the first so many of their other choices, and with all.
KNOWN = (1, 2, 4, MAX_SIGNALS)
#: By how much log-odds are changed, root mean square: groups of names have different shares, so no strength fits all.
SIZES = (0.05, 0.1, 0.2, 0.4)
#: Own choices at which half is borrowed.
FADES = (2.0, 6.0, 18.0)
#: Parts that the people are dealt into.
PARTS = 5


def fit(
    inferrer: Inferrer, population: Population | None, histories: Sequence[History], *, agree: int = 1, seed: int = 0
) -> Borrowing:
    """Choose how these people borrow from each other, and verify that it helps; strength 0 where it does not.

    A name is lent only where at least `agree` lenders lean the same way.

    The inferrer fits a population for each part of the people, without them, which is what takes time. The same
    histories give the same result.
    """
    if population is None:
        return Borrowing(agree=agree)
    people = _drawn([h for h in histories if h.signals], MAX_LENDERS, seed)
    part = np.random.default_rng(seed).permutation(len(people)) % PARTS
    tested = {h.user_id for h in _drawn(people, MAX_TESTED, seed)}
    blocks = []
    for one in range(PARTS):
        others = inferrer.fit_population(population.tenant, [h for h, k in zip(people, part, strict=True) if k != one])
        if others is None:  # too few people to leave any out
            return Borrowing(agree=agree)
        mine = [h for h, k in zip(people, part, strict=True) if k == one and h.user_id in tested]
        cases, contrasts = _leave_out(inferrer, others, mine, seed)
        blocks.append(_Block(one, cases, contrasts, leanings_of(inferrer, others, people)))
    trial = _Trial(blocks, agree)
    everything = Borrowing(groups=frozenset(trial.groups), agree=agree)
    if trial.people < MINIMUM_PEOPLE or not trial.groups:
        return everything
    gain, error, right = trial.verified()
    found = trial.selected()
    helps = found.strength > 0 and gain > MARGIN * error and right >= 0
    return replace(
        found if helps else everything,
        agree=agree,
        people=trial.people,
        choices=trial.choices,
        gain=float(f"{gain:.4g}"),
        standard_error=float(f"{error:.4g}"),
    )


def _drawn(histories: Sequence[History], most: int, seed: int) -> list[History]:
    """Draw people at random; the order of `histories` does not matter."""
    people = sorted(histories, key=lambda h: h.user_id)
    if len(people) > most:
        people = random.Random(seed).sample(people, most)  # noqa: S311 - a seeded draw
    return sorted(people, key=lambda h: h.user_id)


@dataclass(frozen=True, slots=True)
class _Case:
    """Choices of a person that were left out, and what is made of `known` other choices: a leaning and predictions.

    `asked` are the places of the left-out choices, `base` the probabilities that the inferrer gives them.
    """

    user_id: str
    known: int
    leaning: Mapping[str, float]
    base: Sequence[float]
    asked: range


@dataclass(frozen=True, slots=True)
class _Block:
    """One part of the people: every left-out choice by its contrast, the cases it was left out in, and who lends."""

    part: int
    cases: Sequence[_Case]
    contrasts: Sequence[Mapping[str, float]]
    lent: Leanings


def _leave_out(
    inferrer: Inferrer, population: Population, histories: Sequence[History], seed: int
) -> tuple[list[_Case], list[Mapping[str, float]]]:
    """Leave out each fold of each person's choices; know only the first few of the rest, then all of them."""
    rng = np.random.default_rng(seed)
    cases: list[_Case] = []
    contrasts: list[Mapping[str, float]] = []
    for history in histories:
        signals = list(history.signals)[-MAX_SIGNALS:]
        choices = choices_of(signals)
        folds = folds_of([zlib.crc32(c.prompt.encode("utf-8", "replace")) for c in choices], rng)
        for fold in np.unique(folds):
            asked = [c for c, f in zip(choices, folds, strict=True) if f == fold]
            gone = {c.signal_id for c in asked}
            rest = [s for s in signals if s.id not in gone]
            sizes = sorted({min(k, len(choices_of(rest))) for k in KNOWN} - {0})
            if not sizes:
                continue
            places = range(len(contrasts), len(contrasts) + len(asked))
            contrasts.extend(inferrer.contrast(population, asked))
            for known in sizes:
                request = asked_about(history, population, _first(rest, known))
                leaning, base = inferrer.leaning(request), inferrer.predict(request, asked)
                cases.append(_Case(history.user_id, known, leaning, base, places))
    return cases, contrasts


def _first(signals: Sequence[Signal], known: int) -> Sequence[Signal]:
    """Return the signals up to the `known`-th choice."""
    ends = (end for end in range(len(signals)) if len(choices_of(signals[:end])) >= known)
    return signals[: next(ends, len(signals))]


class _Way(NamedTuple):
    """A way of borrowing, with its strength as the size of what it changes."""

    groups: frozenset[str]
    size: float
    fade: float


class _Trial:
    """Predictions of left-out choices, without borrowing and with each way of it.

    There are p people who are tested, and r predictions: a choice that was left out is predicted in several cases,
    from fewer and from more others.
    """

    def __init__(self, blocks: Sequence[_Block], agree: int) -> None:
        cases = [case for block in blocks for case in block.cases]
        users = {user: p for p, user in enumerate(dict.fromkeys(case.user_id for case in cases))}
        lengths = [len(case.asked) for case in cases]
        self.people = len(users)
        self.choices = sum(len(block.contrasts) for block in blocks)
        self.groups = sorted({group for block in blocks for group in block.lent.groups})
        self._alike = [_Alike(block, agree) for block in blocks]
        self._person: Places = np.repeat(np.array([users[case.user_id] for case in cases], np.intp), lengths)
        self._known = np.repeat([float(case.known) for case in cases], lengths)
        self._base = _logit([p for case in cases for p in case.base])
        #: The part that each person is of, and how many predictions there are of them (p).
        of = {case.user_id: block.part for block in blocks for case in block.cases}
        self._part = np.array(list(of.values()))
        self._count = np.bincount(self._person, minlength=self.people).astype(float)
        self._lent: dict[frozenset[str], Array] = {}
        self._scores: dict[_Way, tuple[Array, Array]] = {}

    def selected(self) -> Borrowing:
        """Return the way of borrowing that `verified` is about, chosen on everybody; strength 0 if none gains."""
        way = self._select(np.ones(self.people, bool))
        return Borrowing(way.groups, float(f"{self._strength(way):.4g}"), way.fade)

    def _select(self, people: npt.NDArray[np.bool_]) -> _Way:
        """Return the way of borrowing whose gain with these people (p) is highest, less its standard error.

        A way that gains more by chance also loses more by chance. Groups are added one by one, the most useful first,
        as long as each addition helps; all are tried, too. No groups if no way gains more than its standard error.
        """
        best, score = _Way(frozenset(), 0.0, 1.0), 0.0
        while len(best.groups) < len(self.groups):
            better, gain = self._best([best.groups | {g} for g in self.groups if g not in best.groups], people)
            if gain <= score:
                break
            best, score = better, gain
        whole, gain = self._best([frozenset(self.groups)], people)
        return whole if gain > score else best

    def _best(self, groups: Sequence[frozenset[str]], people: npt.NDArray[np.bool_]) -> tuple[_Way, float]:
        """Return the best way with any of these groups, and its mean gain less the standard error of that."""
        ways = [_Way(*way) for way in product(groups, SIZES, FADES)]
        gains = []
        for way in ways:
            gain, error = self._mean(self._score(way)[0][people], self._count[people])
            gains.append(gain - error)
        best = int(np.argmax(gains))
        return ways[best], gains[best]

    @staticmethod
    def _mean(gained: Array, count: Array) -> tuple[float, float]:
        """Return the mean over predictions of what was gained by each person, and its standard error over people."""
        total, people = count.sum(), len(count)
        mean = gained.sum() / total
        spread = ((gained - mean * count) ** 2).sum() * people / max(1, people - 1)
        return float(mean), float(np.sqrt(spread) / total)

    def _strength(self, way: _Way) -> float:
        """Return the strength with which log-odds change by `size` (root mean square)."""
        if not way.groups:
            return 0.0
        typical = math.sqrt(float(((faded(way.fade, self._known) * self._sums(way.groups)) ** 2).mean()))
        return way.size / typical if typical else 0.0

    def _score(self, way: _Way) -> tuple[Array, Array]:
        """Return the nats gained and the right predictions gained by each person (p), summed over predictions."""
        if way not in self._scores:
            share = self._strength(way) * faded(way.fade, self._known)
            lifted = self._base + share * self._sums(way.groups)
            nats = log_sigmoid(lifted) - log_sigmoid(self._base)
            right = _right(lifted) - _right(self._base)
            self._scores[way] = (self._by_person(nats), self._by_person(right))
        return self._scores[way]

    def _by_person(self, values: Array) -> Array:
        """Sum what is given by prediction (r) by person (p)."""
        sums: Array = np.bincount(self._person, values, self.people).astype(float)
        return sums

    def _sums(self, groups: frozenset[str]) -> Array:
        """Return what the most similar people's leanings add, weighted by similarity (r); remembered by groups."""
        if groups not in self._lent:
            self._lent[groups] = np.concatenate([alike.lent(groups) for alike in self._alike])
        return self._lent[groups]

    def verified(self) -> tuple[float, float, float]:
        """Return the mean gain in nats with its standard error over people, and the mean gain in right predictions.

        For each part of the people the way of borrowing is chosen on all others.
        """
        gained, right = np.zeros(self.people), np.zeros(self.people)
        for one in np.unique(self._part):
            mine = self._part == one
            way = self._select(~mine)
            if way.groups:
                nats, more = self._score(way)
                gained[mine], right[mine] = nats[mine], more[mine]
        return *self._mean(gained, self._count), self._mean(right, self._count)[0]


class _Alike:
    """Who is most like those tested, by groups of names, and what these lend to the choices that were left out."""

    def __init__(self, block: _Block, agree: int) -> None:
        cases, lent = block.cases, block.lent
        whose = {user: v for v, user in enumerate(lent.users)}
        self._agree, self._groups, self._rows = agree, lent.groups, lent.rows
        self._own: Places = np.array([whose[case.user_id] for case in cases], np.intp)
        self._asked = [(c, i) for c, case in enumerate(cases) for i in case.asked]
        self._contrasts = lent.matrix(block.contrasts)
        leanings = lent.matrix([case.leaning for case in cases])
        #: By group: inner products of leanings with those of who lends, and the squared lengths of both.
        self._parts: dict[str, tuple[Matrix, Matrix, Matrix]] = {}
        for group, columns in lent.groups.items():
            rows = lent.rows[:, columns]
            # Not from the matrix: a name that nobody lends still makes a leaning longer.
            own = [sum(w * w for name, w in case.leaning.items() if group_of(name) == group) for case in cases]
            lengths = np.array(own, np.float32), np.einsum("vd,vd->v", rows, rows)
            self._parts[group] = (leanings[:, columns] @ rows.T, *lengths)

    def lent(self, groups: frozenset[str]) -> Array:
        """Return what is lent to each prediction with a strength of 1, before it fades (r)."""
        found = [self._parts[group] for group in sorted(groups) if group in self._parts]
        if not found or not self._asked:
            return np.zeros(len(self._asked))
        dots, own, theirs = (np.add.reduce(parts) for parts in zip(*found, strict=True))
        cosines = np.maximum(ratio(dots, np.sqrt(np.outer(own, theirs))), 0)
        cosines[np.arange(len(cosines)), self._own] = 0
        most = min(NEIGHBOURS, cosines.shape[1])
        nearest = np.argpartition(-cosines, most - 1, axis=1)[:, :most]
        within = np.zeros(self._rows.shape[1], bool)
        within[np.concatenate([self._groups[group] for group in groups if group in self._groups])] = True
        return np.array([self._sum(cosines[c], nearest[c], self._contrasts[i], within) for c, i in self._asked])

    def _sum(self, cosines: Matrix, nearest: Places, contrast: Matrix, within: npt.NDArray[np.bool_]) -> float:
        """Return Σ cos · (leaning · contrast) over the nearest, of the names that enough of them agree on."""
        names = np.flatnonzero(within & (contrast != 0))
        alike = nearest[cosines[nearest] > 0]
        rows = self._rows[np.ix_(alike, names)]
        lent = cosines[alike] @ rows
        if self._agree > 1:
            agreeing = ((rows > 0) == (lent > 0)) & (rows != 0)
            lent = np.where(agreeing.sum(axis=0) >= self._agree, lent, 0)
        return float(lent @ contrast[names])


def _logit(probabilities: Sequence[float]) -> Array:
    p = np.clip(np.array(probabilities, float), 1e-9, 1 - 1e-9)
    odds: Array = np.log(p) - np.log1p(-p)
    return odds


def _right(logit: Array) -> Array:
    """Return 1 where what was chosen is predicted, ½ where neither is."""
    return np.where(np.abs(logit) < 1e-9, 0.5, (logit > 0).astype(float))
