"""What can be wrong with a database, and that people are told which one and what to do."""

from __future__ import annotations

import builtins
import os
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text

from persona_plugins.sql_memory.memory import SqlMemory
from persona_sdk.errors import (
    InputError,
    MissingExtraError,
    SettingsError,
    StorageBusyError,
    StorageError,
    StorageFullError,
)
from persona_sdk.models import Message, Persona
from persona_sdk.signals import Utterance
from persona_sdk.testing.memory_strategies import persona, said

SECRET = "what-someone-said"


def assert_tells(error: BaseException, *parts: str) -> None:
    """The message names `parts` and neither it nor its visible chain quotes people."""
    for part in parts:
        assert part in str(error)
    assert SECRET not in str(error)
    assert error.__suppress_context__
    assert error.__cause__ is None


def test_a_locked_database(sqlite_url: str, tmp_path: Path) -> None:
    memory = SqlMemory(sqlite_url, busy_timeout=0.1)
    memory.append([said("x", "ann")])
    other = sqlite3.connect(tmp_path / "persona.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageBusyError) as caught:
        memory.append([said(SECRET, "ann")])
    assert_tells(caught.value, "persona.db", "try again")
    assert len(memory.signals("default", "ann")) == 1  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    assert memory.append([said("y", "ann")]) == [True]
    memory.close()


def test_threads_wait_for_each_other_only_so_long(sqlite_url: str) -> None:
    memory = SqlMemory(sqlite_url, busy_timeout=0.1)
    memory.append([said("x", "ann")])
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with memory._store.writing():
            holding.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait(30)
    with pytest.raises(StorageBusyError, match="threads"):
        memory.append([said("y", "ann")])
    done.set()
    thread.join()
    assert memory.append([said("y", "ann")]) == [True]
    memory.close()


def test_readers_of_the_only_connection_wait_for_its_transaction() -> None:
    """In memory, a reader would otherwise see, and on leaving undo, what another thread is about to write."""
    memory = SqlMemory("sqlite://", busy_timeout=0.1)
    memory.append([said("x", "ann")])
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with memory._store.writing():
            holding.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait(30)
    with pytest.raises(StorageBusyError):
        memory.signals("default", "ann")
    done.set()
    thread.join()
    assert len(memory.signals("default", "ann")) == 1
    memory.close()


def test_locked_rows_in_postgres(postgres_url: str) -> None:
    memory = SqlMemory(postgres_url, busy_timeout=0.2)
    memory.append([said("x", "ann")])
    engine = create_engine(postgres_url)
    with engine.begin() as other:
        other.execute(text("LOCK TABLE persona_persons IN EXCLUSIVE MODE"))
        with pytest.raises(StorageBusyError) as caught:
            memory.append([said(SECRET, "ann")])
    assert_tells(caught.value, "PostgreSQL database postgres", "try again")
    assert memory.append([said("y", "ann")]) == [True]
    engine.dispose()
    memory.close()


@pytest.fixture
def at_most() -> Iterator[Any]:
    """Set the most pages that databases opened from now on may have."""
    limit = [1_000_000]

    def restrict(connection: Any, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute(f"PRAGMA max_page_count = {limit[0]}")

    event.listen(Engine, "connect", restrict)
    yield limit
    event.remove(Engine, "connect", restrict)


def test_a_full_disk(sqlite_url: str, tmp_path: Path, at_most: list[int]) -> None:
    at_most[0] = 60
    memory = SqlMemory(sqlite_url)
    memory.append([said("x", "ann")])
    with pytest.raises(StorageFullError) as caught:
        memory.append([said(SECRET * 200, f"user {n}") for n in range(300)])
    assert_tells(caught.value, "persona.db", "free some disk space")
    connection = sqlite3.connect(tmp_path / "persona.db")
    for table in ("persons", "names", "signals"):  # all or none, in every table
        assert connection.execute(f"SELECT count(*) FROM persona_{table}").fetchone() == (1,)
    connection.close()
    assert memory.append([said("y", "ann")]) == [True]
    assert memory.forget("default", "ann").signals == 2
    memory.close()


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Give up root's right to read and write everything, for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder whose parents everybody may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder
        folder.chmod(0o777)


def test_a_read_only_file(public_folder: Path) -> None:
    path = public_folder / "persona.db"
    with ordinary_user():
        memory = SqlMemory(f"sqlite:///{path}")
        memory.append([said("x", "ann")])
        memory.close()
        path.chmod(0o444)
        memory = SqlMemory(f"sqlite:///{path}")
        assert len(memory.signals("default", "ann")) == 1
        with pytest.raises(StorageFullError) as caught:
            memory.append([said(SECRET, "ann")])
        assert_tells(caught.value, str(path), "write permission")
        with pytest.raises(StorageFullError):
            memory.forget("default", "ann")
        memory.close()


def test_a_read_only_folder(public_folder: Path) -> None:
    public_folder.chmod(0o555)
    with ordinary_user():
        memory = SqlMemory(f"sqlite:///{public_folder / 'persona.db'}")
        with pytest.raises(StorageFullError) as caught:
            memory.append([said(SECRET, "ann")])
        assert_tells(caught.value, str(public_folder / "persona.db"), "may not be written", "permission")
        memory.close()


@pytest.mark.parametrize("size", [10, 100, 5000])
def test_a_file_that_is_no_database(tmp_path: Path, size: int) -> None:
    path = tmp_path / "persona.db"
    path.write_bytes(b"not a database, " * size)
    memory = SqlMemory(f"sqlite:///{path}")
    with pytest.raises(StorageError) as caught:
        memory.current("default", "ann")
    assert_tells(caught.value, str(path), "not an SQLite database")
    memory.close()
    assert path.read_bytes() == b"not a database, " * size


def test_a_damaged_database(sqlite_url: str, tmp_path: Path) -> None:
    path = tmp_path / "persona.db"
    memory = SqlMemory(sqlite_url)
    memory.append([said(SECRET * 50, f"user {n}") for n in range(200)])
    memory.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    memory = SqlMemory(sqlite_url)
    with pytest.raises(StorageError) as caught:
        list(memory.users("default"))
    assert_tells(caught.value, str(path), "damaged", "backup")
    memory.close()


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    memory = SqlMemory(f"sqlite:///{tmp_path / 'nowhere' / 'persona.db'}")
    with pytest.raises(StorageError) as caught:
        memory.append([said(SECRET, "ann")])
    assert_tells(caught.value, str(tmp_path / "nowhere"), "does not exist", "create it")
    (tmp_path / "nowhere").mkdir()
    assert memory.append([said("x", "ann")]) == [True]  # the same memory works once that is mended
    memory.close()


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is a directory"):
        SqlMemory(f"sqlite:///{tmp_path}").tenants()


def test_a_payload_changed_by_others(sqlite_url: str, tmp_path: Path) -> None:
    memory = SqlMemory(sqlite_url)
    memory.append([said("x", "ann")])
    memory.remember(persona("ann"), {"n": 1})
    other = sqlite3.connect(tmp_path / "persona.db", isolation_level=None)
    other.execute('UPDATE persona_signals SET payload = \'{"kind": "' + SECRET + "\"}'")
    other.execute("UPDATE persona_versions SET persona = 'x', state = 'x'")
    other.close()
    for read in (memory.signals, memory.current, memory.versions, lambda t, u: memory.state(t, u, 1)):
        with pytest.raises(StorageError) as caught:
            read("default", "ann")
        assert_tells(caught.value, "cannot be read")
    memory.close()


def test_a_newer_schema(url: str) -> None:
    memory = SqlMemory(url)
    memory.append([said("x", "ann")])
    memory.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE persona_meta SET value = '99' WHERE key = 'schema'"))
    engine.dispose()
    memory = SqlMemory(url)
    with pytest.raises(StorageError, match=r"schema 99.*knows 4.*upgrade"):
        memory.append([said("y", "ann")])
    memory.close()


def test_a_server_that_is_not_there_and_its_password() -> None:
    memory = SqlMemory("postgresql://ann:hunter2@127.0.0.1:9/persona", busy_timeout=1)
    assert "hunter2" not in repr(memory) + repr(memory._store)
    with pytest.raises(StorageError) as caught:
        memory.append([said(SECRET, "ann")])
    assert_tells(caught.value, "127.0.0.1", "persona", "check that the server runs")
    assert "hunter2" not in str(caught.value)
    memory.close()


def test_a_driver_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_psycopg(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == "psycopg":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **named)

    for module in [m for m in sys.modules if m.split(".")[0] == "psycopg"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", without_psycopg)
    with pytest.raises(MissingExtraError, match=r"persona-sdk\[postgres\]") as caught:
        SqlMemory("postgresql+psycopg://ann:hunter2@host/persona")
    assert_tells(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "given", ["", "persona.db", "mysql://ann:hunter2@host/x", "://ann:hunter2@", "sqlite+x//hunter2"]
)
def test_a_url_that_cannot_be_used(given: str) -> None:
    with pytest.raises(SettingsError, match="database_url") as caught:
        SqlMemory(given)
    assert "hunter2" not in str(caught.value)


def test_what_cannot_be_stored_is_refused(url: str) -> None:
    memory = SqlMemory(url)
    lone = Message(role="user", content=[{"type": "text", "text": "\ud800"}])
    odd = Message(role="user", content=[{"type": "image", "image": object()}])
    from persona_sdk.signals import Rating

    for message in (lone, odd):
        unchecked = Rating.model_construct(user_id="ann", prompt=(message,), response="r", score=1.0)
        with pytest.raises(InputError, match="signal"):
            memory.append([said("x", "ann"), unchecked])
    with pytest.raises(InputError, match="persona"):
        memory.remember(Persona(user_id="ann", summary="\ud800"), None)
    with pytest.raises(InputError, match="state"):
        memory.remember(Persona(user_id="ann"), {"x": object()})
    assert memory.tenants() == []
    assert memory.versions("default", "ann") == []
    assert memory.current("\ud800", "\ud800\x00") is None  # reading about anyone at all is no error
    memory.close()


def test_using_it_after_closing(url: str) -> None:
    memory = SqlMemory(url)
    memory.append([Utterance(user_id="ann", text="x")])
    memory.close()
    with pytest.raises(StorageError, match="closed"):
        memory.tenants()
