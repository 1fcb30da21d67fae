"""Which adapters are in memory, and what becomes of those that cannot be used."""

import gc
import logging
import threading
import time

import pytest

from persona_sdk.errors import InputError, MissingExtraError, NotFoundError
from persona_sdk.hooks import PluginHost
from persona_sdk.memory import person_key
from persona_sdk.settings import Settings
from tests.plugins.lora import made

pytest.importorskip("torch")


@pytest.fixture
def pool_of(base):
    from persona_plugins.lora.pool import AdapterPool

    def build(adapters, **options):
        return AdapterPool(base, adapters, device="cpu", **options)

    return build


def test_the_least_recently_used_goes_and_one_in_use_never(pool_of, adapters):
    pool = pool_of(adapters)
    sizes = {}
    for name in made.RANKS:
        pool.release(taken := pool.take(name))
        sizes[name] = taken.size
    assert sizes == pool.held() == {name: sizes["cy"] * rank // 2 for name, rank in made.RANKS.items()}
    pool.budget = sizes["ann"] + sizes["bob"]
    pool.release(pool.take("ann"))  # now bob is the one not used for the longest time
    assert list(pool.held()) == ["cy", "ann"]
    ann = pool.take("ann")
    pool.release(pool.take("cy"))
    pool.release(pool.take("bob"))
    assert list(pool.held()) == ["ann", "bob"]  # ann is older than cy, and in use
    pool.budget = 0
    cy = pool.take("cy")
    assert list(pool.held()) == ["ann", "cy"]
    pool.release(ann)
    pool.release(cy)
    assert pool.held() == {}


def test_what_is_in_memory_is_not_read_again(pool_of, adapters):
    pool = pool_of(adapters)
    assert pool.take("ann") is pool.take("ann")


def test_weights_that_went_are_freed(pool_of, adapters):
    import weakref

    pool = pool_of(adapters, budget=0)
    taken = pool.take("ann")
    seen = weakref.ref(taken.modules[next(iter(taken.modules))][0])
    pool.release(taken)
    del taken
    gc.collect()
    assert seen() is None


def test_one_trained_anew_under_its_name_is_read_anew(pool_of, own, base):
    made.add(own, base, "ann", 1)
    pool = pool_of(own)
    before = pool.take("ann")
    assert pool.system("ann") == pool.system("nobody") == ""
    made.add(own, base, "ann", 2, replace=True, like={"system": "New."})
    after = pool.take("ann")
    assert after.folder != before.folder
    assert pool.system("ann") == "New."
    assert list(pool.held()) == ["ann"]
    pool.release(before)
    pool.release(after)


def test_one_replaced_while_it_is_read_is_looked_up_again(pool_of, own, base):
    from persona_plugins.lora.lookup import Lookup

    made.add(own, base, "ann", 1)
    pool = pool_of(own)
    paths = [own.folder / "gone", own.path("ann")]
    pool.lookup = Lookup(type("Slow", (), {"path": lambda _, name: paths.pop(0) if paths[1:] else paths[0],
                                           "usable": own.usable})())  # fmt: skip
    assert pool.take("ann", strict=True).folder == own.path("ann")


def broken(own, base, how):
    folder = made.add(own, base, "ann", 1, like={"people": (made.of(person_key("default", "zoe")),)})
    if how == "damaged":
        (folder / "adapter_model.safetensors").write_bytes(b"no")
    elif how == "of another base":
        own.remove("ann")
        made.add(own, base, "ann", 2, like={"base": made.other_base()})
    elif how == "withdrawn":
        own.forget("default", "zoe")
    elif how == "without a card":
        (folder / "persona_card.json").unlink()
    elif how == "missing":
        own.remove("ann")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("damaged", "damaged"),
        ("of another base", "was trained on another .*, and this is base"),
        ("withdrawn", "somebody who was forgotten"),
        ("without a card", "holds no persona_card"),
        ("missing", "no adapter is named 'ann'"),
    ],
)
def test_what_cannot_be_used_gives_way_to_the_base_with_one_warning(pool_of, own, base, caplog, how, says):
    broken(own, base, how)
    pool = pool_of(own)
    with caplog.at_level(logging.WARNING, "persona_sdk"):
        assert pool.take("ann") is pool.take("ann") is None
    assert [record.getMessage().startswith("adapter 'ann' cannot be used") for record in caplog.records] == [True]
    with pytest.raises((InputError, NotFoundError), match=says):
        pool.take("ann", strict=True)


def test_one_that_is_withdrawn_while_in_memory_is_used_no_more(pool_of, own, base):
    made.add(own, base, "ann", 1, like={"people": (made.of(person_key("default", "zoe")),)})
    pool = pool_of(own)
    pool.release(pool.take("ann"))
    own.forget("default", "zoe")
    assert pool.take("ann") is None
    assert pool.held() == {}


def test_the_hash_of_the_base_may_come_from_elsewhere(pool_of, adapters):
    assert pool_of(adapters, hashed=lambda folder: "f" * 64).take("ann") is None


def test_threads_read_an_adapter_once(pool_of, adapters, monkeypatch):
    from persona_plugins.lora import pool as module

    reads, load = [], module.load

    def slowly(*given):
        reads.append(given[0])
        time.sleep(0.2)
        return load(*given)

    monkeypatch.setattr(module, "load", slowly)
    pool, start = pool_of(adapters), threading.Barrier(8)
    threads = [threading.Thread(target=lambda: (start.wait(), pool.take("ann"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reads == ["ann"]


def test_a_folder_that_is_no_model(tmp_path, adapters):
    from persona_plugins.lora.pool import AdapterPool

    with pytest.raises(InputError, match="cannot be loaded as a transformers model"):
        AdapterPool(tmp_path, adapters)


@pytest.mark.parametrize(("dtype", "is_"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_precision_on_a_processor(pool_of, adapters, dtype, is_):
    pool = pool_of(adapters, dtype=dtype)
    assert str(pool.model.dtype) == f"torch.{is_}"
    assert all(str(down.dtype) == f"torch.{is_}" for down, _ in pool.take("ann").modules.values())


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_a_missing_install_is_named(monkeypatch, missing):
    from persona_plugins.lora import loading

    found = loading.find_spec
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == missing else found(name))
    with pytest.raises(MissingExtraError, match=rf"needs {missing}: pip install 'persona-sdk\[tune\]'"):
        PluginHost(Settings()).registry.chat_model("tuned:x")
