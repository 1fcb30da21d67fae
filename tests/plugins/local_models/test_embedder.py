"""`MiniLM` with the packaged model."""

import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.embeddings import Embeddings

from persona_plugins.local_models import embedder as module
from persona_sdk.errors import InputError
from persona_sdk.hooks import PluginHost
from persona_sdk.language import Embedder
from persona_sdk.settings import Settings


def likeness(left, right):
    return math.fsum(a * b for a, b in zip(left, right, strict=True))


def test_the_registry_has_it(embedder):
    registry = PluginHost(Settings()).registry
    found = registry.embedder("minilm")
    assert isinstance(found, module.MiniLM)
    assert isinstance(found, Embedder)
    assert isinstance(found, Embeddings)
    with pytest.raises(InputError, match="no folder"):
        registry.embedder("minilm:/nowhere")


def test_what_means_the_same_is_near(embedder):
    cat, kitten, invoice = embedder.embed_documents(
        ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "The invoice is due on Monday."]
    )
    assert likeness(cat, kitten) > 0.5
    assert likeness(cat, invoice) < 0.3
    for vector in (cat, kitten, invoice):
        assert len(vector) == 384
        assert likeness(vector, vector) == pytest.approx(1, abs=1e-5)


def test_order_repeats_and_odd_texts(embedder):
    texts = ["b", "a", "", "b", "\ud800", "a\0", "word " * 3000]
    vectors = embedder.embed_documents(texts)
    assert len(vectors) == len(texts)
    assert vectors[0] == vectors[3] != vectors[1]
    assert all(math.isfinite(sum(vector)) for vector in vectors)
    assert embedder.embed_query("a") == vectors[1]
    assert embedder.embed_documents([]) == []


def test_a_vector_does_not_depend_on_its_batch(embedder):
    alone = embedder.embed_query("I like long answers.")
    fresh = pickle.loads(pickle.dumps(embedder))
    among = fresh.embed_documents(["x", "I like long answers.", "another and much longer text " * 20])[1]
    assert among == pytest.approx(alone, abs=1e-5)


def test_what_is_returned_is_the_callers(embedder):
    embedder.embed_query("mine")[0] = 9.0
    assert embedder.embed_query("mine")[0] != 9.0


def test_the_last_texts_are_remembered_and_no_more(embedder, monkeypatch):
    computed = []
    fresh = pickle.loads(pickle.dumps(embedder))
    encode = fresh._encode
    monkeypatch.setattr(fresh, "_encode", lambda texts: computed.extend(texts) or encode(texts))
    monkeypatch.setattr(module, "_KEPT", 3)
    for texts in (["a", "b", "c"], ["a"], ["d"], ["a", "c", "d"], ["b"]):
        fresh.embed_documents(texts)
    assert computed == ["a", "b", "c", "d", "b"]
    assert len(fresh._kept) == 3


def test_threads_may_share_it(embedder):
    texts = [f"text number {n}" for n in range(24)]
    alone = embedder.embed_documents(texts)
    fresh = pickle.loads(pickle.dumps(embedder))
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(fresh.embed_query, texts))
    for one, other in zip(alone, together, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
