"""Forgetting, as seen by someone who reads the database's bytes."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from pathlib import Path

import pytest

from persona_plugins.sql_memory.memory import SqlMemory
from persona_sdk.errors import StorageBusyError
from persona_sdk.models import Persona
from persona_sdk.signals import Signal, Utterance
from persona_sdk.testing.memory_strategies import persona, said

SUFFIXES = ("", "-wal", "-shm", "-journal")


def raw(path: Path) -> bytes:
    """All the bytes of a database: the file, its log, and the log's index."""
    files = [Path(f"{path}{suffix}") for suffix in SUFFIXES]
    return b"".join(file.read_bytes() for file in files if file.exists())


def traces(path: Path, *markers: str) -> list[str]:
    """Those markers of which something is in the files, in UTF-8, UTF-16 or as JSON escapes."""
    there = raw(path)
    forms = {m: (m.encode(), m.encode("utf-16-le"), json.dumps(m)[1:-1].encode()) for m in markers}
    return [m for m, encoded in forms.items() if any(form in there for form in encoded)]


def tell(memory: SqlMemory, user: str, marker: str, repeats: int = 1) -> None:
    """Write `marker` wherever text can be written."""
    text = f"{marker} " * repeats
    memory.append([said(text, user, id=f"{user}-{n}", response_id=f"{user}-r") for n in range(3)])
    for _ in range(2):
        memory.remember(persona(user, summary=text, quote=text), {"words": {marker: text}})
        memory.mark_learnt("default", user, 1, text)
    memory.rule("default", user, f"topic:{marker}", "rejected", text)
    memory.rule("default", user, f"topic:{marker}", "pinned", text)
    memory.keep_answers("default", user, {f"{marker} {n}": text for n in range(3)})


@pytest.mark.parametrize("marker", ["Zq7-unmistakable-9w", "Žluťoučký-kůň-ж-\U0001f984"], ids=["ascii", "unicode"])
@pytest.mark.parametrize("repeats", [1, 20, 3000], ids=["in-page", "half-page", "overflow-pages"])
def test_no_byte_stays(sqlite_url: str, tmp_path: Path, marker: str, repeats: int) -> None:
    path = tmp_path / "persona.db"
    memory = SqlMemory(sqlite_url)
    user = f"user-{marker}"
    tell(memory, "someone else", "bystander")
    tell(memory, user, marker, repeats)
    assert traces(path, marker, user) == [marker, user]  # the test can see what it looks for
    assert memory.forget("default", user).signals == 3
    assert traces(path, marker, user) == []
    assert traces(path, "bystander") == ["bystander"]
    memory.close()
    assert traces(path, marker, user) == []


def test_no_byte_stays_among_many_people(sqlite_url: str, tmp_path: Path) -> None:
    """Pages are split and merged by many people's rows of all sizes; none may keep a copy of a neighbour's."""
    path = tmp_path / "persona.db"
    memory = SqlMemory(sqlite_url)
    chance = random.Random(7)
    people = {f"user-{chance.random():.12f}": f"mark-{chance.random():.12f}" for _ in range(80)}
    for turn in range(10):
        batch: list[Signal] = []
        for user in chance.sample(sorted(people), 40):
            text = people[user] * chance.choice([1, 3, 12, 40, 90, 300])
            batch.append(said(text, user))
            if chance.random() < 0.3:
                memory.rule("default", user, f"topic:{turn % 3}:{people[user]}", "rejected", text)
                memory.remember(persona(user, quote=text), {people[user]: text})
            if chance.random() < 0.3:
                memory.keep_answers("default", user, {f"{people[user]} {turn} {n}": text for n in range(3)})
            if chance.random() < 0.3 and memory.progress("default", user):
                memory.mark_learnt("default", user, turn, people[user] * chance.choice([1, 5, 30]))
        memory.append(batch)
    gone = chance.sample(sorted(people), 60)
    for place, user in enumerate(gone):
        memory.forget("default", user)
        assert traces(path, user, people[user]) == []
        if place % 7 == 0:  # life goes on meanwhile, in the pages that became free
            memory.append([said(people[u] * 20, u) for u in people if u not in gone[: place + 1]])
    assert traces(path, *gone, *(people[u] for u in gone)) == []
    left = sorted(set(people) - set(gone))
    assert sorted(memory.users("default")) == left
    assert all(memory.signals("default", user) for user in left)
    memory.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sizes", [(1, 2, 5), (1, 40)], ids=str)
def test_no_byte_stays_when_pages_are_merged(
    sqlite_url: str, tmp_path: Path, seed: int, sizes: tuple[int, ...]
) -> None:
    """Erasing with plain DELETE fails here: SQLite merges the emptied pages, and copies of neighbours' rows remain."""
    memory, chance = SqlMemory(sqlite_url), random.Random(seed)
    people = {f"user-{chance.random():.12f}": f"mark-{chance.random():.12f}" for _ in range(60)}
    for _ in range(40):
        memory.append([said(people[user] * chance.choice(sizes), user) for user in chance.sample(sorted(people), 30)])
    for user in chance.sample(sorted(people), 55):
        memory.forget("default", user)
        assert traces(tmp_path / "persona.db", user, people[user]) == []
    memory.close()


def test_a_reader_that_holds_the_log_is_reported(sqlite_url: str, tmp_path: Path) -> None:
    path = tmp_path / "persona.db"
    memory = SqlMemory(sqlite_url, busy_timeout=0.2)
    tell(memory, "ann", "Zq7-unmistakable")
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM persona_signals").fetchall()
    with pytest.raises(StorageBusyError, match=r"rows are erased.*call forget again"):
        memory.forget("default", "ann")
    assert memory.signals("default", "ann") == []
    assert traces(path, "Zq7-unmistakable") == ["Zq7-unmistakable"]
    reader.execute("COMMIT")
    reader.close()
    assert memory.forget("default", "ann").signals == 0  # unknown by now, and the log is cut all the same
    assert traces(path, "Zq7-unmistakable", "ann-0") == []
    memory.close()


def test_forgetting_leaves_no_growing_log(sqlite_url: str, tmp_path: Path) -> None:
    memory = SqlMemory(sqlite_url)
    tell(memory, "ann", "text")
    memory.forget("default", "ann")
    assert os.path.getsize(f"{tmp_path / 'persona.db'}-wal") == 0
    memory.close()


def test_an_unfinished_iteration_does_not_hold_the_log(sqlite_url: str) -> None:
    memory = SqlMemory(sqlite_url, busy_timeout=0.2)
    memory.append([said("x", f"user {n}") for n in range(1500)])
    users = memory.users("default")
    next(users)
    memory.forget("default", "user 3")
    assert len(list(users)) == 1499  # the first page was read before
    memory.close()


def test_erased_rows_give_their_room_back(sqlite_url: str, tmp_path: Path) -> None:
    memory = SqlMemory(sqlite_url)
    text = "word " * 20_000
    sizes = []
    for n in range(6):
        memory.append([Utterance(user_id=f"u{n}", text=text)])
        memory.remember(Persona(user_id=f"u{n}", summary=text), None)
        memory.forget("default", f"u{n}")
        sizes.append((tmp_path / "persona.db").stat().st_size)
    assert sizes[-1] == sizes[0]
    memory.close()
