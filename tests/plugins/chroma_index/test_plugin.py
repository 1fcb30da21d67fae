"""What is registered, which specs are refused, and what a missing install says."""

import logging
import threading
import time

import numpy as np
import pytest

from persona_plugins.chroma_index import index as module
from persona_plugins.chroma_index.index import ChromaIndex
from persona_sdk.errors import InputError, MissingExtraError, SettingsError
from persona_sdk.hooks import PluginHost
from persona_sdk.settings import Settings


def test_it_is_there_under_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    registry = PluginHost(Settings()).registry
    index = registry.index("chroma")
    assert isinstance(index, ChromaIndex)
    assert registry.index("chroma") is index
    index.put("people", ["a"], np.ones((1, 3), "f4"), [1])
    assert (tmp_path / "persona.index").is_dir()
    index.close()


@pytest.mark.parametrize(
    "where",
    [
        "ftp://host",
        "http://",
        "http://:8000",
        "http://host:port",
        "http://host?x=1",
        "http://me:secret@host",
        "https://x/#y",
    ],
)
def test_what_is_no_server_is_refused_without_quoting_a_password(where):
    with pytest.raises(SettingsError) as refusal:
        ChromaIndex(where)
    assert "secret" not in str(refusal.value)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match="neither a folder nor"):
        ChromaIndex(str(tmp_path / "file"))


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'persona-sdk\[chroma\]'"):
        PluginHost(Settings()).registry.index("chroma:x")


def test_no_embedding_function_is_ever_called(tmp_path, monkeypatch):
    """Chroma's own would be downloaded."""
    from chromadb.utils.embedding_functions import DefaultEmbeddingFunction

    def refuse(self, input):  # noqa: A002 - Chroma looks at the name
        raise AssertionError

    monkeypatch.setattr(DefaultEmbeddingFunction, "__call__", refuse)
    for _ in range(2):
        index = ChromaIndex(str(tmp_path / "index"), exact=-1)
        index.put("people", ["a"], np.ones((1, 3), "f4"), [1])
        assert index.nearest("people", np.ones(3, "f4"), 1)[0].key == "a"
        assert index.collections() == ["people"]
        index.close()


def test_collections_of_others_are_left_alone(tmp_path):
    import chromadb
    from chromadb.config import Settings as ChromaSettings

    folder = str(tmp_path / "index")
    client = chromadb.PersistentClient(folder, ChromaSettings(_env_file=None, anonymized_telemetry=False))
    client.create_collection("others", embedding_function=None).upsert(["x"], embeddings=[[1.0, 2.0]])
    client.close()
    index = ChromaIndex(folder)
    index.put("people", ["a"], np.ones((1, 3), "f4"), [1])
    assert index.collections() == ["people"]
    index.drop("people")
    index.close()
    client = chromadb.PersistentClient(folder, ChromaSettings(_env_file=None, anonymized_telemetry=False))
    found = client.get_collection("others", embedding_function=None).query(query_embeddings=[[1.0, 2.0]], n_results=1)
    assert found["ids"] == [["x"]]
    client.close()


def test_what_is_held_in_memory_is_what_is_on_disk(tmp_path):
    """Writes reach both, growing beyond the bound goes over to the graph, and nothing is lost on the way."""
    rng = np.random.default_rng(2)
    index = ChromaIndex(str(tmp_path / "index"), exact=60)
    kept = {}
    for step in range(12):
        keys = [f"k{i}" for i in rng.choice(150, 10, replace=False)]
        rows = rng.standard_normal((10, 8)).astype("f4")
        index.put("people", keys, rows, [step] * 10)
        kept.update(zip(keys, rows, strict=True))
        gone = keys[:2]
        index.remove("people", gone)
        for key in gone:
            del kept[key]
        assert all(index.nearest("people", row, 1)[0].key == key for key, row in kept.items())
        assert {found.key for found in index.nearest("people", rows[0], 150)} == set(kept)
    assert len(kept) > 60
    assert index._engine._open.held[module.chroma_name("people")] is None
    index.close()


def test_no_more_is_held_in_memory_than_is_bearable(tmp_path, monkeypatch):
    monkeypatch.setattr("persona_plugins.chroma_index.folder._HELD", 25)
    before = list(logging.getLogger("persona_sdk").handlers)
    index = ChromaIndex(str(tmp_path / "index"), exact=10)
    for number in range(5):
        index.put(f"c{number}", [str(i) for i in range(10)], np.eye(10, dtype="f4"), [1] * 10)
    for number in range(5):
        assert index.nearest(f"c{number}", np.eye(10, dtype="f4")[3], 1)[0].key == "3"
        assert sum(len(rows) for rows in index._engine._open.held.values()) <= 25
    assert logging.getLogger("persona_sdk").handlers == before
    index.close()


def test_half_a_surrogate_pair_is_a_callers_mistake(tmp_path):
    index = ChromaIndex(str(tmp_path / "index"))
    one = np.ones((1, 3), "f4")
    for collection, key in (("people", "\ud800"), ("\udfff", "a")):
        with pytest.raises(InputError):
            index.put(collection, [key], one, [1])
    index.put("people", ["a"], one, [1])
    index.remove("people", ["\ud800", ""])
    assert index.count("people") == 1
    assert index.count("\udfff") == 0
    index.close()


def test_a_failed_write_is_not_believed(tmp_path, monkeypatch):
    """What is held in memory is read anew after it: it may have been written or not."""
    index = ChromaIndex(str(tmp_path / "index"))
    index.put("people", ["a"], np.eye(3, dtype="f4")[:1], [1])
    assert index.nearest("people", np.eye(3, dtype="f4")[0], 5)[0].key == "a"
    held = index._engine._open.held[module.chroma_name("people")]
    monkeypatch.setattr(held, "put", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        index.put("people", ["b"], np.eye(3, dtype="f4")[1:2], [1])
    assert index.nearest("people", np.eye(3, dtype="f4")[1], 5)[0].key == "b"
    index.close()


def test_who_asks_does_not_wait_for_who_writes(tmp_path):
    index = ChromaIndex(str(tmp_path / "index"))
    rows = np.random.default_rng(2).standard_normal((5000, 64)).astype("f4")
    index.put("people", [str(i) for i in range(50)], rows[:50], range(50))
    index.nearest("people", rows[0], 1)
    writing = threading.Thread(target=index.put, args=("people", [str(i) for i in range(5000)], rows, range(5000)))
    start = time.perf_counter()
    writing.start()
    time.sleep(0.1)
    asked = time.perf_counter()
    assert index.nearest("people", rows[7], 1)[0].key == "7"
    took = time.perf_counter() - asked
    writing.join()
    assert took < (time.perf_counter() - start) / 3
    assert index.nearest("people", rows[4000], 1)[0].key == "4000"
    index.close()
