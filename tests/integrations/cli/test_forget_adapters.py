"""`persona forget`, when the adapters cannot be told: memory is erased, and it is said what was not done."""

import sqlite3

import pytest

from persona_plugins.sql_memory.memory import SqlMemory
from persona_sdk.tuning import folders, registry
from persona_sdk.tuning.adapters import Adapters
from tests.integrations.cli.conftest import call
from tests.support.adapters import card_of, lora
from tests.support.reading import people


@pytest.fixture
def memory(tmp_path):
    with_user0 = SqlMemory(f"sqlite:///{tmp_path / 'persona.db'}")
    for history in people(2, 4):
        with_user0.append(history.signals)
    yield with_user0
    with_user0.close()


@pytest.fixture
def adapters(tmp_path):
    found = Adapters(tmp_path / "adapters")
    found.add(lora(tmp_path / "made"), card_of("both", ["user0", "user1"]))
    return found


@pytest.mark.parametrize("tailors", ["prompt_prefix", "lora"])
@pytest.mark.parametrize("how", ["damaged", "locked"])
def test_memory_is_erased_though_adapters_cannot_be_told(memory, adapters, monkeypatch, how, tailors):
    monkeypatch.setenv("PERSONA_TAILORS", tailors)
    monkeypatch.setattr(registry, "_PATIENCE", 0.05)
    file = adapters.folder / "registry.db"
    kept = file.read_bytes()
    lock = None
    if how == "damaged":
        file.write_bytes(b"x" * 5000)
    else:
        lock = sqlite3.connect(file, isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
    failed = call("forget", "user0", "--yes")
    assert failed.exit_code == 1
    assert not list(memory.signals("default", "user0"))
    said = " ".join(failed.stderr.split())
    assert "they were erased from memory, but" in said
    assert "the adapters in adapters were NOT told: " in said
    assert "run `persona forget user0 --adapters adapters` again" in said
    if lock is not None:
        lock.close()
    file.write_bytes(kept)
    assert adapters.usable("both")
    assert call("forget", "user0", "--yes", "--adapters", "adapters").exit_code == 0
    assert not adapters.usable("both")


def test_files_that_cannot_be_deleted_are_not_taken_for_adapters_that_were_not_told(memory, adapters, monkeypatch):
    adapters.set_policy("drop")
    monkeypatch.setattr(folders, "remove", lambda folder: False)
    failed = call("forget", "user0", "--yes")
    assert failed.exit_code == 1
    said = " ".join(failed.stderr.split())
    assert "the adapters in adapters were told: " in said
    assert "cannot be deleted" in said


def test_where_memory_fails_adapters_are_told_all_the_same(memory, adapters, monkeypatch):
    from persona_sdk.errors import StorageError

    def broken(*_):
        raise StorageError("persona.db: is damaged")

    monkeypatch.setattr(SqlMemory, "forget", broken)
    failed = call("forget", "user0", "--yes")
    assert (failed.exit_code, "persona.db: is damaged" in failed.stderr) == (1, True)
    assert not adapters.usable("both")


def test_a_folder_without_tuned_models_is_named_to_people_only(memory):
    shown = call("forget", "user0", "--yes")
    assert "No tuned models were found in adapters; --adapters names another folder." in " ".join(shown.stdout.split())
    assert "No tuned models" not in call("forget", "user1", "--yes", "--json").stdout


def test_where_there_are_tuned_models_nothing_is_said_of_others(memory, adapters):
    assert "No tuned models" not in call("forget", "user0", "--yes").stdout
