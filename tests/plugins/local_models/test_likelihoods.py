"""Log-likelihoods: against the model's own list of probabilities, read token by token another way."""

import math

import pytest

from persona_plugins.local_models import likelihoods
from persona_plugins.local_models.chat import ChatLocal
from persona_sdk.errors import ModelError

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
PARIS, BANANA = "The capital of France is Paris.", "The capital of France is Banana."


def by_lists(model, answer):
    """Sum the probabilities by a plain completion after each prefix, without forcing anything."""
    server = model._model()
    text = server.prompt([{"role": "system", "content": "You are a helpful assistant."}, *QUESTION])
    read, total = server.tokens(text, special=True), 0.0
    for token in [*server.tokens(answer), server.end]:
        body = {"prompt": read, "max_tokens": 1, "temperature": 0, "n_probs": 60_000, "cache_prompt": False}
        (step,) = server._complete(body)["choices"][0]["logprobs"]["content"]
        listed = {one["id"]: one["logprob"] for one in step["top_logprobs"]}
        assert math.fsum(math.exp(value) for value in listed.values()) == pytest.approx(1, abs=1e-3)
        total += listed[token]
        read.append(token)
    return total


@pytest.mark.parametrize("answer", ["Paris", "é"])
def test_they_are_the_models_own(model, answer):
    (scored,) = model.log_likelihoods([(QUESTION, answer)])
    assert scored.total == pytest.approx(by_lists(model, answer), abs=0.15)
    assert scored.tokens == len(model._model().tokens(answer)) + 1


def test_what_the_model_says_is_likely(model):
    paris, banana = model.log_likelihoods([(QUESTION, PARIS), (QUESTION, BANANA)])
    assert paris.total > banana.total + 5
    assert -6 < paris.total < 0  # it is what the model answers


def test_they_add_up_token_by_token(model):
    server = model._model()
    prompt, tokens = server.tokens(server.prompt(QUESTION), special=True), server.tokens(BANANA)
    whole = server.log_probabilities(prompt, tokens)
    parts = [*server.log_probabilities(prompt, tokens[:4]), *server.log_probabilities(prompt + tokens[:4], tokens[4:])]
    assert parts == pytest.approx(whole, abs=0.05)


def test_they_do_not_depend_on_company(model):
    others = [([{"role": "user", "content": f"Tell me about number {n}."}], f"It is {n} times one.") for n in range(6)]
    asked = [(QUESTION, PARIS), *others, (QUESTION, BANANA), *others[:2]]
    alone = [model.log_likelihoods([one])[0] for one in asked]
    conversations = [(model._conversation(messages), answer) for messages, answer in asked]
    together = likelihoods.score(model._model(), conversations, 4)
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    assert [one.total for one in together] == pytest.approx([one.total for one in alone], abs=0.3)
    assert together[1].total == pytest.approx(together[-2].total, abs=0.3)


def test_odd_answers(model):
    odd = ["", "\0", "😀", "é中文", "\ud800", "<|im_end|>", "\n\n", "\u202e"]
    scored = model.log_likelihoods([(QUESTION, answer) for answer in odd])
    assert all(math.isfinite(one.total) and one.total < 0 for one in scored)
    assert scored[0].tokens == 1
    assert scored[5].tokens > 5  # the text, not the control token it spells
    assert model.log_likelihoods([]) == []


def test_an_answer_that_does_not_fit_is_scored_as_far_as_it_does(model):
    small = ChatLocal(n_ctx=256, n_parallel=1)
    context = small._model().context
    prompt = small._model().prompt(small._conversation(QUESTION))
    (scored,) = small.log_likelihoods([(QUESTION, "word " * 20_000)])
    assert scored.tokens == context - len(small._model().tokens(prompt, special=True)) - 1
    with pytest.raises(ModelError, match="tokens long"):
        small.log_likelihoods([([{"role": "user", "content": "word " * 300}], "x")])


def test_what_is_asked_twice_is_scored_once(model, monkeypatch):
    scored = []
    one = likelihoods._one
    monkeypatch.setattr(likelihoods, "_one", lambda *given: scored.append(given) or one(*given))
    first, second, again = model.log_likelihoods([(QUESTION, "Paris."), (QUESTION, "Rome."), (QUESTION, "Paris.")])
    assert (first, len(scored)) == (again, 2)
    assert first != second
