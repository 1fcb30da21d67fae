"""Answered calls in the database: beside what an earlier release wrote, how many are kept, and what stays of them."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, func, inspect, select, text

from persona_plugins.sql_memory.memory import SqlMemory
from persona_plugins.sql_memory.tables import SCHEMA_VERSION, calls, metadata
from persona_sdk.calls import AnsweredCall
from persona_sdk.errors import SettingsError, StorageError
from persona_sdk.testing.memory_strategies import all_that_is_known, answered_call, fill, in_threads, said

MARK = "Zq7-unmistakable"


def schema(url: str) -> str | None:
    engine = create_engine(url)
    with engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) >= set(metadata.tables)
        found: str | None = connection.scalar(text("SELECT value FROM persona_meta WHERE key = 'schema'"))
    engine.dispose()
    return found


def rows(url: str, *, theirs: bool = True) -> int:
    """How many rows the table has: those of somebody, or all of them."""
    engine = create_engine(url)
    with engine.connect() as connection:
        count = select(func.count()).select_from(calls)
        found: int = connection.scalar(count.where(calls.c.person.is_not(None)) if theirs else count) or 0
    engine.dispose()
    return found


def raw(path: Path) -> bytes:
    """All the bytes of a database: the file, its log, and the log's index."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir() if file.name.startswith(path.name))


def keep(memory: SqlMemory, user: str, count: int, text: str = "") -> list[AnsweredCall]:
    made = [answered_call(user, text or f"{user} {n}") for n in range(count)]
    for call in made:
        memory.keep_call(call)
    return made


def found(memory: SqlMemory, made: list[AnsweredCall]) -> list[bool]:
    return [memory.kept_call(c.tenant, c.response_id) == memory.kept_call(c.tenant, c.call_id) == c for c in made]


# Beside what an earlier release wrote


def as_schema_3_left_it(url: str) -> None:
    """Make a database of schema 3: the same tables but `calls`, and somebody in them."""
    memory = SqlMemory(url)
    fill(memory, "default", "ann", "kept")
    memory.close()
    engine = create_engine(url)
    calls.drop(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE persona_meta SET value = '3' WHERE key = 'schema'"))
    engine.dispose()


def test_a_database_of_schema_3_gets_the_table(url: str) -> None:
    as_schema_3_left_it(url)
    memory = SqlMemory(url)
    assert [p.summary for p in memory.versions("default", "ann")] == ["kept", "kept"]
    assert memory.kept_call("default", "r1") is None
    made = keep(memory, "ann", 2)
    assert found(memory, made) == [True, True]
    assert memory.forget("default", "ann").signals == 1
    assert found(memory, made) == [False, False]
    memory.close()
    assert schema(url) == str(SCHEMA_VERSION) == "4"


def test_many_open_a_database_of_schema_3_at_once(url: str) -> None:
    as_schema_3_left_it(url)

    def work(number: int) -> list[AnsweredCall]:
        memory = SqlMemory(url, busy_timeout=30)
        made = keep(memory, "ann", 1, f"from {number}")
        memory.close()
        return made

    made = [call for batch in in_threads(6, work) if isinstance(batch, list) for call in batch]
    memory = SqlMemory(url)
    assert found(memory, made) == [True] * 6
    memory.close()
    assert schema(url) == str(SCHEMA_VERSION)


# How many are kept


def test_the_oldest_calls_are_dropped(url: str) -> None:
    memory = SqlMemory(url, kept_calls=3)
    memory.append([said("x", user) for user in ("ann", "bob")])
    theirs, made = keep(memory, "bob", 2), keep(memory, "ann", 7)
    assert found(memory, made) == [False] * 4 + [True] * 3
    assert memory.related_calls("default", "ann", [], [made[0].before]) == made[:3:-1]
    assert memory.related_calls("default", "ann", [made[3].conversation], []) == []
    again = answered_call("ann", "once more", response_id=made[5].response_id)
    memory.keep_call(again)  # takes the place of an earlier one
    assert found(memory, [made[4], again, made[6]]) == [True] * 3
    assert found(memory, theirs) == [True, True]
    assert rows(url) == 5
    memory.close()
    fewer = SqlMemory(url, kept_calls=1)  # drops the others with the next one
    assert found(fewer, keep(fewer, "ann", 1)) == [True]
    assert rows(url) == 3
    fewer.close()


def test_two_hundred_are_kept(sqlite_url: str) -> None:
    memory = SqlMemory(sqlite_url)
    memory.append([said("x", "ann")])
    assert found(memory, keep(memory, "ann", 203)) == [False] * 3 + [True] * 200
    assert len(memory.related_calls("default", "ann", [], [answered_call("ann", "x").before])) == 16
    memory.close()


@pytest.mark.parametrize("number", [0, -1, True, "200", 10**9])
def test_how_many_must_be_a_number(number: object) -> None:
    with pytest.raises(SettingsError, match="'kept_calls' must be a number above 0"):
        SqlMemory.from_options("sqlite://", {"kept_calls": number})
    with pytest.raises(SettingsError, match="known are busy_timeout, cached_personas, kept_calls"):
        SqlMemory.from_options("sqlite://", {"kept": 1})


def test_of_somebody_without_signals_nothing_is_kept(url: str) -> None:
    memory = SqlMemory(url)
    memory.set_consent("default", "ann", lend=False)  # they are known, and may have been forgotten meanwhile
    assert found(memory, [*keep(memory, "ann", 1), *keep(memory, "bob", 1)]) == [False, False]
    assert rows(url, theirs=False) == 0
    memory.close()


def test_many_keep_calls_of_one_person_at_once(url: str) -> None:
    memory = SqlMemory(url, busy_timeout=30, kept_calls=5)
    memory.append([said("x", "ann")])
    made = [
        call for batch in in_threads(6, lambda _: keep(memory, "ann", 5)) if isinstance(batch, list) for call in batch
    ]
    assert rows(url) == sum(found(memory, made)) == 5
    memory.close()


# What stays of them


@pytest.mark.parametrize("repeats", [1, 20, 3000], ids=["in-page", "half-page", "overflow-pages"])
def test_no_byte_of_a_call_stays(sqlite_url: str, tmp_path: Path, repeats: int) -> None:
    path = tmp_path / "persona.db"
    memory = SqlMemory(sqlite_url, kept_calls=3)
    memory.append([said("x", "ann"), said("x", "bob")])
    memory.keep_call(answered_call("bob", "bystander"))
    for n in range(5):  # two are dropped meanwhile, one is replaced
        fields: dict[str, Any] = {"response_id": f"{MARK}-{n % 4}", "call_id": f"{MARK}-{n}", "gate": MARK}
        memory.keep_call(answered_call("ann", f"{MARK} {n} " * repeats, silent={f"topic:{MARK}": MARK}, **fields))
    assert MARK.encode() in raw(path)  # the test can see what it looks for
    memory.forget("default", "ann")
    assert MARK.encode() not in raw(path)
    assert b"bystander" in raw(path)
    memory.keep_call(answered_call("ann", MARK))
    assert MARK.encode() not in raw(path)
    memory.close()
    assert MARK.encode() not in raw(path)
    assert (rows(sqlite_url), rows(sqlite_url, theirs=False)) == (1, 6)  # erased rows are empty stubs


def test_no_byte_of_a_dropped_call_stays(sqlite_url: str, tmp_path: Path) -> None:
    """Not for good, that is: until the log is cut, it may hold what was there before."""
    memory = SqlMemory(sqlite_url, kept_calls=1)
    memory.append([said("x", user) for user in ("ann", "bob")])
    memory.keep_call(answered_call("ann", MARK * 500))
    memory.keep_call(answered_call("ann", "another"))
    memory.forget("default", "bob")
    assert MARK.encode() not in raw(tmp_path / "persona.db")
    assert b"another" in raw(tmp_path / "persona.db")
    memory.close()


@pytest.mark.parametrize("seed", range(3))
def test_no_byte_of_a_call_stays_among_many_people(sqlite_url: str, tmp_path: Path, seed: int) -> None:
    """Erasing with plain DELETE fails here: SQLite merges the emptied pages, and copies of neighbours' rows remain."""
    memory, chance = SqlMemory(sqlite_url, kept_calls=10), random.Random(seed)
    people = {f"user-{chance.random():.12f}": f"mark-{chance.random():.12f}" for _ in range(40)}
    memory.append([said("x", user) for user in people])
    for user in chance.choices(sorted(people), k=500):
        memory.keep_call(answered_call(user, people[user] * chance.choice([1, 2, 5, 40, 300])))
    gone = chance.sample(sorted(people), 35)
    for place, user in enumerate(gone):
        memory.forget("default", user)
        there = raw(tmp_path / "persona.db")
        assert [known for known in (user, people[user]) if known.encode() in there] == []
        if place % 7 == 0:  # life goes on meanwhile, in the pages that became free
            for other in set(people) - set(gone[: place + 1]):
                memory.keep_call(answered_call(other, people[other] * 20))
    memory.close()
    with sqlite3.connect(tmp_path / "persona.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_rows_of_the_forgotten_are_gone_from_postgres(postgres_url: str) -> None:
    memory = SqlMemory(postgres_url, kept_calls=3)
    memory.append([said("x", "ann"), said("x", "bob")])
    keep(memory, "ann", 5, MARK)
    made = keep(memory, "bob", 1)
    assert rows(postgres_url, theirs=False) == 4
    memory.forget("default", "ann")
    assert rows(postgres_url, theirs=False) == 1
    assert found(memory, made) == [True]
    assert all_that_is_known(memory, "default", "ann")[0] == []
    memory.close()


# Reading them


def test_a_call_changed_by_others(url: str) -> None:
    memory = SqlMemory(url)
    memory.append([said("x", "ann")])
    (call,) = keep(memory, "ann", 1)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE persona_calls SET payload = :payload"), {"payload": f'{{"answer": "{MARK}'})
    engine.dispose()
    for read in (
        lambda: memory.kept_call("default", call.response_id),
        lambda: memory.related_calls("default", "ann", [call.conversation], []),
    ):
        with pytest.raises(StorageError, match="an answered call in the database cannot be read") as caught:
            read()
        assert MARK not in str(caught.value)
    memory.close()


def test_calls_are_found_by_indexes(sqlite_url: str, tmp_path: Path) -> None:
    memory = SqlMemory(sqlite_url)
    memory.append([said("x", "ann")])
    (call,) = keep(memory, "ann", 1)
    asked: list[tuple[str, Any]] = []
    event.listen(memory._store._opened().reads, "before_cursor_execute", lambda *a: asked.append((a[2], a[3])))
    memory.kept_call("default", call.call_id)
    memory.related_calls("default", "ann", [call.conversation], [call.before])
    memory.close()
    connection = sqlite3.connect(tmp_path / "persona.db")
    by_id, related = (str(connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()) for sql, values in asked)
    connection.close()
    assert "SCAN persona" not in by_id + related
    assert "persona_calls_response (scope=? AND response=?)" in by_id
    assert "persona_calls_call (scope=? AND call=?)" in by_id
    assert "persona_calls_person" in related
    assert "TEMP B-TREE" not in related
