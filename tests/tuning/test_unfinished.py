"""Runs that are not finished: gone with somebody who is forgotten, and listed until they are."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from persona_sdk.errors import StorageError
from persona_sdk.tuning import folders
from tests.support.adapters import key


def run(adapters, name, people="", **more):
    """Leave what a killed training leaves."""
    folder = adapters.folder / ".runs" / name
    (folder / "0-dpo/checkpoint-1").mkdir(parents=True)
    (folder / "0-dpo/checkpoint-1/adapter_model.safetensors").write_bytes(b"weights")
    noted = {"keys": [key(user) for user in people], "begun": datetime.now(UTC).isoformat()} | more
    (folder / "run.json").write_text(json.dumps(noted))
    return folder


@pytest.mark.parametrize("policy", ["mark", "retrain", "drop"])
def test_a_run_with_somebody_forgotten_is_deleted_under_every_policy(adapters, policy):
    adapters.begin()
    mine, others = run(adapters, "mine", "ad"), run(adapters, "others", "ab")
    adapters.forget("default", "d", policy)
    assert (mine.exists(), others.exists()) == (False, True)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"keys": "abc"}', '{"keys": [1]}', '{"keys": []}', None])
def test_a_run_that_does_not_say_who_is_in_it_is_deleted(adapters, text):
    adapters.begin()
    odd = run(adapters, "odd")
    if text is None:
        (odd / "run.json").unlink()
    else:
        (odd / "run.json").write_text(text)
    (problem,) = adapters.problems()
    assert problem.startswith(f"{odd}: holds a run that does not say whose signals are in it")
    adapters.forget("default", "d")
    assert not odd.exists()
    assert adapters.problems() == []


def test_a_run_is_listed(adapters):
    adapters.begin()
    (adapters.folder / ".runs").mkdir()
    (adapters.folder / ".runs/stray").write_text("x")
    mine = run(adapters, "mine", "a")
    assert adapters.problems() == [
        f"{mine}: holds weights of a run that did not finish; if it is not at work, start the same training again, or"
        " delete the folder"
    ]


def test_a_run_that_can_never_be_added_goes_with_whatever_is_written_next(adapters, add):
    adapters.begin()
    adapters.forget("default", "d")
    before = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    late, back = run(adapters, "late", "ad", begun=before), run(adapters, "back", "ad")
    adapters.settle("mark")
    assert (late.exists(), back.exists()) == (False, True)  # whoever came back may be trained on


def test_a_run_that_cannot_be_deleted_is_named(adapters, monkeypatch):
    adapters.begin()
    run(adapters, "mine", "d")
    monkeypatch.setattr(folders, "remove", lambda folder: False)
    with pytest.raises(StorageError, match=r"\.runs/mine.*cannot be deleted.*delete it"):
        adapters.forget("default", "d")
    assert adapters.forgotten("default", "d") == {"d"}
