"""What is particular to PostgreSQL: connections, and what its errors mean."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, create_engine

from persona_sdk.errors import MissingExtraError, StorageBusyError, StorageError, StorageFullError

__all__ = ["open_engine", "translate"]

#: Held while the tables are created, so that two processes do not try at once. Any number nobody else uses.
SCHEMA_LOCK = 0x70657273


def open_engine(url: URL, busy_timeout: float) -> Engine:
    """Return an engine for `url`; nothing is opened yet.

    Raises:
        MissingExtraError: the driver is not installed.
    """
    arguments: dict[str, Any] = {}
    if "options" not in url.query:
        arguments["options"] = f"-c lock_timeout={int(busy_timeout * 1000)}"
    if "connect_timeout" not in url.query:
        arguments["connect_timeout"] = max(2, round(busy_timeout))
    try:
        return create_engine(
            url,
            connect_args=arguments,
            pool_timeout=busy_timeout,
            pool_pre_ping=True,  # a restarted server costs one round trip, not an error
            hide_parameters=True,
        )
    except ImportError:
        raise MissingExtraError(
            "PostgreSQL needs a driver: pip install 'persona-sdk[postgres]'", plugin="sql_memory"
        ) from None


_BUSY = {
    "55P03": "a lock was held for too long",
    "40P01": "two writers waited for each other",
    "40001": "another writer came first",
    "57014": "the server cancelled the statement",
    "53300": "it has too many connections",
    "57P03": "it is starting or stopping",
}
_NO_WRITE = {
    "53100": "no disk space is left",
    "25006": "it is read-only",
    "42501": "this role may not do that",
}


def translate(error: BaseException, url: URL) -> StorageError:
    """Say what an error of the driver means, which database it is about, and what to do; never quote its text."""
    where = f"PostgreSQL database {url.database or '(default)'} on {url.host or 'the local socket'}"
    state = getattr(error, "sqlstate", None)
    if state in _BUSY:
        return StorageBusyError(f"{where}: {_BUSY[state]}; try again")
    if state in _NO_WRITE:
        return StorageFullError(f"{where}: {_NO_WRITE[state]}, nothing was changed; ask whoever runs the server")
    if state is None:
        return StorageError(
            f"{where}: no connection, or it was lost; check that the server runs and that host, user, password and "
            "database are right"
        )
    return StorageError(f"{where}: the server refused with SQLSTATE {state}; nothing was changed")
