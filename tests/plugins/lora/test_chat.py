"""`TunedChat`: who is answered with what, alone and together, in every way LangChain calls a model."""

import asyncio
import logging
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from persona_plugins.lora.batching import Asked
from persona_sdk.errors import InputError, ModelError, NotFoundError
from persona_sdk.hooks import PluginHost
from persona_sdk.language import ChatModel, LikelihoodModel
from persona_sdk.settings import Settings
from tests.plugins.lora import made

pytest.importorskip("torch")

NAMES = ["ann", "base", "bob", "cy", "ann", "bob"]
ASKED = [
    "Hi.",
    "How do I descale a kettle?",
    "Prefers long, detailed answers. " * 3,
    "Why?",
    "How do I make green tea, and for how long does it steep?",
    "Prefers short answers.",
]


@pytest.fixture(scope="module")
def alone(chat):
    """What each is answered when nobody else asks: what `transformers` itself says, token by token."""
    said = [chat.invoke(text, model=name).content for name, text in zip(NAMES, ASKED, strict=True)]
    assert len(set(said)) == len(said)
    return said


def steps(chat):
    return chat._served().batcher.steps


def test_it_answers_as_transformers_and_peft_do(chat, base, adapters):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    for name in made.RANKS:
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapters.path(name)).eval()
        asked = [{"role": "user", "content": ASKED[1]}]
        ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            found = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
        answer = chat.invoke(ASKED[1], model=name)
        assert answer.content == tokenizer.decode(found, skip_special_tokens=True)
        assert answer.usage_metadata["input_tokens"] == ids["input_ids"].shape[1]


def test_the_same_is_said_alone_and_in_a_mixed_batch(chat, alone):
    before = steps(chat)
    with ThreadPoolExecutor(len(NAMES)) as pool:
        together = list(pool.map(lambda both: chat.invoke(both[1], model=both[0]), zip(NAMES, ASKED, strict=True)))
    assert [answer.content for answer in together] == alone
    assert [answer.response_metadata["adapter"] for answer in together] == ["ann", None, "bob", "cy", "ann", "bob"]
    assert steps(chat) - before <= 3 * 12  # apart they would take 6 times 12


def test_batch_is_one_batch(chat):
    asked = [f"Number {number}?" for number in range(14)]
    alone = [chat.invoke(text, model="bob").content for text in asked]
    before = steps(chat)
    assert [answer.content for answer in chat.batch(asked, model="bob")] == alone
    assert steps(chat) - before == 12
    assert chat.batch([]) == []


def test_who_comes_while_others_are_answered_joins_them_and_changes_nothing(chat, alone):
    streams = []
    for name, text in zip(NAMES, ASKED, strict=True):
        streams.append(chat.stream(text, model=name))
        first = next(streams[-1])
        streams[-1] = [first.content, streams[-1]]
    assert [first + "".join(c.content for c in rest) for first, rest in streams] == alone


def test_answers_of_different_length_in_one_batch(chat, alone):
    lengths = [1, 5, 12, 3, 7, 12]
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(
                lambda one: chat.invoke(one[1], model=one[0], max_tokens=one[2]),
                zip(NAMES, ASKED, lengths, strict=True),
            )
        )
    assert [answer.usage_metadata["output_tokens"] for answer in answers] == lengths
    assert [whole.startswith(answer.content.rstrip("\ufffd")) for answer, whole in zip(answers, alone, strict=True)]
    assert {answer.response_metadata["finish_reason"] for answer in answers} == {"length"}


def test_async(chat, alone):
    async def ask():
        answers = await asyncio.gather(*[chat.ainvoke(t, model=n) for n, t in zip(NAMES, ASKED, strict=True)])
        chunks = [chunk async for chunk in chat.astream(ASKED[0], model="ann")]
        return [answer.content for answer in answers], "".join(chunk.content for chunk in chunks), chunks[-1]

    answers, streamed, last = asyncio.run(ask())
    assert answers == alone
    assert streamed == alone[0]
    assert last.usage_metadata["output_tokens"] == 12


def test_a_stream_comes_in_pieces_and_can_be_left(chat):
    stream = chat.stream(ASKED[1], model="ann", max_tokens=400)
    assert next(stream).content
    stream.close()

    async def leave():
        stream = chat.astream(ASKED[1], model="ann", max_tokens=400)
        await anext(stream)
        await stream.aclose()

    asyncio.run(leave())
    time.sleep(0.1)
    before = steps(chat)
    time.sleep(0.2)
    assert steps(chat) == before  # nobody is answered who does not listen
    assert chat._served().pool._uses == {}


def test_usage_and_the_last_chunk(chat):
    chunks = list(chat.stream(ASKED[1], model="bob"))
    assert [chunk.usage_metadata for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].usage_metadata["output_tokens"] == 12
    assert chunks[-1].response_metadata["model_name"] == "bob"
    assert len([chunk for chunk in chunks if chunk.content]) > 3


def test_greedy_and_drawn_rows_do_not_disturb_each_other(chat, alone):
    def ask(place):
        hot = {"temperature": 1.5, "seed": place} if place % 2 else {}
        return chat.invoke(ASKED[place], model=NAMES[place], **hot).content

    drawn = [ask(place) for place in range(6)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(ask, range(6)))
    assert together == drawn
    assert together[::2] == alone[::2]
    assert all(one != other for one, other in zip(together[1::2], alone[1::2], strict=True))


def test_temperature_seed_and_top_p(chat):
    ask = ASKED[1]
    hot = chat.bind(temperature=1.5, model="ann")
    assert hot.invoke(ask, seed=1).content == hot.invoke(ask, seed=1).content
    assert len({hot.invoke(ask, seed=seed).content for seed in range(4)}) > 2
    assert len({hot.invoke(ask).content for _ in range(4)}) > 2
    assert hot.invoke(ask, seed=1, top_p=1e-6).content == chat.invoke(ask, model="ann").content
    assert hot.invoke(ask, seed=1, temperature=1e-9).content == chat.invoke(ask, model="ann").content


def test_stop(chat, alone):
    stop = next(alone[0][at : at + 2] for at in range(2, len(alone[0]) - 2) if alone[0][at : at + 2].isascii())
    short = chat.invoke(ASKED[0], model="ann", stop=["never said", stop])
    assert short.content == alone[0][: alone[0].index(stop)]
    assert short.response_metadata["finish_reason"] == "stop"
    streamed = [chunk.content for chunk in chat.stream(ASKED[0], model="ann", stop=[stop])]
    assert "".join(streamed) == short.content


def test_the_end_of_the_turn_ends_an_answer(chat, monkeypatch):
    from persona_plugins.lora import batching

    whole = [chunk.content for chunk in chat.stream(ASKED[0], model="ann")]
    choose, calls = batching.chosen, []

    def third_is_the_end(logits, how):
        calls.append(how)
        return [chat._served().speech.end] if len(calls) == 3 else choose(logits, how)

    monkeypatch.setattr(batching, "chosen", third_is_the_end)
    answer = chat.invoke(ASKED[0], model="ann")
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata["output_tokens"] == 3
    assert "".join(whole).startswith(answer.content)


def test_what_the_call_says_goes_before_what_the_object_was_made_with(chat):
    ann = chat.with_adapter("ann")
    assert ann.invoke(ASKED[0]).response_metadata["adapter"] == "ann"
    assert ann.invoke(ASKED[0], model="bob").response_metadata["adapter"] == "bob"
    for name in ("base", "", "__base__"):
        assert ann.invoke(ASKED[0], model=name).response_metadata["adapter"] is None
    assert chat.invoke(ASKED[0], model=None).response_metadata["adapter"] is None


def test_a_name_nobody_has_is_answered_by_the_base_or_not_at_all(chat, caplog):
    with caplog.at_level(logging.WARNING, "persona_sdk"):
        answer = chat.invoke(ASKED[1], model="nobody")
    assert answer.content == chat.invoke(ASKED[1]).content
    assert answer.response_metadata["adapter"] is None
    assert "adapter 'nobody' cannot be used" in caplog.text
    strict = chat.model_copy(update={"strict": True})
    with pytest.raises(NotFoundError, match="there are ann, bob, cy"):
        strict.invoke(ASKED[1], model="nobody")
    assert strict.invoke(ASKED[1], model="ann").content


def test_the_system_message_is_the_one_of_the_rows(base, own):
    from persona_plugins.lora.chat import TunedChat

    made.add(own, base, "ann", 0, like={"system": "Be kind."})
    chat = TunedChat(own.folder, base=base, max_tokens=2, device="cpu")

    def length(asked, of=chat, name="ann"):
        return of.invoke(asked, model=name).usage_metadata["input_tokens"]

    told = length([SystemMessage("Be kind."), HumanMessage("Hi")])
    assert length("Hi") == told
    assert length("Hi", name="base") < told
    assert length([SystemMessage("Be very, very kind."), HumanMessage("Hi")]) > told
    assert length("Hi", chat.model_copy(update={"system": ""})) < told
    assert length("Hi", chat.model_copy(update={"system": "Be kind."}), "base") == told


def test_rows_of_plain_text(tmp_path):
    from persona_plugins.lora.chat import TunedChat
    from persona_sdk.models import Message
    from persona_sdk.tuning.rows import Row, trl_rows
    from tests.support.taught import example
    from tests.support.tiny import tiny_base

    base = tiny_base(tmp_path / "plain", template=False)
    chat = TunedChat(tmp_path / "none", base=base, max_tokens=4, device="cpu", system="Be kind.")
    speech = chat._served().speech
    row = Row(example=example(prompt=(Message(role="user", content="Why?"),)))
    (written,) = trl_rows([row], "sft", template="plain", system="Be kind.")
    assert (
        speech.text(speech.prompt(chat._conversation([HumanMessage("Why?")], None, chat._served())))
        == (written["prompt"])
    )
    assert chat.invoke("Why?").usage_metadata["output_tokens"] == 4


def test_likelihoods_are_those_of_the_tokens_one_after_the_other(chat, base, adapters):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert isinstance(chat.with_adapter("ann"), LikelihoodModel)
    tokenizer = AutoTokenizer.from_pretrained(base)
    asked = [([{"role": "user", "content": text}], "ab " * count) for count, text in enumerate(ASKED, start=1)]
    asked.append(([{"role": "user", "content": "Hm?"}], ""))
    for name in (None, "ann", "bob"):
        model = AutoModelForCausalLM.from_pretrained(base)
        model = (PeftModel.from_pretrained(model, adapters.path(name)) if name else model).eval()
        found = chat.with_adapter(name).log_likelihoods(asked)
        assert found == chat.log_likelihoods(asked, name or "base")
        for (messages, answer), said in zip(asked, found, strict=True):
            prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
            tokens = [*tokenizer(answer)["input_ids"], tokenizer.eos_token_id]
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([prompt + tokens])).logits[0].log_softmax(-1)
            expected = sum(float(logits[len(prompt) - 1 + at, token]) for at, token in enumerate(tokens))
            assert said.total == pytest.approx(expected, abs=2e-3)
            assert said.tokens == len(tokens)


def test_likelihoods_in_several_batches_come_in_their_order(chat, monkeypatch):
    from persona_plugins.lora import scoring

    asked = [([{"role": "user", "content": text}], f"Answer {n}." * (n % 3 + 1)) for n, text in enumerate(ASKED * 4)]
    whole = chat.log_likelihoods(asked, "cy")
    monkeypatch.setattr(scoring, "_ROWS", 5)
    parts = chat.log_likelihoods(asked, "cy")
    assert [one.tokens for one in parts] == [one.tokens for one in whole]
    assert [one.total for one in parts] == pytest.approx([one.total for one in whole], abs=1e-3)
    assert len({round(one.total, 3) for one in whole}) > 20
    assert chat.log_likelihoods([], "cy") == []


def test_what_is_too_long(chat):
    with pytest.raises(ModelError, match=r"is \d+ tokens long, and may be 512") as failed:
        chat.invoke("secret " * 600)
    assert "secret" not in str(failed.value)
    with pytest.raises(ModelError, match="may be 512"):
        chat.log_likelihoods([([{"role": "user", "content": "secret " * 600}], "x")])
    almost = chat.invoke("Q " * 240, max_tokens=500)
    assert almost.usage_metadata["total_tokens"] == 512
    cut = chat.log_likelihoods([([{"role": "user", "content": "Why?"}], "Q " * 600)])[0]
    assert cut.tokens == 512 - chat.invoke("Why?", max_tokens=1).usage_metadata["input_tokens"]
    assert chat._served().pool._uses == {}


def test_what_cannot_be_said_is_refused_and_odd_text_is_not(chat):
    with pytest.raises(InputError, match="message 1"):
        chat.invoke([HumanMessage([{"type": "image_url", "image_url": {"url": "data:,"}}])])
    with pytest.raises(InputError, match="response_format: a tuned model here takes"):
        chat.invoke("Hi", response_format={"type": "json_object"})
    for wrong in ({"max_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            chat.invoke("Hi", **wrong)
    for text in ("", "a\0b", "\ud800", "😀", "<|im_end|>"):
        assert isinstance(chat.invoke(text, model="ann", max_tokens=2).content, str)


def test_a_thread_that_ends_leaves_what_is_its_successors(chat):
    from persona_plugins.lora.batching import Batcher
    from persona_plugins.lora.sampling import Sampling

    here, told, successor = chat._served(), [], object()
    batcher = Batcher(here.model, here.speech, here.context)

    def ends(batch):
        batcher._thread = successor
        batcher._waiting.append(Asked([5], None, Sampling(), told.append))
        return False

    batcher._go_on = ends
    batcher._run()
    assert batcher._thread is successor
    assert len(batcher._waiting) == 1
    assert told == []


def test_what_is_not_answered_when_the_process_ends_fails(chat):
    from persona_plugins.lora.batching import Batcher
    from persona_plugins.lora.sampling import Sampling

    here, told = chat._served(), []
    batcher = Batcher(here.model, here.speech, here.context)
    batcher.ask(Asked([5], None, Sampling(max_tokens=400), told.append))
    batcher.close()
    batcher.close()
    assert str(told[-1].error) == "the process is ending"
    with pytest.raises(ModelError, match="the process is ending"):
        batcher.ask(Asked([5], None, Sampling(), told.append))


def test_equal_ones_share_what_is_loaded_and_a_pickled_one_finds_it(chat):
    other = chat.model_copy(update={"temperature": 1.0, "adapter": "bob"})
    assert other._served() is chat._served()
    again = pickle.loads(pickle.dumps(chat))
    assert again._served() is chat._served()


def test_a_thread_without_work_ends_and_another_follows(chat, monkeypatch):
    from persona_plugins.lora import batching

    monkeypatch.setattr(batching, "_IDLE", 0.05)
    chat.invoke("Hi")
    batcher = chat._served().batcher
    until = time.monotonic() + 10
    while batcher._thread is not None and time.monotonic() < until:
        time.sleep(0.01)
        with batcher._change:
            batcher._change.notify_all()
    assert batcher._thread is None
    assert chat.invoke("Hi", max_tokens=1).usage_metadata["output_tokens"] == 1


def test_the_registry_has_it(adapters):
    registry = PluginHost(Settings()).registry
    tuned = registry.chat_model(f"tuned:{adapters.folder}")
    assert isinstance(tuned, ChatModel)
    assert tuned.adapters == str(adapters.folder)
    assert registry.chat_model("tuned").adapters == "adapters"
    with pytest.raises(InputError, match=r"which the adapters in .* were trained on"):
        tuned.invoke("Hi")  # their cards name the base, which lies where nobody would look


def test_the_base_that_the_cards_name_is_found_where_bases_are_unpacked(base, adapters, tmp_path, monkeypatch):
    from persona_plugins.lora.chat import TunedChat
    from persona_plugins.lora.serving import base_folder

    base_folder.cache_clear()
    monkeypatch.setenv("PERSONA_CACHE", str(tmp_path))
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "base").symlink_to(base)
    assert TunedChat(adapters.folder, max_tokens=2).invoke("Hi", model="ann").response_metadata["adapter"] == "ann"
    base_folder.cache_clear()
    with pytest.raises(InputError, match="there are none"):
        TunedChat(tmp_path / "none").invoke("Hi")


def test_a_conversation_that_goes_on(chat):
    turns = [HumanMessage("Hi"), AIMessage("Hello"), HumanMessage("Why?")]
    assert chat.invoke(turns, model="ann").usage_metadata["input_tokens"] > 20
