"""Processes: one owns a folder, a killed one loses nothing it acknowledged, and a fork leaves its parent's alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from persona_plugins.chroma_index.index import ChromaIndex
from persona_plugins.chroma_index.lock import LOCK
from persona_sdk.errors import IndexUnavailableError

DIMENSIONS = 16
START = """
import sys, time
import numpy as np
from persona_plugins.chroma_index.index import ChromaIndex
vectors = np.random.default_rng(3).standard_normal((20_000, 16)).astype("f4")
index = ChromaIndex(sys.argv[1])
def put(first, last):
    index.put("people", [str(i) for i in range(first, last)], vectors[first:last], range(first, last))
"""
VECTORS = np.random.default_rng(3).standard_normal((20_000, DIMENSIONS)).astype("f4")


def start(script, *arguments):
    command = [sys.executable, "-c", START + script, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(script, *arguments):
    with start(script, *arguments) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


OWN = "put(0, 5)\nprint('owned', flush=True)\nsys.stdin.readline()\n"


def test_another_process_is_refused_and_told_by_whom_and_what_to_do(tmp_path):
    folder = tmp_path / "index"
    with start(OWN, folder) as owner:
        assert owner.stdout.readline() == "owned\n"
        index = ChromaIndex(str(folder))
        with pytest.raises(IndexUnavailableError, match=f"process {owner.pid}.*chroma run --path .*chroma:http://"):
            index.nearest("people", VECTORS[0], 1)
        with pytest.raises(IndexUnavailableError):
            index.put("people", ["x"], VECTORS[:1], [1])
        owner.kill()
    assert index.nearest("people", VECTORS[3], 1)[0].key == "3"
    index.close()


WRITE_FOR_EVER = """
at = int(sys.argv[2])
index.remove("people", [str(i) for i in range(0, at, 10)])
while at + 40 < len(vectors):
    put(at, at + 1 + at % 40)
    at += 1 + at % 40
    print(at, flush=True)
"""


def test_what_was_acknowledged_survives_kill(tmp_path):
    """Removals too: each process begins by removing every tenth of what those before it put."""
    folder, at, chance = tmp_path / "index", 0, random.Random(5)
    gone = 0
    for _ in range(3):
        with start(WRITE_FOR_EVER, folder, at) as process:
            first = process.stdout.readline()
            time.sleep(chance.uniform(0.0, 0.3))
            process.send_signal(signal.SIGKILL)
            gone = at
            at = int((first + process.stdout.read().rpartition("\n")[0]).split()[-1])
    index = ChromaIndex(str(folder))
    wanted = [i for i in range(at) if i >= gone or i % 10]
    assert at > 50
    found = {s.key for s in index.stamped("people")}
    assert {str(i) for i in wanted} <= found
    assert not {str(i) for i in range(0, gone, 10)} & found
    assert all(index.nearest("people", VECTORS[i], 1)[0].key == str(i) for i in wanted)
    index.close()


WRITE_BATCHES = """
at = int(sys.argv[2])
while at + 500 < len(vectors):
    put(at, at + 500)
    at += 500
    print(at, flush=True)
"""


@pytest.mark.slow
def test_a_process_killed_while_the_graph_is_written_leaves_all_or_nothing(tmp_path, monkeypatch):
    """Chroma writes its graph over the old one: what is damaged so is found out, and never ends this process."""
    chance = random.Random(7)
    for turn in range(12):
        folder, at = tmp_path / f"index{turn}", 0
        with start(
            "from persona_plugins.chroma_index import engine\nengine.HNSW['sync_threshold'] = 20\n" + WRITE_FOR_EVER,
            folder,
            0,
        ) as process:
            process.stdout.readline()
            time.sleep(chance.uniform(0.0, 1.0))
            process.send_signal(signal.SIGKILL)
            at = int(([0, *process.stdout.read().rpartition("\n")[0].split()])[-1])
        index = ChromaIndex(str(folder), exact=-1)
        count = index.count("people")
        assert count == 0 or count >= at
        if count:
            assert all(index.nearest("people", VECTORS[i], 1)[0].key == str(i) for i in range(at))
        index.put("people", ["new"], -VECTORS[:1], [1])
        assert index.nearest("people", -VECTORS[0], 1)[0].key == "new"
        index.close()


FORK = """
import os
from persona_sdk.errors import IndexUnavailableError
put(0, 50)
index.nearest("people", vectors[0], 1)
child = os.fork()
if not child:
    for other in (index, index, ChromaIndex(sys.argv[1] + ".other")):
        try:
            other.put("people", ["x"], vectors[:1], [1])
        except IndexUnavailableError as error:
            assert f"forked from process {os.getppid()}" in str(error)
        else:
            sys.exit(3)
    sys.exit(0)
print(os.waitpid(child, 0)[1])
put(50, 100)
assert index.nearest("people", vectors[70], 1)[0].key == "70"
index.close()
if not os.fork():
    try:
        ChromaIndex(sys.argv[1]).count("people")
    except IndexUnavailableError:
        sys.exit(0)
    sys.exit(3)
print(os.wait()[1])
"""


FORK_FIRST = """
import os
if not os.fork():
    put(0, 5)
    sys.exit(0 if index.nearest("people", vectors[3], 1)[0].key == "3" else 3)
print(os.wait()[1])
assert index.count("people") == 5
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_before_the_first_use_is_a_process_like_any_other(tmp_path):
    assert run(FORK_FIRST, tmp_path / "index") == "0\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_leaves_what_is_its_parents(tmp_path):
    """The child is refused, also once the parent has closed it, and ends: Chroma would hang in each of these places."""
    folder = tmp_path / "index"
    assert run(FORK, folder) == "0\n0\n"
    index = ChromaIndex(str(folder))
    assert index.count("people") == 100
    index.close()


def test_all_who_name_a_folder_share_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, other = ChromaIndex(), ChromaIndex(str(tmp_path / "x" / ".." / "persona.index"))
    one.put("people", ["a"], VECTORS[:1], [1])
    assert other.nearest("people", VECTORS[0], 1)[0].key == "a"
    one.close()
    assert other._engine._open is not None
    other.put("people", ["b"], VECTORS[1:2], [1])
    assert other.count("people") == 2
    other.close()
    assert (tmp_path / "persona.index" / "persona.seal").exists()


def test_nothing_is_opened_or_imported_before_it_is_used(tmp_path):
    said = run("print('chromadb' in sys.modules, index)", tmp_path / "index")
    assert said.startswith("False")
    assert not (tmp_path / "index").exists()


def test_a_process_that_ends_closes_what_it_left_open(tmp_path):
    """Then the folder need not be looked through at the next start."""
    folder = tmp_path / "index"
    run("put(0, 5)", folder)
    seal = json.loads((folder / "persona.seal").read_text())
    assert "chroma.sqlite3" in seal
    assert LOCK not in seal


def test_memory_of_threads_is_left_when_a_folder_is_closed_and_opened_often(tmp_path):
    index = ChromaIndex(str(tmp_path / "index"))
    for turn in range(5):
        index.put("people", ["a"], VECTORS[:1], [turn])
        index.drop("people")
        assert index.count("people") == 0
    assert index.collections() == []
    index.close()
