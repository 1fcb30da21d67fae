"""Finds near vectors by comparing with every one: exact, without a dependency, right for up to about 20,000 people."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from persona_sdk.errors import IndexUnavailableError, SettingsError
from persona_sdk.index import Found, Stamped, VectorIndex, Vectors, checked, same_dimensions, unit_rows

if sys.platform != "win32":
    import fcntl

__all__ = ["ExactIndex"]

_log = logging.getLogger("persona_sdk")


class _Table(NamedTuple):
    """A collection: `rows` are its vectors at length one. Never changed in place, so whoever reads needs no lock."""

    keys: tuple[str, ...]
    rows: Vectors
    stamps: npt.NDArray[np.int64]

    def without(self, keys: Sequence[str]) -> _Table:
        gone = set(keys)
        kept = np.array([key not in gone for key in self.keys], dtype=bool)
        return _Table(tuple(key for key in self.keys if key not in gone), self.rows[kept], self.stamps[kept])


class ExactIndex(VectorIndex):
    """An index in memory, or in `folder`: a file per collection, which every write replaces as a whole.

    A write therefore takes time in proportion to the collection: some 50 ms at 20,000 vectors of 384 dimensions. One
    process owns a folder, from its first use of it until `close`; another is refused. (On Windows nothing refuses it.)
    """

    def __init__(self, folder: str = "") -> None:
        self._folder = Path(folder).expanduser() if folder else None
        if self._folder and self._folder.exists() and not self._folder.is_dir():
            raise SettingsError(f"exact:{folder}: is no folder")
        self._tables: dict[str, _Table] = {}
        self._lock = threading.RLock()
        self._owner: int | None = None
        self._lock_file = -1
        self._closed = False

    def put(self, collection: str, keys: Sequence[str], vectors: Vectors, stamps: Sequence[int]) -> None:
        """Add vectors, or replace those whose keys are known; the collection's file is written anew."""
        rows, numbers = checked(keys, vectors, stamps)
        new = _Table(tuple(keys), rows, np.array(numbers, dtype=np.int64))
        with self._opened() as tables:
            old = tables.get(collection)
            if old is not None and new.keys:
                same_dimensions(old.rows.shape[1], new.rows)
                old = old.without(keys)
                new = _Table(
                    old.keys + new.keys, np.vstack([old.rows, new.rows]), np.concatenate([old.stamps, new.stamps])
                )
            if keys:
                self._keep(collection, new)

    def remove(self, collection: str, keys: Sequence[str]) -> None:
        """Remove vectors; unknown keys are ignored."""
        with self._opened() as tables:
            if collection in tables:
                self._keep(collection, tables[collection].without(keys))

    def nearest(self, collection: str, vector: Vectors, limit: int) -> list[Found]:
        """Return at most `limit` keys by falling cosine."""
        asked = unit_rows(vector)[0]
        with self._opened() as tables:
            table = tables.get(collection)
        if table is None or limit < 1 or not asked.any():
            return []
        same_dimensions(table.rows.shape[1], asked)
        found = table.rows @ asked
        first = max(0, len(found) - limit)
        best = np.argpartition(found, first)[first:] if first else np.arange(len(found))
        best = best[np.argsort(-found[best], kind="stable")]
        similar = np.clip(found[best], -1.0, 1.0).tolist()
        return [Found(table.keys[i], value) for i, value in zip(best.tolist(), similar, strict=True)]

    def stamped(self, collection: str) -> Iterator[Stamped]:
        """Iterate over all keys with their stamps."""
        with self._opened() as tables:
            table = tables.get(collection)
        if table is not None:
            yield from map(Stamped, table.keys, table.stamps.tolist())

    def count(self, collection: str) -> int:
        """Return how many vectors there are."""
        with self._opened() as tables:
            return len(tables[collection].keys) if collection in tables else 0

    def drop(self, collection: str) -> None:
        """Remove a collection and what it takes on disk."""
        with self._opened() as tables:
            tables.pop(collection, None)
            if self._folder:
                _file(self._folder, collection).unlink(missing_ok=True)

    def collections(self) -> list[str]:
        """Return the names of the collections there are, sorted."""
        with self._opened() as tables:
            return sorted(tables)

    def close(self) -> None:
        """Release files and connections. Calling it twice is harmless."""
        with self._lock:
            self._unlock()
            self._closed, self._tables = True, {}

    @contextmanager
    def _opened(self) -> Iterator[dict[str, _Table]]:
        """Give the collections, read from the folder on first use."""
        with self._lock:
            if self._closed:
                raise IndexUnavailableError("this index was closed; make a new one")
            if self._folder and self._owner is None:
                self._own(self._folder)
            if self._owner not in (None, os.getpid()):
                raise IndexUnavailableError(f"exact:{self._folder} belongs to process {self._owner}, which forked")
            try:
                yield self._tables
            except OSError as error:
                raise IndexUnavailableError(f"exact:{self._folder} cannot be written: {error.strerror}") from error

    def _own(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock_file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            if sys.platform != "win32":
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._tables = dict(kept for file in sorted(folder.glob("*.npz")) if (kept := _read(file)))
            self._owner = os.getpid()
        except BlockingIOError:
            raise IndexUnavailableError(f"exact:{folder} is in use by another process; one at a time owns it") from None
        except IndexUnavailableError:
            raise
        except OSError as error:
            raise IndexUnavailableError(f"exact:{folder} cannot be opened: {error.strerror}") from error
        finally:
            if self._owner is None:
                self._unlock()

    def _unlock(self) -> None:
        if self._lock_file >= 0:
            os.close(self._lock_file)
        self._lock_file = -1

    def _keep(self, collection: str, table: _Table) -> None:
        if self._folder:
            _write(_file(self._folder, collection), collection, table)
        self._tables[collection] = table


def _file(folder: Path, collection: str) -> Path:
    return folder / f"{sha256(collection.encode('utf-8', 'surrogatepass')).hexdigest()}.npz"


def _write(file: Path, collection: str, table: _Table) -> None:
    """Replace a collection's file: whenever the process dies, there is the old one or the new one."""
    names = np.frombuffer(json.dumps([collection, table.keys]).encode(), np.uint8)
    with file.with_suffix(".new").open("wb") as out:
        np.savez(out, names=names, rows=table.rows, stamps=table.stamps)
        out.flush()
        os.fsync(out.fileno())
    file.with_suffix(".new").replace(file)


def _read(file: Path) -> tuple[str, _Table] | None:
    """Return a collection by its name; a file that cannot be read is set aside, for it can be built again."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            collection, keys = json.loads(kept["names"].tobytes())
            return collection, _Table(tuple(keys), kept["rows"], kept["stamps"])
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _log.warning(
            "the index %s was damaged (%s): set aside, its collection starts empty", file, type(error).__name__
        )
        file.replace(file.with_suffix(".corrupt"))
        return None
    except OSError as error:
        raise IndexUnavailableError(f"{file} cannot be read: {error.strerror}") from error
