"""What is borrowed from similar people, and how much of it: the method, without memory, index or inferrer.

A leaning is what one person's own signals lean to beyond everybody's, as weights by name (`Inferrer.leaning`). Two
people are as similar as the cosine of their leanings, over some groups of names. Someone we know little of is lent a
leaning b, which adds Σ b[name] · contrast[name] to the log-odds of a choice:

    b = strength · fade / (fade + n) · Σ_v max(cos(u, v), 0) · leaning_v,

summed over the most similar people v, with n the person's own choices: it fades as own evidence comes. It is added to
what is predicted from the person's own signals and never in place of it; neighbours alone do not do (P-GenRM, arXiv
2602.12116). Leanings that are lent were learnt from the lender's own signals only, so nothing comes back as an echo.

What is lent is a sum over people, in numbers that are never shown. Where that is not private enough, a name can be made
to count only if several of these people lean one way (`agree`), and the sum leans that way, too; it costs predictions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from persona_sdk.laplace import Array

__all__ = ["NEIGHBOURS", "Borrowing", "Likeness", "added", "borrowed", "faded", "group_of", "similarity"]

#: So many of the most similar people lend, at most.
NEIGHBOURS = 30

#: One number of choices, or many.
Numbers = TypeVar("Numbers", float, "Array")


@dataclass(frozen=True, slots=True)
class Borrowing:
    """How people of one tenant borrow, and what that rests on.

    `groups` are the groups of names that people are compared by and lend from; `strength` is 0 where borrowing was
    refused; `fade` is the number of own choices at which half is borrowed; `agree` is how many of the lenders must lean
    the same way for a name to count. `gain` is how much better left-out choices were predicted, in nats a choice, with
    its `standard_error` over people; `choices` and `people` are how many.
    """

    groups: frozenset[str] = frozenset()
    strength: float = 0.0
    fade: float = 1.0
    agree: int = 1
    people: int = 0
    choices: int = 0
    gain: float = 0.0
    standard_error: float = 0.0

    @property
    def verified(self) -> str:
        """Whether borrowing predicts left-out choices better, and by how much, in a sentence."""
        if not self.choices:
            return "borrowing was not tried: too few people whose choices can be compared"
        of = f"{self.choices:,} left-out choices of {self.people:,} people"
        figures = f"{self.gain:+.4f} nats a choice (s.e. {self.standard_error:.4f})"
        if self.strength:
            return f"borrowing predicts {of} better: {figures}"
        return f"borrowing is not shown to help on {of}: {figures}; refused"

    def to_data(self) -> dict[str, Any]:
        """Return this JSON-ready."""
        return {
            "groups": sorted(self.groups),
            "strength": self.strength,
            "fade": self.fade,
            "agree": self.agree,
            "people": self.people,
            "choices": self.choices,
            "gain": self.gain,
            "standard_error": self.standard_error,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Borrowing:
        """Read what `to_data` wrote."""
        return cls(**{**data, "groups": frozenset(data["groups"])})


def group_of(name: str) -> str:
    """Return the group a name of a leaning belongs to."""
    return name.partition(":")[0]


class Likeness:
    """Compares one person's leaning with others', over the names of some groups (None: of all)."""

    def __init__(self, leaning: Mapping[str, float], groups: frozenset[str] | None) -> None:
        self._groups = groups
        self._own = _within(leaning, groups)
        self._length = math.hypot(*self._own.values())

    def to(self, other: Mapping[str, float]) -> float:
        """Return the cosine (−1 … 1); 0 if either has nothing there."""
        there = _within(other, self._groups)
        own = self._own
        dot = math.fsum([weight * own[name] for name, weight in there.items() if name in own])
        lengths = math.hypot(*there.values()) * self._length
        return max(-1.0, min(1.0, dot / lengths)) if lengths else 0.0


def similarity(a: Mapping[str, float], b: Mapping[str, float], groups: frozenset[str] | None) -> float:
    """Return the cosine of two leanings over the names of some groups (−1 … 1); 0 if either has nothing there."""
    return Likeness(a, groups).to(b)


def borrowed(
    lenders: Sequence[tuple[float, Mapping[str, float]]], borrowing: Borrowing, choices: int
) -> dict[str, float]:
    """Return what is lent to someone who has made some `choices`, as weights by name; {} where borrowing was refused.

    `lenders` are other people's similarities and leanings, in any order: the most similar ones count.
    """
    if not borrowing.strength:
        return {}
    share = borrowing.strength * faded(borrowing.fade, choices)
    alike = sorted((lender for lender in lenders if lender[0] > 0), key=lambda lender: -lender[0])[:NEIGHBOURS]
    total: dict[str, float] = {}
    more: Counter[str] = Counter()
    less: Counter[str] = Counter()
    for alikeness, leaning in alike:
        for name, weight in _within(leaning, borrowing.groups).items():
            total[name] = total.get(name, 0.0) + share * alikeness * weight
            (more if weight > 0 else less)[name] += 1
    if borrowing.agree <= 1:
        return total
    return {name: w for name, w in total.items() if (more if w > 0 else less)[name] >= borrowing.agree}


def faded(fade: float, choices: Numbers) -> Numbers:
    """Return the share that is still borrowed after so many own choices: fade / (fade + choices)."""
    return fade / (fade + choices)


def added(weights: Mapping[str, float], contrast: Mapping[str, float]) -> float:
    """Return what weights add to the log-odds of a choice whose answers differ by `contrast`."""
    return math.fsum(weights[name] * difference for name, difference in contrast.items() if name in weights)


def _within(leaning: Mapping[str, float], groups: frozenset[str] | None) -> Mapping[str, float]:
    if groups is None:
        return leaning
    return {name: weight for name, weight in leaning.items() if weight and name.partition(":")[0] in groups}
