"""The index interface: which of many vectors are nearest to this one? Narrow, so that another engine is a small plugin.

An index is never the truth: it can be deleted at any time and built again from memory, and whoever reads it looks up in
memory what it found. It holds vectors and opaque keys, no text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from persona_sdk.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Found", "Stamped", "VectorIndex", "Vectors", "checked", "same_dimensions", "unit_rows"]

#: Vectors as rows (n × d), single precision. Their length says nothing: only directions are compared.
Vectors: TypeAlias = "npt.NDArray[np.float32]"


class Found(NamedTuple):
    """One of the nearest, and its cosine to what was asked for (−1 … 1)."""

    key: str
    similarity: float


class Stamped(NamedTuple):
    """A key of a collection, and the stamp its vector was put in with."""

    key: str
    stamp: int


class VectorIndex(ABC):
    """Keeps vectors by key in named collections and finds the nearest. Subclass it and register it to add an engine.

    All vectors of a collection have the same number of dimensions, that of the first. A collection that does not exist
    is an empty one, and is made by `put`. Every method is safe to call from several threads. What a writing method has
    acknowledged by returning is found by the next `nearest`, and survives a crash of the process. Failures, a server
    that is away, and files that cannot be read raise `IndexUnavailableError`: callers go on without neighbours.
    """

    @abstractmethod
    def put(self, collection: str, keys: Sequence[str], vectors: Vectors, stamps: Sequence[int]) -> None:
        """Add vectors, or replace those whose keys are known; a batch may be of any size. `stamps` are kept with them.

        Raises:
            InputError: the numbers of keys, vectors and stamps differ, a key is repeated or empty, a number is not
                finite, or the collection's vectors have another number of dimensions. Nothing was put.
        """

    @abstractmethod
    def remove(self, collection: str, keys: Sequence[str]) -> None:
        """Remove vectors; unknown keys are ignored."""

    @abstractmethod
    def nearest(self, collection: str, vector: Vectors, limit: int) -> list[Found]:
        """Return at most `limit` keys by falling cosine to one vector (d, or 1 × d); [] for a vector of zeros."""

    @abstractmethod
    def stamped(self, collection: str) -> Iterator[Stamped]:
        """Iterate over all keys with their stamps, in no particular order, a page at a time."""

    @abstractmethod
    def count(self, collection: str) -> int:
        """Return how many vectors a collection holds."""

    @abstractmethod
    def drop(self, collection: str) -> None:
        """Remove a collection and what it takes on disk."""

    @abstractmethod
    def collections(self) -> list[str]:
        """Return the names of the collections there are, sorted."""

    @abstractmethod
    def close(self) -> None:
        """Release files and connections. Calling it twice is harmless."""


def checked(keys: Sequence[str], vectors: Vectors, stamps: Sequence[int]) -> tuple[Vectors, list[int]]:
    """Return what was passed to `put` as rows of length one and stamps, for engines to keep.

    Raises:
        InputError: it cannot be put, whatever the collection holds.
    """
    import numpy as np  # noqa: PLC0415 - the interface alone is light

    rows = np.asarray(vectors)
    if rows.ndim != 2 or not len(keys) == len(rows) == len(stamps):
        raise InputError("put takes as many keys and stamps as vectors, which are the rows of a matrix")
    if not all(keys) or len(set(keys)) < len(keys):
        raise InputError("put takes every key once, and no empty one", field="keys")
    if not all(-(2**63) <= stamp < 2**63 for stamp in stamps):
        raise InputError("a stamp does not fit into 64 bits", field="stamps")  # some engines would wrap it around
    return unit_rows(rows), [int(stamp) for stamp in stamps]


def unit_rows(vectors: npt.ArrayLike) -> Vectors:
    """Return a vector, or the rows of a matrix, at length one (n × d); zeros stay as they are.

    Raises:
        InputError: a number is not finite.
    """
    import numpy as np  # noqa: PLC0415 - the interface alone is light

    wide = np.atleast_2d(np.asarray(vectors, np.float64))  # the squares of single precision overflow
    if not np.isfinite(wide).all():
        raise InputError("a vector has a number that is not finite", field="vectors")
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    units: Vectors = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0).astype(np.float32)
    return units


def same_dimensions(known: int, rows: Vectors) -> None:
    """Raise an InputError for vectors that have other dimensions than the collection's."""
    if rows.shape[-1] != known:
        raise InputError(f"the collection's vectors have {known} dimensions, not {rows.shape[-1]}", field="vectors")
