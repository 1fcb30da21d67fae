"""What is particular to SQLite: connections, the log, erasing, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, Update, create_engine, event, update
from sqlalchemy.pool import StaticPool

from persona_sdk.errors import StorageBusyError, StorageError, StorageFullError

__all__ = ["blank", "is_in_memory", "open_engine", "resolve", "translate", "truncate_log"]

_LOG_LIMIT = 64 * 1024 * 1024  # bytes the log may keep after one huge batch

_PAUSE = 0.01  # seconds between tries where SQLite does not wait by itself


def is_in_memory(url: URL) -> bool:
    """Whether `url` means a database without a file."""
    return url.database in (None, "", ":memory:")


def resolve(url: URL) -> URL:
    """Return `url` with an absolute path, so that a later change of directory cannot open a second database."""
    if is_in_memory(url) or str(url.database).startswith("file:"):
        return url
    return url.set(database=str(Path(str(url.database)).expanduser().absolute()))


def open_engine(url: URL, busy_timeout: float) -> Engine:
    """Return an engine for `url`; nothing is opened yet."""
    # isolation_level None: the driver starts no transactions by itself, `_begin` does.
    arguments: dict[str, Any] = {"isolation_level": None, "timeout": busy_timeout}
    if is_in_memory(url):
        arguments["check_same_thread"] = False
        engine = create_engine(url, connect_args=arguments, poolclass=StaticPool, hide_parameters=True)
    else:
        engine = create_engine(url, connect_args=arguments, pool_timeout=busy_timeout, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        _set_up(connection, busy_timeout, in_memory=is_in_memory(url))

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Writers take the lock at once: a transaction that reads first and is upgraded later can deadlock with
        # another one. Readers need no transaction, each of their statements is one.
        if connection.get_execution_options().get("writes"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _set_up(connection: sqlite3.Connection, busy_timeout: float, *, in_memory: bool) -> None:
    connection.execute(f"PRAGMA busy_timeout = {int(busy_timeout * 1000)}")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA temp_store = MEMORY")  # no text in temporary files
    if in_memory:
        return
    deadline = time.monotonic() + busy_timeout
    while True:
        # SQLite does not wait when two processes switch a new file over at once.
        try:
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            if mode != "wal":
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            if _code(error) not in _BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)
    if mode != "wal":
        raise StorageError(
            "the database is on a file system that cannot share memory between processes (a network share?); "
            "put it on a local disk, or use PostgreSQL"
        )
    connection.execute("PRAGMA synchronous = FULL")  # what was acknowledged survives a power cut
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT}")


def blank(table: Table) -> Update:
    """Return the statement that erases rows of `table` in place; the caller adds which ones."""
    return update(table).values({c.name: None for c in table.columns if not c.primary_key})


def truncate_log(connection: Connection, seconds: float) -> None:
    """Move the write-ahead log into the main file and cut it to nothing.

    Raises:
        StorageBusyError: readers of other processes held the log for all of `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
        if not busy:
            return
        if time.monotonic() > deadline:
            raise StorageBusyError(
                "the person's rows are erased, but another process is reading and keeps the write-ahead log from "
                "being cut, where their text still is: call forget again, or close the other process"
            )
        time.sleep(_PAUSE)


_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT}


def _code(error: BaseException) -> int:
    """SQLite's primary result code, 0 when the driver itself complained."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def translate(error: BaseException, url: URL) -> StorageError:
    """Say what an error of the driver means, which file it is about, and what to do; never quote its text."""
    path = url.database or "(in memory)"
    code = _code(error)
    if code in _BUSY:
        return StorageBusyError(f"{path}: another process or thread kept the database locked; try again")
    if code == sqlite3.SQLITE_FULL:
        return StorageFullError(f"{path}: no room left to write, nothing was changed; free some disk space")
    if code in _READ_ONLY:
        return StorageFullError(
            f"{path}: may only be read, nothing was changed; give this process write permission to the file and to "
            "the directory it is in"
        )
    if code == sqlite3.SQLITE_CANTOPEN:
        return _cannot_open(Path(path))
    if code == sqlite3.SQLITE_NOTADB:
        return StorageError(f"{path}: is not an SQLite database; name another file, or move this one away")
    if code in _DAMAGED:
        return StorageError(f"{path}: the database is damaged; restore a backup, or move the file away")
    if code == sqlite3.SQLITE_IOERR:
        return StorageError(f"{path}: the disk failed to read or write; check the disk and its free space")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StorageError(f"{path}: SQLite failed with {name}; nothing was changed")


def _cannot_open(path: Path) -> StorageError:
    parent = path.parent
    try:
        if path.is_dir():
            return StorageError(f"{path}: is a directory; name a file inside it")
        if not parent.is_dir():
            return StorageError(f"{path}: the directory {parent} does not exist; create it first")
    except OSError:
        pass  # not even looking is allowed
    effective = os.access in os.supports_effective_ids
    writable = os.access(parent, os.W_OK | os.X_OK, effective_ids=effective)
    what = "cannot be opened" if writable else f"cannot be opened, {parent} may not be written"
    return StorageFullError(
        f"{path}: {what}; give this process permission to read and write the file and the directory it is in"
    )
