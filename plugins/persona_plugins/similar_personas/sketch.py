"""Leanings as short vectors: a random projection that keeps cosines, so that an index can find who leans alike.

A leaning has a weight for each of thousands of names, different ones for everybody. Every name stands for a fixed row
of random signs, and a sketch is the sum of the rows times the weights, brought to length 1. The cosine of two sketches
estimates the cosine c of the leanings without bias worth speaking of, with a standard deviation of about (1 − c²) / √d
(Achlioptas 2003, "Database-friendly random projections"): 0.05 for people who are not alike, in 384 dimensions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from persona_plugins.similar_personas.blending import group_of

__all__ = ["DIMENSIONS", "sketch"]

DIMENSIONS = 384


def sketch(
    weights: Mapping[str, float], groups: frozenset[str] | None = None, dimensions: int = DIMENSIONS
) -> npt.NDArray[np.float32]:
    """Return a leaning as a vector of length 1 (d); zeros if there is nothing in these groups (None: in any).

    The same leaning gives the same vector in every process and on every machine.
    """
    names = sorted(n for n, w in weights.items() if w and (groups is None or group_of(n) in groups))
    if not names:
        return np.zeros(dimensions, np.float32)
    values = np.array([weights[n] for n in names])
    values /= np.abs(values).max()  # squares of very small or large weights would be lost
    vector = values @ np.array([_signs(name, dimensions) for name in names], float)
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length else vector, np.float32)


@lru_cache(maxsize=65_536)
def _signs(name: str, dimensions: int) -> npt.NDArray[np.int8]:
    """Return the row of a name: signs from a hash, which no library's next version changes."""
    digest = hashlib.shake_256(name.encode("utf-8", "surrogatepass")).digest(-(-dimensions // 8))
    bits = np.unpackbits(np.frombuffer(digest, np.uint8), count=dimensions)
    return (2 * bits.astype(np.int8) - 1).astype(np.int8)
