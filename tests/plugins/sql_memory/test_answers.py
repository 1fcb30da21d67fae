"""Answers in the database: beside what an earlier release wrote, from several processes, and across a kill."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from sqlalchemy import create_engine, inspect, text

from persona_plugins.sql_memory.memory import SqlMemory
from persona_plugins.sql_memory.tables import SCHEMA_VERSION, answers, metadata
from persona_sdk.testing.memory_strategies import all_that_is_known, fill, in_threads, said

KEEP_FOR_EVER = """
import sys
from persona_plugins.sql_memory.memory import SqlMemory
memory, name = SqlMemory(sys.argv[1], busy_timeout=30), sys.argv[2]
sys.stdin.readline()
for n in range(int(sys.argv[3])):
    memory.keep_answers("default", "ann", {f"{n}-{k}": f"{name} {n}-{k} " * 50 for k in range(3)})
    print(n, flush=True)
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", KEEP_FOR_EVER, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def as_an_earlier_release_left_it(url: str) -> None:
    """Make a database of schema 1: the same tables but `answers`, and somebody in them."""
    memory = SqlMemory(url)
    fill(memory, "default", "ann", "kept")
    memory.close()
    engine = create_engine(url)
    answers.drop(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE persona_meta SET value = '1' WHERE key = 'schema'"))
    engine.dispose()


def schema(url: str) -> str | None:
    engine = create_engine(url)
    with engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) >= set(metadata.tables)
        found: str | None = connection.scalar(text("SELECT value FROM persona_meta WHERE key = 'schema'"))
    engine.dispose()
    return found


def test_a_database_of_an_earlier_release_gets_the_table(url: str) -> None:
    as_an_earlier_release_left_it(url)
    memory = SqlMemory(url)
    assert [p.summary for p in memory.versions("default", "ann")] == ["kept", "kept"]
    assert memory.recalled("default", "ann", ["a"]) == {}
    memory.keep_answers("default", "ann", {"a": "one"})
    assert memory.recalled("default", "ann", ["a"]) == {"a": "one"}
    assert memory.forget("default", "ann").signals == 1
    memory.close()
    assert schema(url) == str(SCHEMA_VERSION)


def test_many_open_a_database_of_an_earlier_release_at_once(url: str) -> None:
    as_an_earlier_release_left_it(url)

    def work(number: int) -> tuple[object, ...]:
        memory = SqlMemory(url, busy_timeout=30)
        memory.keep_answers("default", "ann", {str(number): "answer"})
        known = all_that_is_known(memory, "default", "ann")
        memory.close()
        return known

    assert len({str(known) for known in in_threads(6, work)}) == 1
    memory = SqlMemory(url)
    assert len(memory.recalled("default", "ann", [str(n) for n in range(6)])) == 6
    memory.close()
    assert schema(url) == str(SCHEMA_VERSION)


def test_two_processes_keep_the_same_digests(url: str) -> None:
    memory = SqlMemory(url)
    memory.append([said("x", "ann")])
    with start(url, "a", "30") as one, start(url, "b", "30") as two:
        for process in (one, two):
            go(process)
        for process in (one, two):
            process.communicate(timeout=60)
        assert (one.returncode, two.returncode) == (0, 0)
    known = memory.recalled("default", "ann", [f"{n}-{k}" for n in range(30) for k in range(3)])
    assert len(known) == 90
    for n in range(30):  # a batch is one transaction: whoever came first has all three
        assert len({known[f"{n}-{k}"][0] for k in range(3)}) == 1
    memory.close()


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_what_was_kept_survives_kill(request: pytest.FixtureRequest, database: str) -> None:
    url: str = request.getfixturevalue(f"{database}_url")
    memory = SqlMemory(url)
    memory.append([said("x", "ann")])
    with start(url, "a", "100000") as process:
        go(process)
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(5)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.read().rpartition("\n")[0].split()
    kept = len(acknowledged)
    assert len(memory.recalled("default", "ann", [f"{n}-{k}" for n in range(kept) for k in range(3)])) == 3 * kept
    memory.close()
