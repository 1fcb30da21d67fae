"""Folders that were damaged: nothing ends the process, nothing is silently missing, and writing works again."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from persona_plugins.chroma_index.index import ChromaIndex
from persona_plugins.chroma_index.lock import LOCK
from persona_sdk.errors import IndexUnavailableError

VECTORS = np.random.default_rng(3).standard_normal((2600, 8)).astype("f4")
DATABASE = "chroma.sqlite3"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a collection whose graph is on disk, and a small one whose is not."""
    folder = tmp_path_factory.mktemp("whole") / "index"
    index = ChromaIndex(str(folder))
    index.put("large", [str(i) for i in range(2600)], VECTORS, range(2600))
    index.put("small", ["a"], VECTORS[:1], [1])
    index.close()
    assert list(folder.glob("*/data_level0.bin"))
    return folder


def garbage(file):
    file.write_bytes(np.random.default_rng(1).bytes(file.stat().st_size))


def half(file):
    os.truncate(file, file.stat().st_size // 2)


def empty(file):
    os.truncate(file, 0)


def gone(file):
    shutil.rmtree(file) if file.is_dir() else file.unlink()


USE = """
import logging, sys
import numpy as np
logging.basicConfig(stream=sys.stdout, format="%(message)s")
from persona_plugins.chroma_index.index import ChromaIndex
vectors = np.random.default_rng(3).standard_normal((2600, 8)).astype("f4")
index = ChromaIndex(sys.argv[1], exact=int(sys.argv[2]))
count = index.count("large")
found = sum([f.key for f in index.nearest("large", vectors[i], 1)] == [str(i)] for i in range(0, 2600, 50))
stamped = len(list(index.stamped("large")))
small = index.count("small")
index.put("large", ["new"], -vectors[:1], [1])
assert index.nearest("large", -vectors[0], 1)[0].key == "new"
index.drop("large")
index.put("large", ["new"], -vectors[:1], [1])
index.close()
print(count, stamped, found, small)
"""


def use(folder, exact=-1):
    """Use a folder in a process of its own; return what it logged, and how much it found."""
    command = [sys.executable, "-c", USE, str(folder), str(exact)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    *logged, figures = done.stdout.strip().split("\n")
    return "\n".join(logged), tuple(map(int, figures.split()))


def damage(whole, tmp_path, how, which):
    folder = tmp_path / "index"
    shutil.copytree(whole, folder)
    for file in [folder / which] if which == DATABASE else folder.glob(which):
        how(file)
    return folder


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


def test_a_whole_folder_is_taken_as_it_is(whole, tmp_path):
    folder = damage(whole, tmp_path, lambda file: None, DATABASE)
    assert use(folder) == ("", (2600, 2600, 52, 1))


@pytest.mark.parametrize(
    ("how", "which"), [(garbage, DATABASE), slow(half, DATABASE), (empty, DATABASE), slow(gone, DATABASE)]
)
def test_a_damaged_database_is_moved_aside(whole, tmp_path, how, which):
    folder = damage(whole, tmp_path, how, which)
    logged, found = use(folder)
    assert found == (0, 0, 0, 0)
    assert "index.corrupt-1" in logged
    assert "rebuild" in logged
    assert list((tmp_path / "index.corrupt-1").glob("*/data_level0.bin"))
    assert use(folder) == ("", (1, 1, 0, 0))


@pytest.mark.parametrize(
    ("how", "which"),
    [
        slow(garbage, "*/data_level0.bin"),
        (half, "*/data_level0.bin"),  # Chroma would find some of them without a word, and crash when vectors are read
        slow(empty, "*/data_level0.bin"),
        slow(gone, "*/data_level0.bin"),
        slow(garbage, "*/header.bin"),
        (half, "*/header.bin"),  # Chroma would count them all, and crash when one is searched for
        slow(gone, "*/header.bin"),
        slow(garbage, "*/index_metadata.pickle"),
        (gone, "*/index_metadata.pickle"),  # Chroma would find what came since, and count them all
        slow(gone, "*/link_lists.bin"),
        (gone, "*-*-*-*-*"),
    ],
)
def test_a_damaged_collection_is_emptied_and_others_are_not(whole, tmp_path, how, which):
    folder = damage(whole, tmp_path, how, which)
    logged, found = use(folder)
    assert found == (0, 0, 0, 1)
    assert "rebuild" in logged
    assert not (tmp_path / "index.corrupt-1").exists()


def test_a_process_that_crashed_is_followed_by_one_that_looks(whole, tmp_path):
    """No seal is left, as after kill -9: everything is found to be in order."""
    folder = damage(whole, tmp_path, lambda file: None, DATABASE)
    (folder / "persona.seal").unlink()
    assert use(folder, exact=5000) == ("", (2600, 2600, 52, 1))


def test_a_second_damaged_folder_is_kept_beside_the_first(whole, tmp_path):
    (tmp_path / "index.corrupt-1").mkdir()
    folder = damage(whole, tmp_path, empty, DATABASE)
    assert "index.corrupt-2" in use(folder)[0]


@pytest.mark.parametrize("made_anew", [False, True])
def test_a_folder_deleted_while_it_is_open_is_an_empty_one(tmp_path, made_anew):
    """Also when another process has made one of the same name meanwhile."""
    folder = tmp_path / "index"
    index = ChromaIndex(str(folder))
    index.put("people", ["a", "b"], VECTORS[:2], [1, 2])
    if made_anew:
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / LOCK).touch()
    shutil.rmtree(folder)
    if made_anew:
        (tmp_path / "new").rename(folder)
    assert index.nearest("people", VECTORS[0], 1) == []
    index.put("people", ["c"], VECTORS[2:3], [3])
    assert index.nearest("people", VECTORS[2], 5)[0].key == "c"
    assert index.count("people") == 1
    index.close()


def test_a_database_damaged_while_it_is_open_is_noticed_and_left(tmp_path, caplog):
    index = ChromaIndex(str(tmp_path / "index"))
    index.put("people", ["a", "b"], VECTORS[:2], [1, 2])
    (tmp_path / "index" / DATABASE).write_bytes(b"x" * 100_000)
    with pytest.raises(IndexUnavailableError, match="try again"):
        index.put("people", ["c"], VECTORS[2:3], [3])
    index.put("people", ["c"], VECTORS[2:3], [3])
    assert [f.key for f in index.nearest("people", VECTORS[2], 5)] == ["c"]
    assert "corrupt-1" in caplog.text
    index.close()


def test_what_cannot_be_made_is_unavailable_and_not_damaged(tmp_path):
    (tmp_path / "file").write_text("x")
    index = ChromaIndex(str(tmp_path / "file" / "index"))
    with pytest.raises(IndexUnavailableError, match="cannot be opened"):
        index.count("people")
    index.close()


KEEP_LOCKED = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
"""


def test_a_locked_database_is_unavailable_and_not_damaged(whole, tmp_path):
    """As when a Chroma server was given the same folder."""
    folder = damage(whole, tmp_path, lambda file: None, DATABASE)
    index = ChromaIndex(str(folder))
    command = [sys.executable, "-c", KEEP_LOCKED, str(folder / DATABASE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(IndexUnavailableError):
            index.put("small", ["b"], VECTORS[:1], [1])
        other.kill()
    index._engine._failed = None  # rather than wait until it is tried again
    index.put("small", ["b"], VECTORS[:1], [1])
    assert index.count("small") == 2
    assert not (tmp_path / "index.corrupt-1").exists()
    index.close()


def test_dropping_leaves_nothing_on_disk(tmp_path):
    folder = tmp_path / "index"
    index = ChromaIndex(str(folder))
    keys = [f"key-of-{i:020d}" for i in range(2600)]
    index.put("kept", ["a"], VECTORS[:1], [1])
    index.put("people", keys, VECTORS, range(2600))
    index.close()
    index = ChromaIndex(str(folder))
    graph = max(folder.glob("*/data_level0.bin"), key=lambda file: file.stat().st_size)
    vector = graph.read_bytes()[50_000:50_016]
    assert any(b"key-of-" in file.read_bytes() for file in folder.rglob("*") if file.is_file())
    index.drop("people")
    left = [file for file in folder.rglob("*") if file.is_file()]
    assert not [file for file in left if b"key-of-" in file.read_bytes() or vector in file.read_bytes()]
    assert sum(file.stat().st_size for file in left) < 500_000
    assert index.nearest("kept", VECTORS[0], 1)[0].key == "a"
    index.close()
