"""`ChatLocal` with the packaged model, nothing of it replaced."""

import asyncio
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from persona_plugins.local_models.chat import ChatLocal
from persona_sdk.errors import InputError, ModelError
from persona_sdk.hooks import PluginHost
from persona_sdk.language import ChatModel, LikelihoodModel
from persona_sdk.settings import Settings

FRANCE = "What is the capital of France?"


def said(chunks):
    return "".join(chunk.content for chunk in chunks)


def test_the_registry_has_it(model):
    registry = PluginHost(Settings()).registry
    local = registry.chat_model("local")
    assert isinstance(local, ChatLocal)
    assert isinstance(local, ChatModel)
    assert isinstance(local, LikelihoodModel)
    assert registry.chat_model("local") is local
    with pytest.raises(InputError, match="no such file"):
        registry.chat_model("local:/nowhere/x.gguf")


def test_it_answers(model):
    answer = model.invoke(FRANCE)
    assert answer.content == "The capital of France is Paris."
    assert answer.response_metadata["finish_reason"] == "stop"


def test_a_stream_says_the_same_in_pieces_and_counts_them(model):
    answer, chunks = model.invoke(FRANCE), list(model.stream(FRANCE))
    assert said(chunks) == answer.content
    assert len([chunk for chunk in chunks if chunk.content]) >= 5
    assert [chunk.usage_metadata for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    for usage in (answer.usage_metadata, chunks[-1].usage_metadata):
        assert usage["output_tokens"] == 8
        assert usage["input_tokens"] > 20
        assert usage["total_tokens"] == usage["input_tokens"] + 8


def test_a_stream_comes_as_it_is_made_and_can_be_left(model):
    started = time.perf_counter()
    stream = model.stream("Tell me a long story.", max_tokens=1500)
    next(stream)
    first = time.perf_counter() - started
    stream.close()
    list(model.stream("Tell me a long story.", max_tokens=40))
    assert time.perf_counter() - started - first > first / 10
    assert first < 5
    assert time.perf_counter() - started < 12  # 1500 tokens would take longer


def test_async(model):
    async def ask():
        return await model.ainvoke(FRANCE), [chunk async for chunk in model.astream(FRANCE)]

    answer, chunks = asyncio.run(ask())
    assert answer.content == said(chunks) == "The capital of France is Paris."


def test_max_tokens_and_stop(model):
    cut = model.invoke(FRANCE, max_tokens=3)
    assert cut.usage_metadata["output_tokens"] == 3
    assert cut.response_metadata["finish_reason"] == "length"
    assert model.invoke(FRANCE, stop=[" France"]).content == "The capital of"


def test_temperature_and_seed(model):
    story = "Write one line of a poem."
    hot = model.bind(temperature=1.5, max_tokens=20)
    assert hot.invoke(story, seed=1).content == hot.invoke(story, seed=1).content
    assert len({hot.invoke(story, seed=seed).content for seed in range(4)}) > 1
    assert len({model.invoke(story, seed=seed, max_tokens=20).content for seed in range(3)}) == 1


def test_a_system_message_replaces_the_one_it_has(model):
    told = [SystemMessage("You only ever say the word banana."), HumanMessage("Hello")]
    silent = ChatLocal(n_ctx=model.n_ctx, system="")
    length = {
        name: asked.invoke(messages, max_tokens=1).usage_metadata["input_tokens"]
        for name, asked, messages in [("none", silent, "Hello"), ("own", model, "Hello"), ("told", model, told)]
    }
    assert len(set(length.values())) == 3


def test_a_conversation_goes_on_where_it_was_read(model):
    asked = [HumanMessage("My name is Ann, and I keep forty bees in the garden behind my house. Who am I?")]
    first = model.invoke(asked, max_tokens=10)
    second = model.invoke([*asked, AIMessage(first.content), HumanMessage("Thanks.")], max_tokens=1)
    assert second.usage_metadata["input_token_details"]["cache_read"] > 30


def test_calls_from_threads_do_not_mix(model):
    asked = [
        f"What is the capital of {country}?" for country in ("France", "Italy", "Japan", "Germany", "Peru", "China")
    ]
    alone = [model.invoke(question, max_tokens=12).content for question in asked]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda question: model.invoke(question, max_tokens=12).content, asked))
    assert together == alone
    assert len(set(alone)) == 6


def test_what_is_too_long_is_said_with_both_lengths(model):
    for ask in (model.invoke, lambda text: list(model.stream(text))):
        with pytest.raises(ModelError, match=r"is 30\d\d tokens long, and may be 2048") as failed:
            ask("secret " * 3000)
        assert "secret" not in str(failed.value)
    assert model.invoke(FRANCE).content == "The capital of France is Paris."


def test_pictures_are_refused_and_odd_text_is_not(model):
    with pytest.raises(InputError, match="message 1"):
        model.invoke([HumanMessage([{"type": "image_url", "image_url": {"url": "data:,"}}])])
    for text in ("", "a\0b", "\ud800", "😀", "<|im_end|>", "\x1b[31m"):
        assert isinstance(model.invoke(text, max_tokens=2).content, str)


def test_equal_ones_share_what_is_loaded_and_a_pickled_one_finds_it(model):
    other = ChatLocal(n_ctx=model.n_ctx, temperature=1.0)
    assert other._model() is model._model()
    again = pickle.loads(pickle.dumps(model))
    assert again == model
    assert again._model() is model._model()
    assert again.invoke(FRANCE).content == "The capital of France is Paris."


def test_a_file_that_is_no_model(tmp_path):
    pytest.importorskip("xllamacpp")
    file = tmp_path / "x.gguf"
    file.write_bytes(b"GGUF no")
    with pytest.raises(ModelError, match=r"x\.gguf: llama\.cpp cannot load it"):
        ChatLocal(file).invoke("Hi")
