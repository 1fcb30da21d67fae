"""Processes that are killed, and processes that write at once."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from persona_plugins.sql_memory.memory import SqlMemory
from persona_sdk.testing.memory_strategies import in_threads, said

APPEND_FOR_EVER = """
import sys
from persona_plugins.sql_memory.memory import SqlMemory
from persona_sdk.models import Persona
from persona_sdk.signals import Utterance
memory, name = SqlMemory(sys.argv[1], busy_timeout=30), sys.argv[2]
n = 0
while True:
    ids = [f"{name}-{n + k}" for k in range(1 + n % 3)]
    memory.append([Utterance(user_id="ann", id=i, text=f"text of {i} " * (1 + n % 500)) for i in ids])
    print(*ids, flush=True)
    n += len(ids)
    if n % 5 == 0:
        version = memory.remember(Persona(user_id="ann", summary=name * n), {"n": n}).version
        print(f"version:{version}", flush=True)
"""

APPEND_BATCHES = """
import sys
from persona_plugins.sql_memory.memory import SqlMemory
from persona_sdk.signals import Utterance
memory, name = SqlMemory(sys.argv[1], busy_timeout=30), sys.argv[2]
sys.stdin.readline()
new = 0
for n in range(25):
    shared = [Utterance(user_id="both", id=f"{n}-{k}", text="shared") for k in range(4)]
    own = [Utterance(user_id=name, text=f"{n}")]
    new += sum(memory.append(shared[:: 1 if name == "a" else -1] + own)) - 1
print(new)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def killed_after(seconds: float, url: str, name: str) -> list[str]:
    """What a writer had acknowledged when it was killed, `seconds` after its first acknowledgement."""
    with start(APPEND_FOR_EVER, url, name) as process:
        assert process.stdout is not None
        acknowledged = process.stdout.readline().split()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        whole_lines = process.stdout.read().rpartition("\n")[0]
        return acknowledged + whole_lines.split()


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_what_was_acknowledged_survives_kill(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> None:
    url = request.getfixturevalue(f"{database}_url")
    chance = random.Random(11)
    acknowledged: list[str] = []
    for turn in range(5):
        acknowledged += killed_after(chance.uniform(0.0, 0.25), url, f"run{turn}")
        memory = SqlMemory(url)
        stored = {s.signal.id: s.signal for s in memory.signals("default", "ann")}
        versions = memory.versions("default", "ann")
        memory.close()
        ids = [a for a in acknowledged if not a.startswith("version:")]
        assert set(ids) <= set(stored)
        # A batch may have been stored and not yet acknowledged, one at most per kill.
        assert len(stored) <= len(ids) + 3 * (turn + 1)
        assert all(s.text.startswith(f"text of {i} ") for i, s in stored.items())  # type: ignore[union-attr]
        assert [v.version for v in versions] == list(range(1, len(versions) + 1))
        assert len(versions) >= sum(a.startswith("version:") for a in acknowledged)
    assert len(acknowledged) > 10
    if database == "sqlite":
        connection = sqlite3.connect(tmp_path / "persona.db")
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()


def test_two_processes_write_at_once(url: str) -> None:
    """Both start on a database without tables, append the same ids in opposite order, and each id is new once."""
    with start(APPEND_BATCHES, url, "a") as one, start(APPEND_BATCHES, url, "b") as two:
        for process in (one, two):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=60)[0] for process in (one, two)]
        assert (one.returncode, two.returncode) == (0, 0)
    memory = SqlMemory(url)
    assert sum(map(int, answers)) == 100
    assert len(memory.signals("default", "both")) == 100
    for name in ("a", "b"):
        texts = [s.signal.text for s in memory.signals("default", name)]  # type: ignore[union-attr]
        assert texts == [str(n) for n in range(25)]
    memory.close()


def test_many_start_at_once_on_a_database_without_tables(url: str) -> None:
    def work(number: int) -> list[bool]:
        memory = SqlMemory(url, busy_timeout=30)
        new = memory.append([said("x", f"user {number}"), said("y", "all", id="same")])
        memory.close()
        return new

    answers = in_threads(8, work)
    assert sorted(answers) == [[True, False]] * 7 + [[True, True]]  # type: ignore[type-var]


def test_a_fork_uses_connections_of_its_own(url: str) -> None:
    """A server that forks its workers after the first use must not share a connection between them."""
    memory = SqlMemory(url)
    memory.append([said("before", "ann")])
    script_done = subprocess.run(
        [sys.executable, "-c", FORK, url], capture_output=True, text=True, timeout=60, check=False
    )
    assert script_done.returncode == 0, script_done.stderr
    assert len(memory.signals("default", "ann")) == 1 + 3 * 20
    memory.close()


FORK = """
import os, sys
from persona_plugins.sql_memory.memory import SqlMemory
from persona_sdk.signals import Utterance
memory = SqlMemory(sys.argv[1], busy_timeout=30)
memory.signals("default", "ann")
children = []
for _ in range(2):
    pid = os.fork()
    if not pid:
        for n in range(20):
            memory.append([Utterance(user_id="ann", text="child")])
        memory.close()
        os._exit(0)
    children.append(pid)
for n in range(20):
    memory.append([Utterance(user_id="ann", text="parent")])
assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
"""
