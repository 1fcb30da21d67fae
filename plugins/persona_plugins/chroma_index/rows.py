"""A small collection in one matrix, searched exactly: faster than a graph up to some 20,000 vectors."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from persona_sdk.index import Found, Vectors

__all__ = ["Rows"]


class Rows:
    """Vectors of length one (or zero) by key. Safe to use from several threads."""

    def __init__(self, dimensions: int) -> None:
        self._keys: list[str] = []
        self._at: dict[str, int] = {}
        self._matrix = np.empty((64, dimensions), np.float32)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, keys: Sequence[str], rows: Vectors) -> None:
        """Add vectors, or replace those whose keys are known."""
        with self._lock:
            most = len(self._keys) + len(keys)
            if most > len(self._matrix):
                larger = np.empty((max(most, 2 * len(self._matrix)), self._matrix.shape[1]), np.float32)
                larger[: len(self._keys)] = self._matrix[: len(self._keys)]
                self._matrix = larger
            for key, row in zip(keys, rows, strict=True):
                at = self._at.setdefault(key, len(self._keys))
                if at == len(self._keys):
                    self._keys.append(key)
                self._matrix[at] = row

    def remove(self, keys: Sequence[str]) -> None:
        """Remove vectors; unknown keys are ignored."""
        with self._lock:
            for key in keys:
                at = self._at.pop(key, None)
                if at is None:
                    continue
                last = self._keys.pop()
                if last != key:  # the last one takes its place
                    self._keys[at], self._at[last] = last, at
                    self._matrix[at] = self._matrix[len(self._keys)]

    def nearest(self, row: Vectors, limit: int) -> list[Found]:
        """Return the nearest to a vector of length one, the nearest first."""
        with self._lock:
            found = self._matrix[: len(self._keys)] @ row
            first = max(0, len(found) - limit)
            best = np.argpartition(found, first)[first:] if first else np.arange(len(found))
            best = best[np.argsort(-found[best], kind="stable")]
            similar = np.clip(found[best], -1.0, 1.0).tolist()
            return [Found(self._keys[i], value) for i, value in zip(best.tolist(), similar, strict=True)]
