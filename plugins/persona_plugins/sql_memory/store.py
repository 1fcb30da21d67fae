"""One database, whichever it is: connections, transactions, tables, and errors in the SDK's own terms."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import URL, Connection, Delete, Engine, Table, Update, delete, func, inspect, make_url, select, update
from sqlalchemy.dialects import postgresql as pg_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from persona_plugins.sql_memory import postgres, sqlite
from persona_plugins.sql_memory.tables import EARLIER_VERSIONS, SCHEMA_VERSION, meta, metadata
from persona_sdk.errors import SettingsError, StorageBusyError, StorageError

__all__ = ["Store"]


@dataclass(slots=True)
class _Open:
    """Engines of one process, and the lock under which its threads write to SQLite."""

    pid: int
    reads: Engine
    writes: Engine
    lock: threading.RLock


class Store:
    """Hands out connections to read with and transactions to write in; opened on first use, safe across forks.

    `busy_timeout` is how many seconds to wait for a lock or a free connection before `StorageBusyError`.
    """

    def __init__(self, url: str, *, busy_timeout: float = 5.0) -> None:
        self.url = _parse(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._serial = self.is_sqlite and sqlite.is_in_memory(self.url)
        self._timeout = busy_timeout
        self._opening = threading.Lock()
        self._open: _Open | None = None
        self._closed = False
        # Here rather than later: a missing driver is a mistake in the set-up, not in the first call.
        self._engine: Engine | None = self._make_engine()

    def __repr__(self) -> str:
        return f"Store({self.url.render_as_string(hide_password=True)!r})"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection to read with; every statement sees what was committed when it began."""
        opened = self._opened()
        with self._errors():
            if not self._serial:
                with opened.reads.connect() as connection:
                    yield connection
            else:  # all threads share the only connection there is
                with self._alone(opened.lock), opened.reads.connect() as connection:
                    yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in a transaction: durable when the block ends, undone when it raises."""
        opened = self._opened()
        with self._errors():
            if not self.is_sqlite:
                with opened.writes.begin() as connection:
                    yield connection
            else:  # SQLite has one writer; this process's threads queue here, fairly, rather than poll the file
                with self._alone(opened.lock), opened.writes.begin() as connection:
                    yield connection

    def insert(self, table: Table) -> pg_dialect.Insert:
        """Return an INSERT that knows `on_conflict_do_…`; both databases spell it alike."""
        if self.is_sqlite:
            return sqlite_dialect.insert(table)  # type: ignore[return-value]  # same methods, no common base
        return pg_dialect.insert(table)

    def erase(self, table: Table) -> Update | Delete:
        """Return the statement that erases people's rows of `table`; see `tables` for why it is no plain DELETE."""
        return sqlite.blank(table) if self.is_sqlite else delete(table)

    def purge(self) -> None:
        """Remove from the store's files what was erased before: nothing to do but for an SQLite file."""
        if not self.is_sqlite or self._serial:
            return
        opened = self._opened()
        with self._errors(), self._alone(opened.lock), opened.reads.connect() as connection:
            sqlite.truncate_log(connection, self._timeout)

    def close(self) -> None:
        """Release all connections; the store cannot be used any more."""
        with self._opening:
            self._closed = True
            if self._open is not None and self._open.pid == os.getpid():
                self._open.writes.dispose()
            self._open = self._engine = None

    def _opened(self) -> _Open:
        opened = self._open
        if opened is not None and opened.pid == os.getpid():
            return opened
        with self._opening:
            if self._closed:
                raise StorageError("this memory was closed; make a new one")
            if self._open is None or self._open.pid != os.getpid():
                self._open = self._start(forked=self._open is not None)
            return self._open

    def _start(self, *, forked: bool) -> _Open:
        engine = self._engine
        if engine is None or forked:
            # A connection must not be used on both sides of a fork; the parent goes on with the ones it has.
            if engine is not None:
                engine.dispose(close=False)
            engine = self._engine = self._make_engine()
        with self._errors():
            self._check_tables(engine)
        options = {} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}  # saves two round trips a read
        return _Open(
            pid=os.getpid(),
            reads=engine.execution_options(**options),
            writes=engine.execution_options(writes=True),
            lock=threading.RLock(),
        )

    def _make_engine(self) -> Engine:
        make = sqlite.open_engine if self.is_sqlite else postgres.open_engine
        return make(self.url, self._timeout)

    def _check_tables(self, engine: Engine) -> None:
        with engine.connect() as connection:
            known = inspect(connection).has_table(meta.name)
            found = connection.scalar(_VERSION) if known else None
        if found is None or found in EARLIER_VERSIONS:
            with engine.execution_options(writes=True).begin() as connection:
                if not self.is_sqlite:
                    connection.execute(select(func.pg_advisory_xact_lock(postgres.SCHEMA_LOCK)))
                metadata.create_all(connection)
                row = {"key": "schema", "value": str(SCHEMA_VERSION)}
                connection.execute(self.insert(meta).on_conflict_do_nothing(), row)
                earlier = (meta.c.key == "schema", meta.c.value.in_(EARLIER_VERSIONS))
                connection.execute(update(meta).where(*earlier).values(value=row["value"]))
                found = connection.scalar(_VERSION)
        if found != str(SCHEMA_VERSION):
            raise StorageError(
                f"the database has schema {found}, this persona-sdk knows {SCHEMA_VERSION}: it was written by another "
                "release; upgrade persona-sdk, or use another database"
            )

    @contextmanager
    def _alone(self, lock: threading.RLock) -> Iterator[None]:
        if not lock.acquire(timeout=self._timeout):
            raise StorageBusyError("other threads of this process kept writing; try again")
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        # `from None`: SQLAlchemy's own message and chain would carry SQL, and the driver's may quote values.
        try:
            yield
        except DBAPIError as error:
            translate = sqlite.translate if self.is_sqlite else postgres.translate
            raise translate(error.orig or error, self.url) from None
        except PoolTimeoutError:
            raise StorageBusyError("all connections are in use; try again, or use fewer threads") from None


_VERSION = select(meta.c.value).where(meta.c.key == "schema")


def _parse(given: str) -> URL:
    """Understand a database URL without ever quoting it: it may hold a password."""
    try:
        url = make_url(given)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError):
        raise SettingsError(
            "database_url: is not a database URL; examples: sqlite:///persona.db, postgresql+psycopg://user@host/name"
        ) from None
    if backend == "sqlite":
        return sqlite.resolve(url.set(drivername="sqlite+pysqlite"))
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise SettingsError(f"database_url: {backend!r} is not supported; use sqlite or postgresql")
