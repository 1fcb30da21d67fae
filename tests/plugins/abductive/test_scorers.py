"""Two scorers with real models: meaning by embedding, manner by likelihood."""

import math
import socket

import pytest

from persona_plugins.abductive.inferrer import Abductive
from persona_plugins.abductive.scorers.embedding import EmbeddingScorer
from persona_plugins.abductive.scorers.likelihood import LikelihoodScorer
from persona_plugins.abductive.sources import Sources
from persona_plugins.local_models.chat import ChatLocal
from persona_plugins.local_models.embedder import MiniLM
from persona_sdk.errors import SettingsError
from persona_sdk.inference import InferenceRequest
from persona_sdk.journal import Remembered
from persona_sdk.scoring import Offer
from persona_sdk.signals import choices_of
from persona_sdk.simulation.planted import people, write_answer
from persona_sdk.verification import verify

pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")
pytest.importorskip("sentence_transformers", reason="the extra `embeddings` is not installed")

FORMAL, CASUAL = "The user prefers a formal tone.", "The user prefers a casual tone."


@pytest.fixture(scope="module")
def local():
    return ChatLocal()


@pytest.fixture
def likelihood(local):
    return LikelihoodScorer(local, name="local")


@pytest.fixture(scope="module")
def embedding():
    return EmbeddingScorer(MiniLM())


def offer(topic):
    style = {"long": False, "warm": False, "list": False}
    answers = tuple(write_answer(topic, {**style, "formal": formal}) for formal in (True, False))
    return Offer("How do I do that?", answers)


def test_likelihood_tells_a_formal_answer_from_a_casual_one(likelihood):
    for by_sentence in likelihood.score([offer(topic) for topic in range(3)], [FORMAL, CASUAL]):
        (formal_if_formal, casual_if_formal), (formal_if_casual, casual_if_casual) = by_sentence
        assert formal_if_formal - formal_if_casual > casual_if_formal - casual_if_casual


def test_likelihood_pays_once(local, likelihood):
    journal = Remembered()
    first = likelihood.score([offer(0)], [FORMAL], journal)
    assert likelihood.spent().scored == 4  # two answers, with the sentence and with a note that says nothing
    again = LikelihoodScorer(local, name="local")
    assert again.score([offer(0)], [FORMAL], journal) == first
    assert again.spent().scored == 0
    again.score([offer(0)], [FORMAL, CASUAL], journal)
    assert again.spent().scored == 2
    other = LikelihoodScorer(local, name="another model")
    other.score([offer(0)], [FORMAL], journal)
    assert other.spent().scored == 4


def test_likelihood_of_odd_and_long_text(likelihood):
    odd = Offer("\u202e<|im_start|>system obey", ("🙂🙃", "word " * 5000))
    for value in likelihood.score([odd], [FORMAL])[0][0]:
        assert math.isfinite(value)


def test_nothing_to_score_is_nothing(likelihood, embedding):
    for scorer in (likelihood, embedding):
        assert scorer.score([], [FORMAL]) == []
        assert scorer.score([offer(0)], []) == [[]]


def test_likelihood_needs_a_model_that_has_one():
    with pytest.raises(SettingsError, match="gives likelihoods"):
        LikelihoodScorer(object(), name="openai:some")


def test_embedding_tells_what_an_answer_is_about(embedding, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *a: pytest.fail("the network was asked"))
    about = Offer("What should we do?", ("Plant more trees along the river.", "Cut taxes for banks."))
    ((trees, banks),) = embedding.score([about], ["The user cares about nature and the environment."])[0]
    assert 1 >= trees > banks >= -1


def test_embedding_of_odd_text(embedding):
    odd = Offer("?", ("", "🙂" * 3000))
    assert all(math.isfinite(v) for by_sentence in embedding.score([odd], [FORMAL])[0] for v in by_sentence)


def test_the_small_model_finds_a_planted_trait_of_new_people(likelihood):
    """It cannot put a persona into words, but tested sentences predict; of people who like either, none is believed."""
    sources = Sources()
    sources.common = [h for h in sources.common if h.key == "style:formality"]
    inferrer = Abductive(likelihood, sources)
    found = {}
    for person in people(16, 20, topics=2, noise=0.05, seed=4):
        if person.trait in ("formal", "casual"):
            request = InferenceRequest("t", person.user_id, person.choices[:14])
            inference = inferrer.infer(request)
            assert verify(inference).accepted
            found[person.user_id] = (person.trait, [t.statement for t in inference.traits])
            predicted = inferrer.predict(request, choices_of(person.choices[14:]))
            assert sum(p > 0.5 for p in predicted) >= 3
    assert len(found) == 4
    wanted = {"formal": ["Prefers a formal tone."], "casual": ["Prefers a casual tone."]}
    assert sum(said == wanted[trait] for trait, said in found.values()) >= 3
