"""A Chroma in a folder of this process: opened on first use, shared by all who name it, left alone by forks."""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

from persona_plugins.chroma_index import files
from persona_plugins.chroma_index.engine import HNSW, PREFIX, Engine, GoneError, Kept
from persona_plugins.chroma_index.gate import Gate
from persona_plugins.chroma_index.lock import OwnerLock
from persona_plugins.chroma_index.probe import damaged
from persona_plugins.chroma_index.rows import Rows
from persona_sdk.errors import IndexUnavailableError, SettingsError
from persona_sdk.index import Found, Stamped, Vectors

__all__ = ["EXACT", "Folder"]

#: Up to how many vectors of a collection are searched exactly: Chroma is faster from here on.
EXACT = 20_000
#: How many vectors are held in memory for that, of all collections together.
_HELD = 100_000
#: For how many seconds a folder that could not be opened is not tried again.
_PAUSE = 5.0

_log = logging.getLogger("persona_sdk")
_DAMAGE = re.compile(r"hnsw|Error finding id|pickle|malformed|not a database", re.IGNORECASE)
_CODE = re.compile(r"\(code: \d+\) [\w ]{1,60}")


@dataclass(slots=True)
class _Open:
    """What there is while a folder is open. `held` are collections in memory, None for those that are too large."""

    lock: OwnerLock
    client: Any
    largest: int
    writing: threading.RLock = field(default_factory=threading.RLock)
    kept: dict[str, Kept] = field(default_factory=dict)
    held: OrderedDict[str, Rows | None] = field(default_factory=OrderedDict)
    damaged: bool = False


class Folder(Engine):
    """The one engine of this process for a folder; see `Engine` for its methods."""

    _all: ClassVar[dict[Path, Folder]] = {}
    _guard: ClassVar[threading.Lock] = threading.Lock()
    _opened_here: ClassVar[bool] = False
    _parent: ClassVar[int | None] = None

    def __init__(self, path: Path, exact: int) -> None:
        self.path, self._exact = path, exact
        self._users: WeakSet[object] = WeakSet()
        self._gate = Gate()
        self._open: _Open | None = None
        self._failed: tuple[float, str] | None = None

    @classmethod
    def at(cls, where: str, user: object, exact: int) -> Folder:
        """Return the engine of a folder, for `user` until it leaves.

        Raises:
            SettingsError: this is a file.
        """
        path = Path(where).expanduser().resolve()
        if path.exists() and not path.is_dir():
            raise SettingsError(f"chroma:{where}: is neither a folder nor the http(s) URL of a server")
        with cls._guard:
            if not cls._all:
                atexit.register(cls._close_all)
                if hasattr(os, "register_at_fork"):
                    os.register_at_fork(after_in_child=cls._after_fork)
            engine = cls._all.setdefault(path, cls(path, exact))
            engine._users.add(user)
            return engine

    def leave(self, user: object) -> None:
        """Close the folder if nobody else uses it."""
        self._users.discard(user)
        if not self._users:
            self.close()

    def close(self) -> None:
        """Release everything; the next use opens it again."""
        with self._gate.alone():
            self._shut()

    def largest(self) -> int:
        """Return how many vectors, or keys, are taken at once."""
        with self._using() as opened:
            return opened.largest

    def find(self, name: str) -> Kept | None:
        """Return a collection, None if there is none."""
        from chromadb.errors import NotFoundError  # noqa: PLC0415 - heavy

        before = self._open
        known = before.kept.get(name) if before is not None else None
        if known is not None:  # whether it is still there is seen when it is used
            return known
        with self._using() as opened:
            try:
                found = opened.client.get_collection(name, embedding_function=None)
            except NotFoundError:
                return None
            return opened.kept.setdefault(name, Kept(found, found.metadata["dimensions"]))

    def make(self, name: str, collection: str, dimensions: int) -> Kept:
        """Return a collection, made if there is none."""
        with self._using() as opened:
            found = opened.client.get_or_create_collection(
                name,
                embedding_function=None,  # Chroma's own would be downloaded
                configuration={"hnsw": HNSW},
                metadata={"collection": collection, "dimensions": dimensions},
            )
            return opened.kept.setdefault(name, Kept(found, found.metadata["dimensions"]))

    def forget(self, name: str) -> None:
        """Forget what is remembered of a collection."""
        with self._using() as opened, opened.writing:
            opened.kept.pop(name, None)
            opened.held.pop(name, None)

    def put(self, name: str, kept: Kept, keys: Sequence[str], rows: Vectors, stamps: Sequence[int]) -> None:
        """Add or replace a batch."""
        with self._changing(name, kept) as held:
            kept.handle.upsert(list(keys), embeddings=rows, metadatas=[{"stamp": stamp} for stamp in stamps])
            if held is not None:
                held.put(keys, rows)

    def remove(self, name: str, kept: Kept, keys: Sequence[str]) -> None:
        """Remove a batch."""
        with self._changing(name, kept) as held:
            kept.handle.delete(ids=list(keys))
            if held is not None:
                held.remove(keys)

    def nearest(self, name: str, kept: Kept, row: Vectors, limit: int) -> list[Found]:
        """Return the nearest, the nearest first."""
        with self._using(kept) as opened:
            held = self._held(opened, name, kept)
            if held is not None:
                return held.nearest(row, limit)
            found = kept.handle.query(query_embeddings=row[None], n_results=limit, include=["distances"])
            return [Found(*pair) for pair in zip(found["ids"][0], _similar(found["distances"][0]), strict=True)]

    def page(self, kept: Kept, offset: int, limit: int) -> list[Stamped]:
        """Return keys with their stamps, from `offset` on."""
        with self._using(kept):
            found = kept.handle.get(limit=limit, offset=offset, include=["metadatas"])
            return [Stamped(key, about["stamp"]) for key, about in zip(found["ids"], found["metadatas"], strict=True)]

    def count(self, kept: Kept) -> int:
        """Return how many vectors there are."""
        with self._using(kept):
            return int(kept.handle.count())

    def drop(self, name: str) -> None:
        """Remove a collection. Chroma leaves the graph's files, and free pages in its database: both go as well."""
        if self.find(name) is None:
            return
        with self._gate.alone():
            if self._open is None:
                return
            try:
                with self._errors(self._open):
                    self._open.client.delete_collection(name)
            except GoneError:
                return
            self._shut(tidy=True)

    def names(self) -> list[str]:
        """Return callers' names of all collections of ours."""
        with self._using() as opened:
            every = opened.client.list_collections()
            return [each.metadata["collection"] for each in every if each.name.startswith(PREFIX)]

    @contextmanager
    def _using(self, kept: Kept | None = None) -> Iterator[_Open]:
        """Give the open folder, opened if need be, and translate what Chroma raises."""
        while True:
            with self._gate.shared():
                opened = self._open
                if opened is not None and not opened.damaged and opened.lock.held():
                    # A handle from before the folder was closed and opened again is of no use.
                    if kept is not None and opened.kept.get(kept.handle.name) is not kept:
                        raise GoneError
                    with self._errors(opened):
                        yield opened
                    return
            with self._gate.alone():
                if self._open is opened:
                    self._shut()
                    self._start()

    @contextmanager
    def _changing(self, name: str, kept: Kept) -> Iterator[Rows | None]:
        """Write alone; give what is held in memory of the collection, which a failure leaves in doubt."""
        with self._using(kept) as opened, opened.writing:
            held, done = opened.held.get(name), False
            try:
                yield held
                done = True
            finally:
                if not done:
                    opened.held.pop(name, None)
                elif held is not None and len(held) > self._exact:
                    opened.held[name] = None

    def _held(self, opened: _Open, name: str, kept: Kept) -> Rows | None:
        """Return a collection that is small enough from memory, None for a larger one."""
        try:
            return opened.held[name]
        except KeyError:
            pass
        if not opened.writing.acquire(blocking=False):
            return None  # while somebody writes, which takes seconds for large batches, the graph is asked
        try:
            if name not in opened.held:
                count = kept.handle.count()
                opened.held[name] = self._load(kept, count) if count <= self._exact else None
                while sum(len(rows or ()) for rows in opened.held.values()) > max(_HELD, self._exact):
                    opened.held.popitem(last=False)
            return opened.held[name]
        finally:
            opened.writing.release()

    def _load(self, kept: Kept, count: int) -> Rows:
        rows = Rows(kept.dimensions)
        for offset in range(0, count, 1000):
            found = kept.handle.get(limit=1000, offset=offset, include=["embeddings"])
            rows.put(found["ids"], found["embeddings"])
        return rows

    def _start(self) -> None:
        if self._failed and time.monotonic() - self._failed[0] < _PAUSE:
            raise IndexUnavailableError(self._failed[1])
        if self._parent is not None:  # Chroma waits for ever for its threads, which were not forked
            raise IndexUnavailableError(
                f"this process was forked from process {self._parent} after that one had used a Chroma folder: start "
                "processes rather than fork them, fork before the first use, or run a Chroma server for all of them"
            )
        lock = OwnerLock(self.path)
        Folder._opened_here = True
        try:
            client = self._examined()
            self._open = _Open(lock, client, client.get_max_batch_size())
            self._failed = None
        except IndexUnavailableError as error:
            self._failed = (time.monotonic(), str(error))
            raise
        finally:
            if self._open is None:
                lock.release()

    def _examined(self) -> Any:
        """Open the folder; what is damaged in it is taken out first, and will have to be built again."""
        bad: list[str] = []
        if files.locked(self.path):
            raise IndexUnavailableError(f"the index {self.path} is in use, by a Chroma server or another program")
        if files.emptied(self.path):
            self._set_aside("its database is empty")
        elif not files.unsealed(self.path):
            bad = damaged(self.path, PREFIX) or []
        client = self._client()
        try:
            for name in bad:
                client.delete_collection(name)
                _log.warning("the index %s: a collection was damaged, and is empty now; rebuild it", self.path)
        except _chroma_errors():
            client.close()
            self._set_aside("a damaged collection cannot be removed")
            client = self._client()
        if bad:
            client.close()
            files.tidy(self.path)
            client = self._client()
        return client

    def _client(self) -> Any:
        import chromadb  # noqa: PLC0415 - heavy
        from chromadb.api.shared_system_client import SharedSystemClient  # noqa: PLC0415 - heavy
        from chromadb.config import Settings  # noqa: PLC0415 - heavy

        for _ in range(2):
            # Neither a .env file of the application nor what is sent home is any business of ours.
            settings = Settings(_env_file=None, anonymized_telemetry=False, is_persistent=True)
            try:
                return chromadb.PersistentClient(self.path, settings=settings)
            except _chroma_errors() as error:
                # What failed to start would be given to the next who opens the folder.
                SharedSystemClient._identifier_to_system.pop(str(self.path), None)
                if not _DAMAGE.search(str(error)):
                    raise IndexUnavailableError(f"the index {self.path} cannot be opened: {_say(error)}") from None
                self._set_aside(_say(error))
        raise IndexUnavailableError(f"the index {self.path} cannot be opened; delete it and build it again")

    def _set_aside(self, why: str) -> None:
        aside = files.set_aside(self.path)
        _log.warning("the index %s was damaged (%s): moved to %s, and starts empty; rebuild it", self.path, why, aside)

    def _shut(self, *, tidy: bool = False) -> None:
        """Close the folder, and seal it unless something is wrong with it. Whoever calls is alone."""
        opened, self._open = self._open, None
        if opened is None:
            return
        try:
            opened.client.close()
            if opened.lock.held() and not opened.damaged:
                if tidy:
                    files.tidy(self.path)
                files.seal(self.path)
        finally:
            opened.lock.release()

    @contextmanager
    def _errors(self, opened: _Open) -> Iterator[None]:
        from chromadb.errors import ChromaError, NotFoundError  # noqa: PLC0415 - heavy

        try:
            yield
        except NotFoundError:
            raise GoneError from None
        except (ChromaError, TypeError, OSError) as error:
            if isinstance(error, IndexUnavailableError):
                raise
            # At the next use the folder is opened anew, and what is damaged is found.
            opened.damaged = _DAMAGE.search(str(error)) is not None
            raise IndexUnavailableError(f"the index {self.path} failed: {_say(error)}; try again") from None

    @classmethod
    def _close_all(cls) -> None:
        for engine in list(cls._all.values()):
            engine.close()

    @classmethod
    def _after_fork(cls) -> None:
        """In the child: what was open is the parent's, and whoever held a lock does not exist here."""
        cls._guard = threading.Lock()
        cls._parent = os.getppid() if cls._opened_here else cls._parent
        for engine in cls._all.values():
            engine._gate, opened, engine._open = Gate(), engine._open, None
            if opened is not None:
                opened.lock.release()  # the parent's hold on it is another file descriptor
                _keep_for_ever(opened.client._server.bindings)


def _keep_for_ever(thing: object) -> None:
    """Never free something, not even when the process ends: Chroma would wait for threads that were not forked."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _chroma_errors() -> type[Exception]:
    from chromadb.errors import ChromaError  # noqa: PLC0415 - heavy

    return ChromaError


def _similar(distances: Sequence[float]) -> list[float]:
    return [min(1.0, max(-1.0, 1.0 - distance)) for distance in distances]


def _say(error: Exception) -> str:
    """Say what is safe to repeat: the kind of error, and the database's own words."""
    found = _CODE.search(str(error))
    return f"{type(error).__name__} {found[0]}" if found else type(error).__name__
