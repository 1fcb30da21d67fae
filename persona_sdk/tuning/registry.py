"""The database beside the adapters, `registry.db`: what is current, who is given what, and who was forgotten.

It holds no text and no id of a person, only their `person_key`. A connection lives as long as one call, so that threads
and forked processes need not know of each other; SQLite sees to it that processes do not write at once.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

from persona_sdk.errors import StorageBusyError, StorageError, StorageFullError

__all__ = ["REGISTRY", "State", "reading", "writing"]

#: The database's name in the folder of adapters.
REGISTRY = "registry.db"
#: A version's folder is being filled, in use, not to be used, or to be deleted. The first and the last are swept away.
State: TypeAlias = Literal["coming", "usable", "withdrawn", "leaving"]
#: Seconds to wait for a process that writes: it may be copying an adapter from another disk.
_PATIENCE = 60.0
#: Seconds to wait with reading while one does: a chat call reads who is given what, and cannot wait.
_READING = 0.2
_VERSION = 1
_SCHEMA = f"""
CREATE TABLE versions (
    folder TEXT PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, rung TEXT NOT NULL DEFAULT '',
    parent TEXT, owner TEXT
) WITHOUT ROWID;
CREATE UNIQUE INDEX versions_current ON versions (name) WHERE state IN ('usable', 'withdrawn');
CREATE INDEX versions_parent ON versions (parent);
CREATE TABLE holds (key TEXT NOT NULL, folder TEXT NOT NULL, PRIMARY KEY (key, folder)) WITHOUT ROWID;
CREATE INDEX holds_folder ON holds (folder);
CREATE TABLE assigned (
    whose TEXT NOT NULL, step INTEGER NOT NULL, folder TEXT, body TEXT NOT NULL, PRIMARY KEY (whose, step)
) WITHOUT ROWID;
CREATE INDEX assigned_folder ON assigned (folder);
CREATE TABLE forgotten (key TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE marks (
    name TEXT NOT NULL, key TEXT NOT NULL, at REAL NOT NULL, until REAL, PRIMARY KEY (name, key, at)
) WITHOUT ROWID;
CREATE TABLE exported (
    path TEXT NOT NULL, name TEXT NOT NULL, folder TEXT NOT NULL, PRIMARY KEY (path, folder)
) WITHOUT ROWID;
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection | None]:
    """Give a connection to read with, None where there is no registry; it waits a moment for whoever writes.

    Raises:
        StorageBusyError: another process kept the registry for itself for longer than that.
        StorageError: the registry is damaged, or cannot be read.
    """
    file = folder / REGISTRY
    if not file.exists():
        yield None
        return
    with _errors(file), closing(_connected(file, "rw", _READING)) as db:
        if _version(db, file):
            yield db
        else:  # somebody is just making it
            yield None


@contextmanager
def writing(folder: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection that nobody else writes beside, made if need be; an exception leaves all as it was.

    Raises:
        StorageBusyError: another process writes for too long.
        StorageFullError: there is no room, or no permission, to write.
        StorageError: the registry is damaged, or cannot be written.
    """
    file = folder / REGISTRY
    with _errors(file):
        folder.mkdir(parents=True, exist_ok=True)
        with closing(_connected(file, "rwc", _PATIENCE)) as db:
            db.execute("PRAGMA secure_delete = ON")  # a key that was deleted shall not stay in a free page
            db.execute("BEGIN IMMEDIATE")
            try:
                if not _version(db, file):
                    for statement in _SCHEMA.split(";\n"):
                        db.execute(statement)
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")


def _connected(file: Path, mode: str, patience: float) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode={mode}", uri=True, timeout=patience, isolation_level=None)


def _version(db: sqlite3.Connection, file: Path) -> int:
    found = int(db.execute("PRAGMA user_version").fetchone()[0])
    if found > _VERSION:
        raise StorageError(f"{file}: was made by a newer version of persona-sdk; upgrade it")
    return found


@contextmanager
def _errors(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        said = getattr(error, "sqlite_errorname", type(error).__name__)
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StorageBusyError(f"{file}: another process writes to it; try again") from None
        if primary in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
            raise StorageFullError(
                f"{file}: cannot be written or opened ({said}); is there room and permission?"
            ) from None
        if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StorageError(
                f"{file}: is damaged; restore it from a backup. Without one, move the whole folder {file.parent} away,"
                " and train the adapters anew: it alone said who was forgotten, so the old ones must not be used"
            ) from None
        raise StorageError(f"{file}: failed ({said})") from None
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
        kind = StorageFullError if full else StorageError
        why = error.strerror or type(error).__name__
        raise kind(f"{file.parent}: the folder of adapters cannot be read or written ({why})") from None
