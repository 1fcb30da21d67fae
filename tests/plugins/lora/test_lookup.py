"""Where adapters and their base are found, also while registries are locked, damaged or changed."""

import logging
import sqlite3
import time
from contextlib import closing

import pytest

from persona_sdk.errors import InputError, NotFoundError, StorageBusyError
from persona_sdk.memory import person_key
from tests.plugins.lora import made

pytest.importorskip("torch")


class Counted:
    """Adapters that count how often they are looked up, and fail if told to."""

    def __init__(self, adapters):
        self.adapters, self.folder, self.looked, self.fails = adapters, adapters.folder, [], None

    def path(self, name):
        self.looked.append(name)
        if self.fails:
            raise self.fails
        return self.adapters.path(name)

    def usable(self, name):
        if self.fails:
            self.looked.append(name)
            raise self.fails
        return self.adapters.usable(name)


@pytest.fixture
def pool_of(base):
    from persona_plugins.lora.pool import AdapterPool

    def build(adapters, **options):
        return AdapterPool(base, adapters, device="cpu", **options)

    return build


def test_a_call_looks_up_once_and_another_soon_after_not_at_all(pool_of, adapters, monkeypatch):
    from persona_plugins.lora import lookup

    counted = Counted(adapters)
    pool = pool_of(counted)
    for _ in range(3):
        pool.system("ann")
        pool.release(pool.take("ann"))
    assert counted.looked == ["ann"]
    monkeypatch.setattr(lookup, "_FRESH", 0.0)
    pool.release(pool.take("ann"))
    assert counted.looked == ["ann", "ann"]


def test_a_registry_that_cannot_be_read_is_asked_once_a_second(pool_of, adapters, caplog, monkeypatch):
    from persona_plugins.lora import lookup

    counted = Counted(adapters)
    pool = pool_of(counted)
    counted.fails = StorageBusyError("another process writes to it")
    with caplog.at_level(logging.WARNING, "persona_sdk"):
        for _ in range(3):
            assert pool.system("ann") == ""
            assert pool.take("ann") is None
        assert pool.take("bob") is None
    assert counted.looked == ["ann"]
    assert len(caplog.records) == 2
    with pytest.raises(StorageBusyError):
        pool.take("ann", strict=True)
    monkeypatch.setattr(lookup, "_FRESH", 0.0)
    counted.fails = None
    assert pool.take("ann").name == "ann"


def test_a_locked_registry_holds_nobody_up(base, own):
    from persona_plugins.lora.chat import TunedChat

    made.add(own, base, "ann", 0)
    chat = TunedChat(own.folder, base=base, max_tokens=2, device="cpu")
    assert chat.invoke("Hi").content
    with closing(sqlite3.connect(own.folder / "registry.db", isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
        start = time.monotonic()
        for _ in range(2):
            assert chat.invoke("Hi", model="ann").response_metadata["adapter"] is None
        assert time.monotonic() - start < 5
        db.execute("ROLLBACK")
    time.sleep(1.05)
    assert chat.invoke("Hi", model="ann").response_metadata["adapter"] == "ann"


def test_what_changes_in_the_registry_is_seen_at_once(pool_of, own, base):
    pool = pool_of(own)
    assert pool.take("ann") is None
    made.add(own, base, "ann", 1)
    pool.release(pool.take("ann", strict=True))
    own.remove("ann")
    with pytest.raises(NotFoundError):
        pool.take("ann", strict=True)


def test_what_is_withdrawn_or_gone_leaves_memory_when_another_is_asked_for(pool_of, own, base, monkeypatch):
    from persona_plugins.lora import pool as module

    monkeypatch.setattr(module, "_LOOK", 0.0)
    zoe = {"people": (made.of(person_key("default", "zoe")),)}
    for seed, name in enumerate(("ann", "bob", "cy", "dan")):
        made.add(own, base, name, seed, like=zoe if name == "ann" else {})
    pool = pool_of(own)
    for name in ("ann", "bob", "cy"):
        pool.system(name)
        pool.release(pool.take(name))
    own.forget("default", "zoe")
    own.remove("bob")
    pool.release(pool.take("dan"))
    assert list(pool.held()) == ["cy", "dan"]
    assert len(pool._systems) == 1


def test_names_that_callers_make_up_fill_no_memory_and_no_log(pool_of, own, caplog):
    from persona_plugins.lora import lookup
    from persona_plugins.lora import pool as module

    pool = pool_of(own)
    with caplog.at_level(logging.WARNING, "persona_sdk"):
        for number in range(max(module._WARNED, lookup._NAMES) + 5):
            assert pool.take(f"n{number}\nforged") is None
        assert pool.take("x" * 100_000) is None
    assert len(pool._warned) == module._WARNED
    assert len(pool.lookup._known) == lookup._NAMES
    assert not any("\n" in record.getMessage() for record in caplog.records)
    assert len(caplog.records[-1].getMessage()) < 2000


def test_what_is_side_by_side_is_dropped_after_a_moment_without_work(chat):
    from concurrent.futures import ThreadPoolExecutor

    chat._served().batcher.announce(2)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: chat.invoke("Hi", model=name), ("ann", "bob")))
    model = chat._served().model
    assert model._shelf.width
    until = time.monotonic() + 10
    while model._shelf.width and time.monotonic() < until:
        time.sleep(0.05)
    assert not model._shelf._modules


def test_rows_of_another_format_are_not_served(base, own, tmp_path, pool_of):
    from persona_plugins.lora.pool import AdapterPool
    from tests.support.tiny import tiny_base

    made.add(own, base, "ann", 0, like={"template": "plain"})
    pool = pool_of(own)
    assert pool.take("ann") is None
    with pytest.raises(InputError, match=r"rows of format plain, .* written as chat"):
        pool.take("ann", strict=True)
    plain = tiny_base(tmp_path / "plain", template=False)
    made.add(own, plain, "bob", 0, like={"template": "plain"})
    made.add(own, plain, "cy", 0)
    pool = AdapterPool(plain, own, device="cpu")
    assert pool.take("bob").name == "bob"
    assert pool.take("cy") is None


# The base


@pytest.fixture
def found(tmp_path, monkeypatch):
    from persona_plugins.lora.serving import base_folder

    monkeypatch.setenv("PERSONA_CACHE", str(tmp_path / "cache"))
    base_folder.cache_clear()
    yield lambda own: base_folder(None, str(own.folder))
    base_folder.cache_clear()


def test_the_base_that_was_recorded_is_used_without_any_card(base, own, found):
    from persona_plugins.lora.chat import TunedChat
    from persona_sdk.tuning.base_record import record

    record(own.folder, "tiny", base, "0" * 64)
    assert found(own) == base
    (own.folder / "registry.db").write_bytes(b"damaged" * 1000)
    assert TunedChat(own.folder, max_tokens=2, device="cpu").invoke("Hi", model="ann").content


def test_a_record_whose_folder_is_gone_gives_way_to_the_cards_and_those_need_no_registry(base, own, found, tmp_path):
    from persona_sdk.tuning.base_record import record

    record(own.folder, "tiny", tmp_path / "gone", "0" * 64)
    made.add(own, base, "ann", 0)
    with pytest.raises(InputError, match="name the folder of base"):
        found(own)
    (tmp_path / "cache/bases").mkdir(parents=True)
    (tmp_path / "cache/bases/base").symlink_to(base)
    assert found(own) == tmp_path / "cache/bases/base"
    (own.folder / "registry.db").write_bytes(b"damaged" * 1000)
    (own.folder / "odd@1").mkdir()
    from persona_plugins.lora.serving import base_folder

    base_folder.cache_clear()
    assert found(own) == tmp_path / "cache/bases/base"


@pytest.mark.parametrize("name", ["../../elsewhere", "/etc", "..", "a\\b", ""])
def test_a_card_leads_nowhere_else(base, own, found, tmp_path, name):
    from persona_sdk.tuning.cards import Base

    (tmp_path / "elsewhere").symlink_to(base)
    made.add(own, base, "ann", 0, like={"base": Base(name=name, sha256="0" * 64)})
    with pytest.raises(InputError, match=r"is no folder's name"):
        found(own)


def test_a_base_with_code_or_pickled_weights_is_refused(base, tmp_path, adapters):
    import json
    import shutil

    from persona_plugins.lora.pool import AdapterPool

    shutil.copytree(base, tmp_path / "base")
    config = json.loads((tmp_path / "base/config.json").read_text())
    kinds = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    (tmp_path / "base/config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": kinds}))
    (tmp_path / "base/own.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w').close()\n")
    with pytest.raises(InputError, match="cannot be loaded"):
        AdapterPool(tmp_path / "base", adapters)
    assert not (tmp_path / "run").exists()
    (tmp_path / "base/model.safetensors").rename(tmp_path / "base/pytorch_model.bin")
    with pytest.raises(InputError, match=r"in \.bin files only, .* save it as safetensors"):
        AdapterPool(tmp_path / "base", adapters)
