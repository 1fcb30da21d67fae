"""Which base adapters were trained on last: kept whole, and nothing where it is not known."""

from pathlib import Path

import pytest

from persona_sdk.errors import StorageError
from persona_sdk.tuning.base_record import RECORD, Recorded, record, recorded


def test_what_was_recorded_last_is_known(tmp_path, monkeypatch):
    folder, before = tmp_path / "adapters", Path.cwd()
    assert recorded(folder) is None
    assert not folder.exists()
    record(folder, "local", tmp_path / "one", "1" * 64)
    record(folder, "~/two", Path("two"), "2" * 64)
    monkeypatch.chdir("/")
    assert recorded(folder) == Recorded(base="~/two", folder=before / "two", sha256="2" * 64)
    assert [path.name for path in folder.iterdir()] == [RECORD]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"base": "x"}', b"\xff", b'{"base":"x","folder":1,"sha256":"y"}']
)
def test_what_is_damaged_is_not_known(tmp_path, content):
    (tmp_path / RECORD).write_bytes(content)
    assert recorded(tmp_path) is None


def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    record(tmp_path, "local", tmp_path, "1" * 64)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as held:
        held.setattr(Path, "replace", full)
        with pytest.raises(StorageError, match=r"base.json: cannot be written \(No space left on device\)"):
            record(tmp_path, "other", tmp_path, "2" * 64)
    assert recorded(tmp_path).base == "local"
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]
