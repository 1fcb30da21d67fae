"""Whether past choices and similar prompts tell what people choose: asked of choices that were left out.

Both are put as log-odds that are added to what the population alone predicts. `own_choices`: an answer that differs
from its rival as the chosen answers to the person's most similar other prompts did is the likelier one.
`similar_prompt`: the person behind the nearest prompt of anybody else lends their leaning. How much of it is added is
chosen on other people than those it is then measured on, and people, not choices, are counted as independent.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from persona_plugins.similar_personas.blending import added
from persona_plugins.similar_personas.closeness import Closeness
from persona_plugins.similar_personas.fitting import MARGIN, MINIMUM_PEOPLE, PARTS
from persona_sdk.inference import History, InferenceRequest, Inferrer, Population
from persona_sdk.laplace import Array, log_sigmoid
from persona_sdk.signals import Choice, choices_of

__all__ = ["Way", "verify_own_choices", "verify_similar_prompt"]

#: People and choices that are tested at most, drawn at random, and choices of one person, the newest.
MAX_PEOPLE, MAX_CHOICES, MAX_OF_ONE = 300, 2000, 24
#: Fewer choices of a person leave too little to look for similar ones in.
MINIMUM_CHOICES = 4
#: How much is added, in log-odds, for a typical value of what is measured; 0 is not at all.
_STRENGTHS = (0.0, 0.03, 0.1, 0.3, 0.6, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Way:
    """What was verified of one way: how much better left-out choices are predicted with it, in nats a choice.

    `standard_error` is over people; of `choices` there are none where nothing could be tried.
    """

    name: str
    choices: int = 0
    people: int = 0
    gain: float = 0.0
    standard_error: float = 0.0

    @property
    def helps(self) -> bool:
        """Whether the gain is more than chance would give a way that is of no use, in nineteen cases of twenty."""
        return self.choices > 0 and self.gain > MARGIN * self.standard_error

    @property
    def verified(self) -> str:
        """Whether it predicts left-out choices better, and by how much, in a sentence."""
        if not self.choices:
            return f"{self.name} was not tried: too few people whose choices can be compared"
        of = f"{self.choices:,} left-out choices of {self.people:,} people"
        figures = f"{self.gain:+.4f} nats a choice (s.e. {self.standard_error:.4f})"
        if self.helps:
            return f"{self.name} predicts {of} better: {figures}"
        return f"{self.name} is not shown to help on {of}: {figures}"

    def to_data(self) -> dict[str, Any]:
        """Return this JSON-ready."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Way:
        """Read what `to_data` wrote."""
        return cls(**data)


def verify_own_choices(
    inferrer: Inferrer,
    population: Population | None,
    histories: Sequence[History],
    closeness: Closeness,
    shots: int = 2,
) -> Way:
    """Verify that people choose as they did when asked something similar.

    Each choice is left out, with all others of the same prompt: they would give it away.
    """
    tested = _tested(histories, MINIMUM_CHOICES)
    rows: list[_Left] = []
    for user_id, choices in tested.items():
        alike = closeness.matrix([choice.prompt for choice in choices])
        contrasts = inferrer.contrast(population, choices)
        for i, base in enumerate(_alone(inferrer, population, user_id, choices)):
            others = [j for j in range(len(choices)) if choices[j].prompt != choices[i].prompt and alike[i, j] > 0]
            nearest = sorted(others, key=lambda j: (-alike[i, j], -j))[:shots]
            value = math.fsum(alike[i, j] * added(contrasts[j], contrasts[i]) for j in nearest)
            rows.append(_Left(user_id, base, value))
    return _verified("own_choices", rows)


def verify_similar_prompt(
    inferrer: Inferrer, population: Population | None, histories: Sequence[History], closeness: Closeness
) -> Way:
    """Verify that people choose as whoever else asked the most similar thing leans to."""
    tested = _tested(histories, 1)
    by_user = {history.user_id: history for history in histories}
    asked = [(user_id, choice) for user_id, choices in tested.items() for choice in choices]
    alike = closeness.matrix([choice.prompt for _, choice in asked])
    user_of = np.array([user_id for user_id, _ in asked])
    leanings: dict[str, Mapping[str, float]] = {}

    def leaning(user_id: str) -> Mapping[str, float]:
        if user_id not in leanings:
            leanings[user_id] = inferrer.leaning(_request(population, user_id, by_user[user_id].signals))
        return leanings[user_id]

    rows: list[_Left] = []
    start = 0
    for user_id, choices in tested.items():
        contrasts = inferrer.contrast(population, choices)
        for i, base in enumerate(_alone(inferrer, population, user_id, choices)):
            near = np.where(user_of == user_id, 0.0, alike[start + i])
            best = int(np.argmax(near))
            value = added(leaning(str(user_of[best])), contrasts[i]) if near[best] > 0 else 0.0
            rows.append(_Left(user_id, base, value))
        start += len(choices)
    return _verified("similar_prompt", rows)


@dataclass(frozen=True, slots=True)
class _Left:
    """A choice that was left out: what the population alone gives it, in log-odds, and what the way says of it."""

    user_id: str
    base: float
    value: float


def _tested(histories: Sequence[History], least: int) -> dict[str, list[Choice]]:
    """Draw the people to be tested, with their newest choices; the order of `histories` does not matter."""
    people = sorted(histories, key=lambda h: h.user_id)
    random.Random(0).shuffle(people)  # noqa: S311 - a seeded draw
    tested: dict[str, list[Choice]] = {}
    total = 0
    for history in people:
        choices = choices_of(history.signals)[-MAX_OF_ONE:]
        if len(choices) < least:
            continue
        if len(tested) == MAX_PEOPLE or total + len(choices) > MAX_CHOICES:
            break
        tested[history.user_id] = choices
        total += len(choices)
    return tested


def _request(population: Population | None, user_id: str, signals: Sequence[Any]) -> InferenceRequest:
    return InferenceRequest(population.tenant if population else "default", user_id, signals, population)


def _alone(inferrer: Inferrer, population: Population | None, user_id: str, choices: Sequence[Choice]) -> list[float]:
    """Return the log-odds that the population alone gives to what was chosen."""
    p = np.clip(inferrer.predict(_request(population, user_id, ()), choices), 1e-9, 1 - 1e-9)
    return [float(odds) for odds in np.log(p) - np.log1p(-p)]


def _verified(name: str, rows: Sequence[_Left]) -> Way:
    """Measure what a way gains, its strength chosen for each part of the people on all others."""
    users = {user_id: n for n, user_id in enumerate(dict.fromkeys(row.user_id for row in rows))}
    values = np.array([row.value for row in rows])
    if len(users) < MINIMUM_PEOPLE or not np.any(values):
        return Way(name)
    base, whose = np.array([row.base for row in rows]), np.array([users[row.user_id] for row in rows])
    values = values / np.sqrt(np.mean(values[values != 0] ** 2))
    gains = np.array([log_sigmoid(base + strength * values) - log_sigmoid(base) for strength in _STRENGTHS])
    part = np.random.default_rng(0).permutation(len(users)) % PARTS
    gained: Array = np.zeros(len(rows))
    for one in range(PARTS):
        mine = part[whose] == one
        best = int(np.argmax(gains[:, ~mine].mean(axis=1)))
        gained[mine] = gains[best, mine]
    count = np.bincount(whose, minlength=len(users))
    mean = float(gained.mean())
    spread = (np.bincount(whose, gained, len(users)) - mean * count) ** 2
    error = math.sqrt(float(spread.sum()) * len(users) / (len(users) - 1)) / len(rows)
    return Way(name, len(rows), len(users), float(f"{mean:.4g}"), float(f"{error:.4g}"))
