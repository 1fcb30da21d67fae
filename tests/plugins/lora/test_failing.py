"""What fails, fails for whom it concerns, and everybody is told."""

import asyncio
import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from persona_plugins.lora.batching import Asked, Batcher
from persona_plugins.lora.sampling import Sampling
from persona_sdk.errors import InputError, ModelError, PersonaError
from tests.plugins.lora import made

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("hot", [{}, {"temperature": 1.0, "seed": 1}], ids=["greedy", "drawn"])
def test_an_adapter_whose_numbers_run_away_fails_its_own_rows_only(chat, monkeypatch, hot):
    alone, here = chat.invoke("Why?", model="ann", **hot).content, chat._served()
    bob, started = here.pool.take("bob"), here.batcher.steps
    name, (_, up) = next(item for item in bob.modules.items() if item[0].endswith("down_proj"))
    monkeypatch.setitem(bob.modules, name, (bob.modules[name][0], up * 1e38))
    with ThreadPoolExecutor(3) as pool:
        here.batcher.announce(3)
        asked = [pool.submit(chat.invoke, "Why?", model=who, **hot) for who in ("ann", "bob", "ann")]
    with pytest.raises(ModelError, match="adapter bob ran away") as failed:
        asked[1].result()
    assert "train it anew" in str(failed.value)
    assert [asked[0].result().content, asked[2].result().content] == [alone, alone]
    assert here.batcher.steps - started == 12  # they were one batch
    with pytest.raises(ModelError, match="adapter bob ran away"):
        chat.log_likelihoods([([{"role": "user", "content": "Why?"}], "So.")], "bob")
    here.pool.release(bob)
    assert here.pool._uses == {}


def test_the_base_may_run_away_too_and_words_that_are_never_said_are_no_harm():
    from persona_plugins.lora.batching import _ran_away
    from persona_plugins.lora.sampling import chosen, generator

    logits = torch.tensor([[1.0, -math.inf, 2.0], [1.0, math.nan, 2.0], [1.0, 2.0, math.inf], [-math.inf] * 3])
    for heat in (0.0, 1e-9):
        how = [(Sampling(temperature=heat), generator(1))] * 4
        assert chosen(logits, how) == [2, None, None, None]
    assert "adapter" not in _ran_away(Asked([1], None, Sampling(), print))


def test_a_model_that_fails_fails_that_batch_only(chat, monkeypatch):
    here = chat._served()

    def fail(*args, **more):
        raise RuntimeError("it was asked: secret")

    with monkeypatch.context() as patched:
        patched.setattr(here.model.model, "forward", fail)
        with ThreadPoolExecutor(3) as pool:
            failures = [pool.submit(chat.invoke, "secret", model="ann") for _ in range(3)]
        for failure in failures:
            with pytest.raises(ModelError, match="the model failed") as failed:
                failure.result()
            assert "secret" not in str(failed.value)
    assert chat.invoke("Hi", model="ann").content
    assert here.pool._uses == {}


def test_rows_that_failed_while_they_were_written_are_computed_no_more(chat, monkeypatch):
    model, seen = chat._served().model.model, []
    forward = model.forward

    def fails_later(*args, **more):
        seen.append(tuple(more["input_ids"].shape))
        if len(seen) == 3:
            raise RuntimeError("no memory")
        return forward(*args, **more)

    monkeypatch.setattr(model, "forward", fails_later)
    with pytest.raises(ModelError, match="the model failed"):
        chat.invoke("Hi", model="ann")
    assert chat.invoke("Hi", model="ann").usage_metadata["output_tokens"] == 12
    assert [rows for rows, _ in seen] == [1] * 15


# An interrupt ends the thread, as it should; the next call starts another. Who came while it ended is told that.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", [MemoryError, AssertionError, ImportError, OSError, KeyboardInterrupt, SystemExit])
def test_whatever_is_raised_everybody_is_told_and_the_next_is_answered(chat, monkeypatch, error):
    here = chat._served()

    def fail(*args, **more):
        raise error("secret")

    with monkeypatch.context() as patched:
        patched.setattr(here.model.model, "forward", fail)
        with ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(chat.invoke, "Hi", model="ann") for _ in range(3)]
            for one in asked:
                with pytest.raises(ModelError, match=r"the model failed: |that computes has ended") as raised:
                    one.result(timeout=20)
                assert "secret" not in str(raised.value)
    assert chat.invoke("Hi", model="ann").content
    assert here.pool._uses == {}


def test_one_who_cannot_be_told_does_not_keep_others_from_being_told(chat, monkeypatch):
    here, told, both = chat._served(), [], threading.Event()
    batcher = Batcher(here.model, here.speech, here.context, gather=0.2)

    def cannot(part):
        raise ValueError("no queue")

    def fail(*args, **more):
        raise MemoryError

    def tell(part):
        told.append(part)
        both.set()

    monkeypatch.setattr(here.model.model, "forward", fail)
    batcher.announce(2)
    batcher.ask(Asked([5], None, Sampling(), cannot))
    batcher.ask(Asked([6], None, Sampling(), tell))
    assert both.wait(20)
    assert "MemoryError" in str(told[0].error)
    batcher.close()


def test_a_thread_that_cannot_be_started_is_tried_again(chat, monkeypatch):
    from persona_plugins.lora import batching

    here, told = chat._served(), threading.Event()
    batcher = Batcher(here.model, here.speech, here.context)

    class Full(threading.Thread):
        def start(self):
            raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(batching, "Thread", Full)
        with pytest.raises(ModelError, match="no thread can be started"):
            batcher.ask(Asked([5], None, Sampling(), print))
    assert not batcher._waiting
    batcher.ask(Asked([5], None, Sampling(max_tokens=1), lambda part: told.set()))
    assert told.wait(20)
    batcher.close()


def changed(folder, **config):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("x", "cannot be read as a LoRA adapter"),
        ([1], "cannot be read as a LoRA adapter"),
        (math.nan, "lora_alpha makes them so"),
        (math.inf, "lora_alpha makes them so"),
        ("deep", "cannot be read as a LoRA adapter"),
        ("large", "lora_alpha makes them so"),
        ("empty rank", "cannot be read as a LoRA adapter"),
    ],
    ids=str,
)
def test_what_an_adapter_holds_that_it_should_not_is_no_error_of_the_call(base, own, how, says):
    from safetensors.torch import load_file, save_file

    from persona_plugins.lora.chat import TunedChat

    folder = made.add(own, base, "ann", 0, lora_alpha=32)
    file = folder / "adapter_model.safetensors"
    if how == "deep":
        (folder / "adapter_config.json").write_text('{"a":' * 100_000)
    elif how == "large":
        save_file({k: t.fill_(3e38) if "lora_B" in k else t for k, t in load_file(file).items()}, file)
    elif how == "empty rank":
        cut = {"A": lambda t: t[:0], "B": lambda t: t[:, :0]}
        save_file({k: cut[k.split("lora_")[1][0]](t).contiguous() for k, t in load_file(file).items()}, file)
    else:
        changed(folder, lora_alpha=how)
    chat = TunedChat(own.folder, base=base, max_tokens=2, device="cpu")
    assert chat.invoke("Hi", model="ann").response_metadata["adapter"] is None
    with pytest.raises(InputError, match=says):
        chat.model_copy(update={"strict": True}).invoke("Hi", model="ann")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 GB")],
    ids=["python", "cuda", "torch"],
)
def test_where_memory_is_short_what_nobody_uses_goes_first(base, adapters, monkeypatch, error):
    from persona_plugins.lora import weights
    from persona_plugins.lora.pool import AdapterPool

    pool, ready, free = AdapterPool(base, adapters, device="cpu"), weights._ready, []

    def short(*given):
        if not free:
            raise error
        return ready(*given)

    bob, ann = pool.take("bob"), pool.take("ann")
    pool.release(ann)
    monkeypatch.setattr(weights, "_ready", short)
    assert pool.take("cy") is None
    assert list(pool.held()) == ["bob"]  # in use
    with pytest.raises(InputError, match="no memory left for it"):
        pool.take("cy", strict=True)
    made_room = pool._make_room
    monkeypatch.setattr(pool, "_make_room", lambda *given: (free.append(1), made_room(*given)))
    assert pool.take("cy").name == "cy"
    pool.release(bob)


def test_a_base_that_cannot_be_read_any_more_is_no_error_of_the_call(base, adapters):
    from persona_plugins.lora.pool import AdapterPool

    def gone(folder):
        raise FileNotFoundError(2, "No such file or directory")

    pool = AdapterPool(base, adapters, device="cpu", hashed=gone)
    assert pool.take("ann") is None


def test_a_call_that_cannot_be_begun_keeps_no_adapter(chat, monkeypatch):
    from persona_plugins.lora import batching

    def fail(seed):
        raise TypeError("no")

    monkeypatch.setattr(batching, "generator", fail)
    with pytest.raises(TypeError):
        asyncio.run(chat.ainvoke("Hi", model="ann", temperature=1.0))
    with pytest.raises(TypeError):
        chat.invoke("Hi", model="ann", temperature=1.0)
    assert chat._served().pool._uses == {}


@pytest.mark.parametrize(
    "wrong", [{"seed": "abc"}, {"max_tokens": "5"}, {"temperature": "hot"}, {"top_p": [1]}, {"stop": [3]}], ids=str
)
def test_numbers_that_are_none(chat, wrong):
    (field,) = wrong
    for ask in (lambda: asyncio.run(chat.ainvoke("Hi", model="ann", **wrong)), lambda: chat.invoke("Hi", **wrong)):
        with pytest.raises(PersonaError, match=f"^{field}: must be"):
            ask()
    assert chat._served().pool._uses == {}


def test_a_batch_starts_no_more_threads_than_are_of_use(chat, monkeypatch):
    from langchain_core.language_models import BaseChatModel

    seen = []
    monkeypatch.setattr(BaseChatModel, "batch", lambda self, inputs, config, **more: seen.append(config))
    chat.batch(["Hi"] * 1000)
    chat.batch(["Hi"] * 3)
    chat.batch(["Hi"] * 1000, {"max_concurrency": 5})
    assert [one[0]["max_concurrency"] for one in seen] == [64, 3, 5]
