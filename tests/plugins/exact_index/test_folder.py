"""What is kept in a folder: one process owns it, a killed one loses nothing, and what is damaged is set aside."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from persona_plugins.exact_index.index import ExactIndex
from persona_sdk.errors import IndexUnavailableError, SettingsError
from persona_sdk.hooks import PluginHost
from persona_sdk.settings import Settings

ONE = np.ones((1, 3), np.float32)
WRITE = """
import sys
import numpy as np
from persona_plugins.exact_index.index import ExactIndex
index = ExactIndex(sys.argv[1])
for at in range(100_000):
    index.put("people", [str(at)], np.ones((1, 3), np.float32), [at])
    print(at, flush=True)
"""


def start(folder):
    return subprocess.Popen([sys.executable, "-c", WRITE, str(folder)], stdout=subprocess.PIPE, text=True)


def test_it_is_there_under_its_name(tmp_path):
    registry = PluginHost(Settings()).registry
    assert isinstance(registry.index("exact"), ExactIndex)
    registry.index(f"exact:{tmp_path / 'index'}").put("people", ["a"], ONE, [1])
    assert list((tmp_path / "index").glob("*.npz"))


def test_what_was_acknowledged_survives_kill_and_another_process_is_refused_until_then(tmp_path):
    with start(tmp_path) as process:
        process.stdout.readline()
        index = ExactIndex(str(tmp_path))
        with pytest.raises(IndexUnavailableError, match="in use by another process"):
            index.count("people")
        process.send_signal(signal.SIGKILL)
        last = int((["0", *process.stdout.read().rpartition("\n")[0].split()])[-1])
    assert {s.stamp for s in index.stamped("people")} >= set(range(last + 1))
    index.close()


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04" + b"x" * 500])
def test_a_damaged_file_is_set_aside(tmp_path, content, caplog):
    index = ExactIndex(str(tmp_path))
    index.put("people", ["a"], ONE, [1])
    index.put("others", ["a"], ONE, [1])
    index.close()
    file = next(f for f in tmp_path.glob("*.npz") if b"people" in f.read_bytes())
    file.write_bytes(content)
    index = ExactIndex(str(tmp_path))
    assert (index.count("people"), index.count("others")) == (0, 1)
    assert file.name in caplog.text
    assert file.with_suffix(".corrupt").read_bytes() == content
    index.put("people", ["b"], ONE, [2])
    assert index.nearest("people", ONE, 5)[0].key == "b"
    index.close()


def test_half_a_file_is_noticed(tmp_path, caplog):
    index = ExactIndex(str(tmp_path))
    index.put("people", [str(i) for i in range(100)], np.ones((100, 3), np.float32), range(100))
    index.close()
    (file,) = tmp_path.glob("*.npz")
    os.truncate(file, file.stat().st_size // 2)
    assert ExactIndex(str(tmp_path)).count("people") == 0
    assert file.name in caplog.text


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError):
        ExactIndex(str(tmp_path / "file"))
    with pytest.raises(IndexUnavailableError, match="cannot be opened"):
        ExactIndex(str(tmp_path / "file" / "index")).count("people")


def test_a_folder_that_is_deleted_meanwhile_is_unavailable(tmp_path):
    index = ExactIndex(str(tmp_path / "index"))
    index.put("people", ["a"], ONE, [1])
    for file in (tmp_path / "index").iterdir():
        file.unlink()
    (tmp_path / "index").rmdir()
    with pytest.raises(IndexUnavailableError, match="cannot be written"):
        index.put("people", ["b"], ONE, [1])
    index.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_does_not_write_what_is_its_parents(tmp_path):
    index = ExactIndex(str(tmp_path))
    index.put("people", ["a"], ONE, [1])
    child = os.fork()
    if not child:
        try:
            index.put("people", ["b"], ONE, [1])
        except IndexUnavailableError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert index.count("people") == 1
    index.close()
