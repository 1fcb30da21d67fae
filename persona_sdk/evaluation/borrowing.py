"""Does borrowing from similar people help those of whom little is known? Learning curves over the own signals.

Each source is one tenant. The population and what similar people bring are learnt from all rows of fold `fit`; then
each person's `probe` choices are predicted as if only their first few choices were known: by what people have in common
(*shared*), from those choices (*own*), with what is borrowed from similar people as well (*borrowed*), and with what
people would lend who are similar to somebody else, drawn at random, who has made as many choices (*other*).

Two things make the figures a little too good for *shared* and *own*, not for borrowing: the person's later fit choices
are in the population. Nobody lends to themselves. Where nothing is known of a person, nobody is similar to them, and
*borrowed* is *shared*.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from persona_sdk.evaluation._figures import right, rounded
from persona_sdk.evaluation.choices import ChoiceRow
from persona_sdk.evaluation.similar import Studies, fit_signals
from persona_sdk.inference import History, InferenceRequest, Inferrer, Population
from persona_sdk.journal import Remembered
from persona_sdk.language import Journal
from persona_sdk.signals import Choice, Signal, choices_of
from persona_sdk.similar import Study

__all__ = ["ARMS", "KNOWN", "BorrowingReport", "Curve", "Point", "evaluate_borrowing"]

ARMS = ("shared", "own", "borrowed", "other")
#: How many own choices are known; None: all there are.
KNOWN: tuple[int | None, ...] = (0, 1, 2, 4, 8, None)


@dataclass(frozen=True, slots=True)
class Point:
    """The figures where `known` own choices are known (None: all), of the `users` who have made that many.

    Accuracies are shares of the `n` probe choices; log loss is in nats. `gain` is borrowed − own: in `accuracy` and in
    `log_loss` (positive is better for both), each with its standard error over people.
    """

    known: int | None
    n: int
    users: int
    accuracy: Mapping[str, float]
    standard_error: Mapping[str, float]
    log_loss: Mapping[str, float]
    gain: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """The learning curve of one source, and whether borrowing was verified on its fit rows, in a sentence."""

    verified: str
    points: Sequence[Point]
    seconds: float


@dataclass(frozen=True, slots=True)
class BorrowingReport:
    """The curves of all sources that have something to predict."""

    curves: Mapping[str, Curve]

    def as_dict(self) -> dict[str, Any]:
        """Return the report JSON-ready; the point at which all is known has `"known": "all"`."""
        return {
            source: {
                "verified": curve.verified,
                "points": [_point(point) for point in curve.points],
                "seconds": rounded(curve.seconds),
            }
            for source, curve in self.curves.items()
        }


def _point(point: Point) -> dict[str, Any]:
    figures = {name: rounded(getattr(point, name)) for name in point.__dataclass_fields__}
    return {**figures, "known": "all" if point.known is None else point.known}


def evaluate_borrowing(
    rows: Iterable[ChoiceRow],
    inferrer: Inferrer,
    studies: Studies,
    *,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
    journal: Journal | None = None,
) -> BorrowingReport:
    """Learn from the fit rows and predict the probe rows, source by source. `progress` is told each source's name."""
    rows = list(rows)
    journal = Remembered() if journal is None else journal
    probes: dict[str, dict[str, list[Signal]]] = {}
    for row in rows:
        if row.probe and row.signal.user_id != "(none)":
            probes.setdefault(row.source, {}).setdefault(row.signal.user_id, []).append(row.signal)
    curves: dict[str, Curve] = {}
    for source, fit in fit_signals(rows).items():
        asked = {user: choices_of(signals) for user, signals in probes.get(source, {}).items()}
        asked = {user: choices for user, choices in asked.items() if choices}
        if not asked:
            continue
        progress(source)
        started = time.perf_counter()
        histories = [History(user, signals, journal) for user, signals in fit.items()]
        population = inferrer.fit_population(source, histories)
        study = studies(source, inferrer, population, histories)
        case = _Case(source, inferrer, population, study, fit, journal)
        chance = random.Random(seed)  # noqa: S311 - a seeded draw
        found = (case.point(asked, known, chance) for known in KNOWN)
        points = [point for point in found if point is not None]
        curves[source] = Curve(study.verified, points, time.perf_counter() - started)
    return BorrowingReport(curves)


@dataclass(frozen=True, slots=True)
class _Case:
    """One source: what was learnt from its fit rows, and everybody's own ones."""

    source: str
    inferrer: Inferrer
    population: Population | None
    study: Study
    fit: Mapping[str, Sequence[Signal]]
    journal: Journal

    def request(self, user: str, signals: Sequence[Signal]) -> InferenceRequest:
        """Ask about one person given some signals."""
        return InferenceRequest(self.source, user, signals, self.population, journal=self.journal)

    def point(self, asked: Mapping[str, Sequence[Choice]], known: int | None, chance: random.Random) -> Point | None:
        """Return the figures of everybody who has made that many choices; None if nobody has."""
        first = {user: _first(signals, known) for user, signals in self.fit.items()}
        able = {user: signals for user, signals in first.items() if signals is not None}
        if known is None:  # who has no fit row at all is known as well as can be, too
            able = {**dict.fromkeys(asked, ()), **able}
        people = [user for user in asked if user in able]
        predicted = [self._predict(user, asked[user], able, chance) for user in people]
        return _summed(known, predicted) if predicted else None

    def _predict(
        self, user: str, asked: Sequence[Choice], known: Mapping[str, Sequence[Signal]], chance: random.Random
    ) -> dict[str, list[float]]:
        """Return the probability of each probe choice of one person, by arm."""
        request = self.request(user, known[user])
        own = self.inferrer.predict(request, asked)
        others = sorted(known.keys() - {user})
        # Under this person's id, so that they do not lend to themselves.
        other = self.request(user, known[chance.choice(others)]) if others else request
        return {
            "shared": self.inferrer.predict(self.request(user, ()), asked),
            "own": own,
            "borrowed": _moved(own, self.study.adds(request, asked)),
            "other": _moved(own, self.study.adds(other, asked)),
        }


def _first(signals: Sequence[Signal], known: int | None) -> Sequence[Signal] | None:
    """Return the signals up to the `known`-th choice (0: none), all for None; None if there are not as many choices."""
    if known is None:
        return signals
    if known == 0:
        return ()
    return next((signals[:end] for end in range(len(signals) + 1) if len(choices_of(signals[:end])) >= known), None)


def _moved(probabilities: Sequence[float], log_odds: Sequence[float]) -> list[float]:
    """Return probabilities with something added to their log-odds; exactly the same where it is 0."""
    moved = []
    for p, added in zip(probabilities, log_odds, strict=True):
        bounded = min(max(p, 1e-12), 1 - 1e-12)
        odds = math.log(bounded / (1 - bounded)) + added
        moved.append(0.5 + 0.5 * math.tanh(0.5 * odds) if added else p)
    return moved


def _summed(known: int | None, predicted: Sequence[Mapping[str, Sequence[float]]]) -> Point:
    n = sum(len(arms["own"]) for arms in predicted)
    accuracy = {arm: sum(right(p) for arms in predicted for p in arms[arm]) / n for arm in ARMS}
    log_loss = {arm: -sum(_log(p) for arms in predicted for p in arms[arm]) / n for arm in ARMS}
    gain: dict[str, float] = {}
    for what, error, score in (
        ("accuracy", "standard_error", right),
        ("log_loss", "log_loss_standard_error", _log),
    ):
        by_person = [
            sum(score(b) - score(o) for b, o in zip(arms["borrowed"], arms["own"], strict=True)) for arms in predicted
        ]
        gain |= {what: sum(by_person) / n, error: math.sqrt(sum(g * g for g in by_person)) / n}
    return Point(
        known=known,
        n=n,
        users=len(predicted),
        accuracy=accuracy,
        standard_error={arm: math.sqrt(a * (1 - a) / n) for arm, a in accuracy.items()},
        log_loss=log_loss,
        gain=gain,
    )


def _log(p: float) -> float:
    return math.log(max(p, 1e-12))
