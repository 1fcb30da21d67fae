"""`ChromaIndex`: an index kept by ChromaDB. What is passed is checked here, and split into batches Chroma takes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import TypeVar

from persona_plugins.chroma_index.engine import Engine, GoneError, Kept, chroma_name
from persona_plugins.chroma_index.folder import EXACT, Folder
from persona_plugins.chroma_index.server import Server
from persona_sdk.errors import IndexUnavailableError, InputError, MissingExtraError
from persona_sdk.index import Found, Stamped, VectorIndex, Vectors, checked, same_dimensions, unit_rows

__all__ = ["ChromaIndex"]

T = TypeVar("T")

_FOLDER = "persona.index"
_SURROGATE = re.compile("[\ud800-\udfff]")


class ChromaIndex(VectorIndex):
    """An index in a folder ("" is `persona.index`), or on the Chroma server at an http(s) URL; opened on first use.

    A folder belongs to one process at a time, and collections of at most `exact` vectors are also held in memory there
    and searched exactly, which is faster than Chroma for so few. A server is waited for at most `patience` seconds
    (a minute for writes), and after it failed, every call fails at once for `pause` seconds. A token for it is read
    from the environment variable PERSONA_CHROMA_TOKEN and sent as a bearer token.

    Raises:
        SettingsError: `where` is neither a folder nor a URL of a server.
        MissingExtraError: chromadb is not installed.
    """

    def __init__(self, where: str = "", *, exact: int = EXACT, patience: float = 2.0, pause: float = 5.0) -> None:
        if find_spec("chromadb") is None:
            raise MissingExtraError(
                "the index `chroma` needs ChromaDB: pip install 'persona-sdk[chroma]'", plugin="chroma_index"
            )
        self._engine: Engine
        if "://" in where:
            self._engine = Server(where, patience, pause)
        else:
            self._engine = Folder.at(where or _FOLDER, self, exact)
        self._closed = False

    def put(self, collection: str, keys: Sequence[str], vectors: Vectors, stamps: Sequence[int]) -> None:
        """Add vectors, or replace those whose keys are known."""
        rows, numbers = checked(keys, vectors, stamps)
        if any(map(_SURROGATE.search, (collection, *keys))):
            raise InputError("a collection or a key has half a surrogate pair, which is no Unicode", field="keys")
        name = chroma_name(collection)
        if not keys:
            return

        def put() -> None:
            kept = self._live().find(name) or self._engine.make(name, collection, rows.shape[1])
            same_dimensions(kept.dimensions, rows)
            size = self._engine.largest()
            for at in range(0, len(keys), size):
                part = slice(at, at + size)
                self._engine.put(name, kept, keys[part], rows[part], numbers[part])

        self._again(name, put)

    def remove(self, collection: str, keys: Sequence[str]) -> None:
        """Remove vectors; unknown keys are ignored."""

        # Chroma refuses a key that is there twice, and none that is known is empty or no Unicode.
        once = [key for key in dict.fromkeys(keys) if key and not _SURROGATE.search(key)]

        def remove(kept: Kept) -> None:
            size = self._engine.largest()
            for at in range(0, len(once), size):
                self._engine.remove(chroma_name(collection), kept, once[at : at + size])

        self._ask(collection, remove, None)

    def nearest(self, collection: str, vector: Vectors, limit: int) -> list[Found]:
        """Return at most `limit` keys by falling cosine."""
        row = unit_rows(vector)[0]
        if limit < 1 or not row.any():
            return []

        def nearest(kept: Kept) -> list[Found]:
            same_dimensions(kept.dimensions, row)
            return self._engine.nearest(chroma_name(collection), kept, row, limit)

        return self._ask(collection, nearest, [])

    def stamped(self, collection: str) -> Iterator[Stamped]:
        """Iterate over all keys with their stamps; what is removed meanwhile may hide others until the next time."""
        size = self._live().largest()
        for offset in itertools.count(0, size):
            page = self._page(collection, offset, size)
            yield from page
            if len(page) < size:
                return

    def count(self, collection: str) -> int:
        """Return how many vectors there are."""
        return self._ask(collection, self._engine.count, 0)

    def drop(self, collection: str) -> None:
        """Remove a collection and what it takes on disk."""
        self._live().drop(chroma_name(collection))

    def collections(self) -> list[str]:
        """Return the names of the collections there are, sorted."""
        return sorted(self._live().names())

    def close(self) -> None:
        """Release files and connections. Calling it twice is harmless."""
        if not self._closed:
            self._closed = True
            self._engine.leave(self) if isinstance(self._engine, Folder) else self._engine.close()

    def _page(self, collection: str, offset: int, size: int) -> list[Stamped]:
        return self._ask(collection, lambda kept: self._engine.page(kept, offset, size), [])

    def _live(self) -> Engine:
        if self._closed:
            raise IndexUnavailableError("this index was closed; make a new one")
        return self._engine

    def _ask(self, collection: str, question: Callable[[Kept], T], nothing: T) -> T:
        """Ask about a collection; `nothing` is the answer of one that does not exist."""
        name = chroma_name(collection)

        def ask() -> T:
            kept = self._live().find(name)
            return nothing if kept is None else question(kept)

        return self._again(name, ask)

    def _again(self, name: str, work: Callable[[], T]) -> T:
        """Do it once more when the collection turns out to have gone, as it does when a server lost its data."""
        try:
            return work()
        except GoneError:
            self._engine.forget(name)
        try:
            return work()
        except GoneError:
            raise IndexUnavailableError("the collection was removed by somebody else meanwhile; try again") from None
