"""What is counted of choices between two answers: means over people, fairness, and what of it is only length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from persona_sdk.laplace import Array, sigmoid

__all__ = ["Mean", "Pairwise", "length_controlled", "matched", "mean_of", "pearson", "prefers"]

#: Pairs whose lengths differ by no more than this share of the longer one are alike in length.
ALIKE = 0.1
#: How strongly the regression is held back, as a precision: enough to end where every pair is predicted right.
_RIDGE = 0.01
#: Margins in nats below this are rounding.
_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over people, its standard error (the deviation between people over √n), and how many they are.

    The value is None of nobody, the standard error of fewer than two.
    """

    value: float | None
    standard_error: float | None
    people: int


@dataclass(frozen=True, slots=True)
class Pairwise:
    """One pair: whether the chosen answer is preferred (1, 0, ½), and how long both are, in characters."""

    right: float
    chosen: int
    rejected: int


def prefers(margin: float) -> float:
    """Return whether a margin in nats prefers what was chosen: 1, 0, or ½ where both answers are as likely."""
    return 0.5 if abs(margin) <= _TIE else float(margin > 0)


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean of one value a person."""
    n = len(values)
    if not n:
        return Mean(None, None, 0)
    mean = math.fsum(values) / n
    spread = math.fsum((value - mean) ** 2 for value in values)
    return Mean(mean, math.sqrt(spread / (n - 1) / n) if n > 1 else None, n)


def pearson(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the correlation of two values a person; None of fewer than three people, or where one never varies."""
    if len(first) < 3:
        return None
    means = [math.fsum(values) / len(values) for values in (first, second)]
    a, b = ([value - mean for value in values] for values, mean in zip((first, second), means, strict=True))
    sizes = math.sqrt(math.fsum(x * x for x in a)), math.sqrt(math.fsum(y * y for y in b))
    if min(sizes) < _TIE:
        return None
    return max(-1.0, min(1.0, math.fsum(x * y for x, y in zip(a, b, strict=True)) / sizes[0] / sizes[1]))


def matched(people: Mapping[str, Sequence[Pairwise]]) -> tuple[Mean, int]:
    """Return the accuracy on pairs of answers alike in length, over people who have such a pair, and their number."""
    alike = {
        user: [pair.right for pair in pairs if _alike(pair)]
        for user, pairs in people.items()
    }  # fmt: skip
    return mean_of([math.fsum(of) / len(of) for of in alike.values() if of]), sum(map(len, alike.values()))


def _alike(pair: Pairwise) -> bool:
    return abs(pair.chosen - pair.rejected) <= ALIKE * max(pair.chosen, pair.rejected)


def length_controlled(people: Mapping[str, Sequence[Pairwise]]) -> Mean:
    """Return the accuracy to be expected if both answers were as long, after arXiv 2404.04475.

    Fits logit P(right) = θ + φ tanh(Δ / s) to all pairs, Δ the characters by which the chosen answer is longer, s the
    root mean square of Δ, everybody's pairs weighing as much together; returns σ(θ). Its standard error is robust
    against what a person's pairs have in common (sandwich estimator, clustered by person). None where the chosen answer
    is longer in every pair, or shorter in every pair: nothing tells then what length does and what the model does.
    """
    people = {user: pairs for user, pairs in people.items() if pairs}
    differences = [pair.chosen - pair.rejected for pairs in people.values() for pair in pairs]
    if not differences or min(differences) > 0 or max(differences) < 0:
        return Mean(None, None, len(people))
    count, n = len(differences), len(people)
    size = math.sqrt(math.fsum(d * d for d in differences) / count) or 1.0
    x = np.stack([np.ones(count), np.tanh(np.array(differences) / size)], axis=1)
    y = np.array([pair.right for pairs in people.values() for pair in pairs])
    weights = np.array([count / n / len(pairs) for pairs in people.values() for _ in pairs])
    found = _fitted(x, y, weights)
    p = sigmoid(x @ found)
    inverse = np.linalg.inv(_curvature(x, p, weights))
    scores = x * (weights * (y - p))[:, None]
    who = np.repeat(np.arange(n), [len(pairs) for pairs in people.values()])
    clusters = np.zeros((n, 2))
    np.add.at(clusters, who, scores)
    value = float(sigmoid(found[:1])[0])
    if n < 2:
        return Mean(value, None, n)
    variance = float((inverse @ clusters.T @ clusters @ inverse)[0, 0]) * n / (n - 1)
    return Mean(value, value * (1 - value) * math.sqrt(max(0.0, variance)), n)


def _fitted(x: Array, y: Array, weights: Array) -> Array:
    """Return the two coefficients, by Newton's method, with steps halved where one would lead uphill."""
    found = np.zeros(2)
    loss = _loss(x, y, weights, found)
    for _ in range(100):
        p = sigmoid(x @ found)
        gradient = x.T @ (weights * (y - p)) - _RIDGE * found
        step = np.linalg.solve(_curvature(x, p, weights), gradient)
        while (tried := _loss(x, y, weights, found + step)) > loss and float(np.abs(step).max()) > 1e-10:
            step = step / 2
        found, loss = found + step, tried
        if float(np.abs(step).max()) < 1e-9:
            break
    return found


def _loss(x: Array, y: Array, weights: Array, at: Array) -> float:
    z = x @ at
    return float((weights * (np.logaddexp(0.0, z) - y * z)).sum() + _RIDGE / 2 * (at @ at))


def _curvature(x: Array, p: Array, weights: Array) -> Array:
    curvature: Array = (x * (weights * p * (1 - p))[:, None]).T @ x + _RIDGE * np.eye(2)
    return curvature
