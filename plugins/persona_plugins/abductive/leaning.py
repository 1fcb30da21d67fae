"""What a person leans to, in the sentences that are tried for everyone: names that any two people have in common."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from persona_plugins.abductive.hypotheses import Hypothesis, means_the_same
from persona_plugins.abductive.population import Common
from persona_plugins.abductive.weighing import Trial
from persona_sdk.laplace import Array
from persona_sdk.signals import Choice

__all__ = ["named", "weighed"]

#: The group of these names.
_GROUP = "h"


def named(z: Array, sentences: Sequence[Hypothesis]) -> list[Mapping[str, float]]:
    """Return the differences of n choices (n × H) by name, without those that are 0."""
    names = [f"{_GROUP}:{h.statement}" for h in sentences]
    return [{name: value for name, value in zip(names, row, strict=True) if value} for row in z.tolist()]


def weighed(
    rows: Sequence[Mapping[str, float]],
    choices: Sequence[Choice],
    sentences: Sequence[Hypothesis],
    common: Common,
    rejected: frozenset[str],
) -> Mapping[str, float]:
    """Return how much one person's weights differ from everybody's, learnt with a variance of 1.

    `rejected` sentences, which the person took back, are left out.
    """
    z = np.array([[row.get(f"{_GROUP}:{h.statement}", 0.0) for h in sentences] for row in rows])
    width = z.shape[1]
    trial = Trial(
        z=z,
        offset=z @ common.means([h.statement for h in sentences]),
        certainty=np.array([c.certainty for c in choices]),
        groups=[zlib.crc32(c.prompt.encode("utf-8", "replace")) for c in choices],
        prior=np.zeros(width),
        paired=np.zeros(width, bool),
        variance=1.0,
    )
    return {
        f"{_GROUP}:{h.statement}": float(f"{weight:.5g}")
        for h, weight in zip(sentences, trial.weigh().mean.tolist(), strict=True)
        if weight and not any(means_the_same(h, taken_back) for taken_back in rejected)
    }
