"""Who is given which model: a rung is used for a person only if it beats the one below on their held-out choices.

prefix → shared adapter → cluster's → own. Each is compared with the highest rung below it that this person is given.

**Scale.** Margins of different models are not comparable: a tuned model's are larger, right or wrong. So a rung's
margin m becomes the log probability of the choice, log σ(m / T). T maximises it over the held-out choices of *other*
people: they are dealt into parts, and each part's T comes from the other parts, with a right and a wrong choice of
typical margin added, without which T would be 0 where all choices are predicted right. Where there are fewer than 5
people T is the root mean square of the margins: their sizes alone, which say nothing of who is right.

**Evidence.** Most people have few held-out choices, and of a rung that changes nothing half of all people gain by
chance. So gains are shrunk towards what everybody gains (empirical Bayes; the mean over people and the variance between
them after DerSimonian and Laird 1986). With d̄ⱼ the mean gain of person j over nⱼ choices, vⱼ = s²/nⱼ, s² the variance
within people (theirs, if it is larger than everybody's) and τ² the variance between people:

    μ = Σ wⱼ d̄ⱼ / Σ wⱼ         ε² = 1 / Σ wⱼ         wⱼ = 1 / (vⱼ + τ²)
    Bⱼ = vⱼ / (vⱼ + τ²)        gain of j = Bⱼ μ + (1 − Bⱼ) d̄ⱼ        its variance = (1 − Bⱼ) vⱼ + Bⱼ² ε²

**Rule.** The rung is used for j if their shrunk gain is positive, and either people as a whole gain (μ > t ε, at least
5 people, and no fewer choices predicted right), or j does (shrunk gain > t times its standard error). t is that of
nineteen cases in twenty. From `FEW` held-out choices on they must say so themselves, too: d̄ⱼ > 0 and no fewer of them
predicted right. Below that their sign is a coin's, and only what holds of people as a whole counts. What a rung below
was chosen by are the same choices, so that it looks a little better than it is: climbing errs on the low side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from persona_sdk.errors import InputError
from persona_sdk.laplace import Array, log_sigmoid
from persona_sdk.models import Frozen
from persona_sdk.tuning.assignments import RUNGS, Assignment, Given
from persona_sdk.tuning.rows import Row

__all__ = ["FEW", "MINIMUM_PEOPLE", "Climb", "Compared", "Measured", "climb"]

#: With fewer held-out choices a person's own evidence is not asked for, nor enough.
FEW = 4
#: With fewer people nothing is said of people as a whole.
MINIMUM_PEOPLE = 5
#: Parts that the people are dealt into to find a temperature.
PARTS = 5
#: The 95 % quantile of the normal distribution.
_NORMAL = 1.6448536
_Places: TypeAlias = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Measured:
    """A rung's margins on people's held-out choices, by person, in the order of the choices (see `margins`).

    `adapter` is the one that was measured, or each person's by their id; people without one are not among `margins`.
    `seen` are those whose signals the adapter was trained on: it is read of the shared one, which has to prove itself
    on others before it is everybody's default.
    """

    rung: Given
    margins: Mapping[str, Sequence[float]]
    adapter: str | Mapping[str, str] | None = None
    seen: Set[str] = field(default_factory=frozenset)

    def adapter_of(self, user_id: str) -> str | None:
        """Return the adapter that a person would be given."""
        return self.adapter.get(user_id) if isinstance(self.adapter, Mapping) else self.adapter


class Compared(Frozen):
    """How a rung compares over people with what each was given before, in nats a choice.

    `gain` is the mean over people with its `standard_error`, `between` the standard deviation of people's true gains.
    `accuracy` and `accuracy_below` are shares of the `choices` predicted right, `given` how many people use the rung.
    `temperature` is what margins were divided by, None where they predict no better than a coin.
    """

    rung: Given
    people: int
    choices: int
    gain: float = 0.0
    standard_error: float = 0.0
    between: float = 0.0
    accuracy: float = 0.0
    accuracy_below: float = 0.0
    given: int = 0
    temperature: float | None = None
    helps: bool = False

    @property
    def verified(self) -> str:
        """Whether it predicts held-out choices better over people, and by how much, in a sentence."""
        of = f"{self.choices:,} held-out choices of {self.people:,} people"
        figures = f"{self.gain:+.4f} nats a choice (s.e. {self.standard_error:.4f})"
        if self.people < MINIMUM_PEOPLE:
            return f"{self.rung}: too few people to say anything of people as a whole ({of})"
        says = "predicts better" if self.helps else "is not shown to predict better"
        return f"{self.rung} {says} on {of}: {figures}"


@dataclass(frozen=True, slots=True)
class Climb:
    """What everybody with held-out choices is given, what all others are, and how the rungs compare over people."""

    assignments: Mapping[str, Assignment]
    default: Assignment
    table: tuple[Compared, ...]


def climb(held_out: Mapping[str, Sequence[Row]], rungs: Sequence[Measured], *, seed: int = 0) -> Climb:
    """Decide what each person is given from how well each rung predicts their held-out choices.

    Pure, and the same whatever order people come in. People without held-out choices are not among the assignments:
    they get the default, the shared adapter if it beats the prefix on people it was not trained on, else the prefix.

    Raises:
        InputError: there is no prefix rung, one comes twice, margins are missing, not finite, or not one a choice.
    """
    ladder = _checked(held_out, rungs)
    people = sorted(user_id for user_id, rows in held_out.items() if rows)
    base = ladder[0]
    given: dict[str, Assignment] = {}
    current: dict[str, Array] = {}
    right: dict[str, Array] = {}
    scaled, temperature = _scaled({user: base.margins[user] for user in people}, seed)
    for user in people:
        current[user], right[user] = scaled[user], _right(base.margins[user])
        given[user] = Assignment(choices=len(right[user]), accuracy={"prefix": _share(right[user])})
    table = [_first(right, temperature)] if people else []
    for rung in ladder[1:]:
        tried = [user for user in people if user in rung.margins]
        if not tried:
            continue
        scaled, temperature = _scaled({user: rung.margins[user] for user in tried}, seed)
        rights = {user: _right(rung.margins[user]) for user in tried}
        found = _Gains.of([scaled[user] - current[user] for user in tried])
        compared = _compared(rung.rung, found, rights, {user: right[user] for user in tried}, temperature)
        used = 0
        for place, user in enumerate(tried):
            accuracy = {**given[user].accuracy, rung.rung: _share(rights[user])}
            before = given[user].model_copy(update={"accuracy": accuracy})
            given[user] = before
            if _beats(found, place, compared.helps, rights[user], right[user]):
                used += 1
                current[user], right[user] = scaled[user], rights[user]
                given[user] = Assignment(
                    adapter=rung.adapter_of(user),
                    rung=rung.rung,
                    choices=before.choices,
                    gain=_rounded(found.shrunk[place]),
                    standard_error=_rounded(found.error_of[place]),
                    accuracy=accuracy,
                    below=before if before.adapter is not None else None,
                )
        table.append(compared.model_copy(update={"given": used}))
    return Climb(given, _default(ladder, people, seed), tuple(table))


def _default(ladder: Sequence[Measured], people: Sequence[str], seed: int) -> Assignment:
    """Decide what those get of whom nothing is held out: measured on people the shared adapter never saw."""
    base, shared = ladder[0], next((rung for rung in ladder if rung.rung == "shared"), None)
    if shared is None:
        return Assignment(people=0)
    new = [user for user in people if user in shared.margins and user not in shared.seen]
    if not new:
        return Assignment(people=0)
    before, _ = _scaled({user: base.margins[user] for user in new}, seed)
    after, temperature = _scaled({user: shared.margins[user] for user in new}, seed)
    found = _Gains.of([after[user] - before[user] for user in new])
    right = {user: _right(base.margins[user]) for user in new}
    rights = {user: _right(shared.margins[user]) for user in new}
    compared = _compared("shared", found, rights, right, temperature)
    accuracy: dict[Given, float] = {"prefix": compared.accuracy_below, "shared": compared.accuracy}
    measured = {"choices": compared.choices, "people": len(new), "accuracy": accuracy}
    if not compared.helps:
        return Assignment(**measured)
    return Assignment(
        adapter=shared.adapter_of(new[0]),
        rung="shared",
        gain=compared.gain,
        standard_error=compared.standard_error,
        **measured,
    )


class _Gains(NamedTuple):
    """What people gain: the mean of each, shrunk as well, with standard errors; and over people."""

    own: Array
    choices: _Places
    shrunk: Array
    error_of: Array
    mean: float
    error: float
    between: float
    freedom: int

    @classmethod
    def of(cls, gains: Sequence[Array]) -> _Gains:
        """Estimate from the gains of each person's choices (see the module for the formulas)."""
        count = np.array([len(one) for one in gains])
        own = np.array([one.mean() for one in gains])
        people, freedom = len(gains), int(count.sum()) - len(gains)
        squares = np.array([float(((one - one.mean()) ** 2).sum()) for one in gains])
        # Where everybody has one choice only, all spread is taken for chance.
        within = float(squares.sum()) / freedom if freedom else float(own.var(ddof=1)) if people > 1 else math.inf
        each = np.divide(squares, count - 1, out=np.zeros(people), where=count > 1)
        v = np.maximum(np.maximum(within, each), 1e-12) / count
        if people < MINIMUM_PEOPLE:  # nobody to be shrunk towards
            return cls(own, count, own, np.sqrt(v), float(own.mean()), math.inf, math.inf, freedom)
        weight = 1.0 / v
        spread = float((weight * (own - np.average(own, weights=weight)) ** 2).sum())
        between = max(0.0, (spread - people + 1) / float(weight.sum() - (weight**2).sum() / weight.sum()))
        weight = 1.0 / (v + between)
        mean = float(np.average(own, weights=weight))
        error = 1.0 / math.sqrt(float(weight.sum()))
        towards = v / (v + between)
        shrunk = towards * mean + (1 - towards) * own
        error_of = np.sqrt((1 - towards) * v + towards**2 * error**2)
        return cls(own, count, shrunk, error_of, mean, error, math.sqrt(between), freedom)


def _beats(found: _Gains, place: int, helps: bool, right: Array, before: Array) -> bool:
    """Say whether a rung is used for a person: the rule of the module."""
    gain, few = found.shrunk[place], found.choices[place] < FEW
    if gain <= 0 or (not few and (found.own[place] <= 0 or right.mean() < before.mean())):
        return False
    return helps or (not few and gain > _quantile(found.freedom) * found.error_of[place])


def _compared(
    rung: Given, found: _Gains, right: Mapping[str, Array], before: Mapping[str, Array], temperature: float | None
) -> Compared:
    now, below = np.concatenate(list(right.values())), np.concatenate(list(before.values()))
    enough = len(right) >= MINIMUM_PEOPLE
    return Compared(
        rung=rung,
        people=len(right),
        choices=len(now),
        gain=_rounded(found.mean),
        standard_error=_rounded(found.error) if enough else 0.0,
        between=_rounded(found.between) if enough else 0.0,
        accuracy=_share(now),
        accuracy_below=_share(below),
        temperature=temperature,
        helps=bool(enough and found.mean > _quantile(len(right) - 1) * found.error and now.mean() >= below.mean()),
    )


def _first(right: Mapping[str, Array], temperature: float | None) -> Compared:
    every = np.concatenate(list(right.values()))
    return Compared(
        rung="prefix",
        people=len(right),
        choices=len(every),
        accuracy=_share(every),
        accuracy_below=_share(every),
        given=len(right),
        temperature=temperature,
    )


def _scaled(margins: Mapping[str, Sequence[float]], seed: int) -> tuple[dict[str, Array], float | None]:
    """Return log probabilities of the choices, and the middle one of the temperatures; the order of people matters."""
    people = list(margins)
    if not people:
        return {}, None
    each = {user: np.asarray(margins[user], float) for user in people}
    part = np.random.default_rng(seed).permutation(len(people)) % PARTS
    found: dict[str, Array] = {}
    slopes = []
    for one in range(min(PARTS, len(people))):
        others = [each[user] for user, its in zip(people, part, strict=True) if its != one]
        if len(people) < MINIMUM_PEOPLE:
            size = math.sqrt(float(np.mean(np.concatenate(list(each.values())) ** 2)))
            slope = 1.0 / size if size > 0 else 0.0
        else:
            slope = _slope(np.concatenate(others))
        slopes.append(slope)
        for user, its in zip(people, part, strict=True):
            if its == one:
                found[user] = log_sigmoid(slope * each[user])
    middle = float(np.median(slopes))
    return found, _rounded(1.0 / middle) if middle > 0 else None


def _slope(margins: Array) -> float:
    """Return the 1/T that gives choices the highest probability, 0 where margins point the wrong way."""
    size = math.sqrt(float(np.mean(margins**2)))
    if size == 0 or margins.sum() <= 0:
        return 0.0
    every = np.concatenate([margins, [size, -size]])

    def uphill(slope: float) -> bool:
        return float((every * np.exp(log_sigmoid(-slope * every))).sum()) > 0

    low, high = 0.0, 1.0 / size
    while uphill(high):
        low, high = high, 2 * high
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if uphill(middle) else (low, middle)
    return (low + high) / 2


def _quantile(freedom: int) -> float:
    """Return the 95 % quantile of Student's t (Abramowitz and Stegun 26.7.5; within 2 % from 3 degrees on)."""
    if freedom < 3:
        return math.inf
    z = _NORMAL
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _right(margins: Sequence[float]) -> Array:
    """Return for each choice 1 where it is predicted right, 0 where not, and a half where nothing is said."""
    found: Array = (np.sign(np.asarray(margins, float)) + 1) / 2
    return found


def _share(right: Array) -> float:
    return _rounded(right.mean())


def _rounded(value: float | np.floating[npt.NBitBase]) -> float:
    return float(f"{float(value):.4g}")


def _checked(held_out: Mapping[str, Sequence[Row]], rungs: Sequence[Measured]) -> list[Measured]:
    """Return the rungs in their order, if there is a margin for each choice."""
    ladder = sorted(rungs, key=lambda one: RUNGS.index(one.rung))
    names = [one.rung for one in ladder]
    if len(set(names)) < len(names) or names[:1] != ["prefix"]:
        raise InputError("rungs: there has to be the prefix, and each rung once", field="rungs")
    asked = {user_id for user_id, rows in held_out.items() if rows}
    if asked - set(ladder[0].margins):
        raise InputError("rungs: not everybody with held-out choices was measured with the prefix", field="rungs")
    for one in ladder:
        for user_id in asked & set(one.margins):
            margins = np.asarray(one.margins[user_id], float)
            if margins.shape != (len(held_out[user_id]),) or not np.isfinite(margins).all():
                raise InputError(f"rungs: {one.rung} needs one finite margin for each choice", field="rungs")
            if (one.adapter_of(user_id) is None) != (one.rung == "prefix"):
                raise InputError(f"rungs: {one.rung} needs an adapter of everybody measured with it", field="rungs")
    return ladder
