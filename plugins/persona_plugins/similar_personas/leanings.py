"""Many people's leanings as one matrix, to compare others with all of them at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from persona_plugins.similar_personas.blending import group_of
from persona_sdk.inference import History, InferenceRequest, Inferrer, Population
from persona_sdk.signals import Signal

__all__ = ["Leanings", "Matrix", "Places", "asked_about", "leanings_of", "ratio"]

Matrix: TypeAlias = npt.NDArray[np.float32]
Places: TypeAlias = npt.NDArray[np.intp]


class Leanings:
    """Leanings of several people: `rows` (people × names), in the order of `users`.

    `groups` says which columns belong to each group of names.
    """

    def __init__(self, people: Mapping[str, Mapping[str, float]]) -> None:
        self.users = list(people)
        self.weights = list(people.values())
        names = sorted({name for leaning in self.weights for name in leaning})
        self._column = {name: j for j, name in enumerate(names)}
        of = np.array([group_of(name) for name in names])
        self.groups: dict[str, Places] = {str(group): np.flatnonzero(of == group) for group in np.unique(of)}
        self.rows = self.matrix(self.weights)

    def matrix(self, weights: Sequence[Mapping[str, float]]) -> Matrix:
        """Return weights by name as rows with the same columns; names that nobody here has are left out."""
        rows = np.zeros((len(weights), len(self._column)), np.float32)
        for row, one in zip(rows, weights, strict=True):
            for name, weight in one.items():
                if name in self._column:
                    row[self._column[name]] = weight
        return rows

    def cosines(self, leaning: Mapping[str, float], groups: frozenset[str]) -> Matrix:
        """Return the cosine of one leaning with everybody's, over some groups (people); 0 where there is nothing."""
        own = {name: weight for name, weight in leaning.items() if group_of(name) in groups}
        columns = [j for group, places in self.groups.items() if group in groups for j in places]
        rows = self.rows[:, columns]
        lengths = np.sqrt(np.einsum("vd,vd->v", rows, rows)) * math.hypot(*own.values())
        return ratio(rows @ self.matrix([own])[0, columns], lengths)


def ratio(dots: Matrix, lengths: Matrix) -> Matrix:
    """Return cosines from inner products and products of lengths; 0 where a length is."""
    return np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)


def asked_about(
    history: History, population: Population | None, signals: Sequence[Signal] | None = None
) -> InferenceRequest:
    """Return the request about a person given all of their signals, or some."""
    tenant = population.tenant if population else "default"
    given = history.signals if signals is None else signals
    return InferenceRequest(tenant, history.user_id, given, population, journal=history.journal)


def leanings_of(inferrer: Inferrer, population: Population | None, histories: Sequence[History]) -> Leanings:
    """Return everybody's leaning, learnt from their own signals only."""
    return Leanings({h.user_id: inferrer.leaning(asked_about(h, population)) for h in histories})
