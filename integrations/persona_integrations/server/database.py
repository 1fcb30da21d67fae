"""The gateway's own few rows, in the database that memory is in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

from sqlalchemy import URL, Connection, Engine, Insert, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.schema import CreateTable

from persona_sdk.errors import SettingsError, StorageError

__all__ = ["Database"]


class Database:
    """Transactions on small tables, which are made when they are first used. Safe to share between threads."""

    def __init__(self, url: str) -> None:
        self._url = _parsed(url)
        self._lock = Lock()
        self._engine: Engine | None = None
        self._made: set[str] = set()

    @contextmanager
    def writing(self, table: Table) -> Iterator[Connection]:
        """Give a connection in a transaction in which the table is there.

        Raises:
            StorageError: the database cannot be used.
        """
        try:
            engine = self._opened()
            if table.name not in self._made:
                self._make(engine, table)
            with engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:  # its message may hold the database's password
            raise StorageError(f"the gateway's tables cannot be used ({type(error).__name__})") from None

    def _make(self, engine: Engine, table: Table) -> None:
        # PostgreSQL refuses the second of two that make it at once, "if not exists" or not; then it is there.
        with suppress(IntegrityError, ProgrammingError), engine.begin() as connection:
            connection.execute(CreateTable(table, if_not_exists=True))
        self._made.add(table.name)

    def insert_or_ignore(self, table: Table) -> Insert:
        """Return an INSERT that leaves a row alone which is there already."""
        dialect = sqlite if self._url.get_backend_name() == "sqlite" else postgresql
        statement: Insert = dialect.insert(table).on_conflict_do_nothing()
        return statement

    def close(self) -> None:
        """Release connections; calling it twice is harmless."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None

    def _opened(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = create_engine(self._url, pool_pre_ping=True)
                if self._engine.dialect.name == "sqlite":
                    event.listen(self._engine, "connect", _wait_for_locks)
            return self._engine


def _parsed(given: str) -> URL:
    """Return the database's URL, with the driver that memory uses."""
    try:
        url = make_url(given)
    except ArgumentError:
        raise SettingsError("database_url: is no SQLAlchemy URL") from None
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _wait_for_locks(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA busy_timeout = 5000")
