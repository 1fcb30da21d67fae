"""What a folder and a server have in common: collections under Chroma's names, and batches it takes at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from persona_sdk.index import Found, Stamped, Vectors

__all__ = ["HNSW", "PREFIX", "Engine", "GoneError", "Kept", "chroma_name"]

#: What our collections' names begin with: others may live in the same Chroma.
PREFIX = "persona-"

#: The settings of the graph that Chroma searches, by measurement (benchmarks/bench_neighbours.py). Chroma writes its
#: graph to disk after every `sync_threshold` changes and replays those since at the next start, .4 ms each.
HNSW = {"space": "cosine", "ef_construction": 100, "max_neighbors": 16, "ef_search": 150, "sync_threshold": 2000}


class Kept(NamedTuple):
    """A collection that exists: what the engine knows it by, and the number of dimensions of its vectors."""

    handle: Any
    dimensions: int


class GoneError(Exception):
    """The collection behind a `Kept` is no more."""


def chroma_name(collection: str) -> str:
    """Return the name Chroma knows a collection by: its own rules admit no spaces, and next to no letters."""
    return PREFIX + sha256(collection.encode("utf-8", "surrogatepass")).hexdigest()[:40]


class Engine(ABC):
    """One Chroma. Names are Chroma's; vectors are of length one or zero; failures are `IndexUnavailableError`."""

    @abstractmethod
    def largest(self) -> int:
        """Return how many vectors, or keys, are taken at once."""

    @abstractmethod
    def find(self, name: str) -> Kept | None:
        """Return a collection, None if there is none."""

    @abstractmethod
    def make(self, name: str, collection: str, dimensions: int) -> Kept:
        """Return a collection, made if there is none; `collection` is its name among callers."""

    @abstractmethod
    def forget(self, name: str) -> None:
        """Forget what is remembered of a collection: it turned out to be gone."""

    @abstractmethod
    def put(self, name: str, kept: Kept, keys: Sequence[str], rows: Vectors, stamps: Sequence[int]) -> None:
        """Add or replace a batch."""

    @abstractmethod
    def remove(self, name: str, kept: Kept, keys: Sequence[str]) -> None:
        """Remove a batch; unknown keys are ignored."""

    @abstractmethod
    def nearest(self, name: str, kept: Kept, row: Vectors, limit: int) -> list[Found]:
        """Return the nearest, the nearest first."""

    @abstractmethod
    def page(self, kept: Kept, offset: int, limit: int) -> list[Stamped]:
        """Return keys with their stamps, from `offset` on."""

    @abstractmethod
    def count(self, kept: Kept) -> int:
        """Return how many vectors there are."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Remove a collection, if there is one."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return callers' names of all collections of ours."""

    @abstractmethod
    def close(self) -> None:
        """Release everything."""
