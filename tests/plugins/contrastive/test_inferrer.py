"""The `contrastive` inferrer and its scorer, seen from outside: requests in, traits and probabilities out."""

import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest

from persona_plugins.contrastive.inferrer import LEAVE_OUT_FROM, STATED_WEIGHT, Contrastive
from persona_plugins.contrastive.reading import prior_of
from persona_plugins.contrastive.scorer import ContrastiveScorer
from persona_sdk.inference import History, InferenceRequest
from persona_sdk.settings import Settings
from persona_sdk.signals import Utterance, choices_of
from persona_sdk.testing import InferrerContract
from persona_sdk.testing.fakes import NOON
from persona_sdk.verification import verify
from tests.support.offers import preference, trains

COIN = math.log(0.5)


class FakeEmbedder:
    """A fake: two numbers that only count vowels and consonants, the same for the same text."""

    def embed_documents(self, texts):
        self.asked = list(texts)
        vowels = [sum(c in "aeiou" for c in text) for text in texts]
        return [[v / 10, (sum(map(str.isalpha, text)) - v) / 10] for v, text in zip(vowels, texts, strict=True)]


class TestContract(InferrerContract):
    @pytest.fixture
    def inferrer(self):
        return Contrastive()


class TestContractWithAnEmbedder(InferrerContract):
    @pytest.fixture
    def inferrer(self):
        return Contrastive(FakeEmbedder())


def cheap(count=24, seed=0, user_id="ann"):
    return trains(count, random.Random(seed), prefers=lambda price, hours: -price, user_id=user_id)


def fast(count=24, seed=1, user_id="ann"):
    return trains(count, random.Random(seed), prefers=lambda price, hours: -hours, user_id=user_id)


def at_random(count, seed):
    rng = random.Random(seed)
    return trains(count, rng, prefers=lambda price, hours: rng.random())


def said(text, number=0):
    return Utterance(id=f"said-{number}", user_id="ann", text=text, at=NOON)


def asking(signals, **rest):
    return InferenceRequest(tenant="default", user_id="ann", signals=tuple(signals), **rest)


def infer(signals, **rest):
    return Contrastive().infer(asking(signals, **rest))


@pytest.fixture(scope="module")
def population():
    people = [(cheap, fast)[i % 2](20, seed=i, user_id=f"u{i}") for i in range(8)]
    return Contrastive().fit_population("default", [History(s[0].user_id, s) for s in people])


# Predicting


def test_held_out_choices_of_someone_with_a_taste_are_predicted():
    found = infer(cheap())
    assert found.method == "leave-one-out"
    assert [c.signal_id for c in found.held_out] == [s.id for s in cheap()]
    assert [c.without for c in found.held_out] == pytest.approx([COIN] * 24)  # no population: a coin
    assert np.mean([c.with_persona for c in found.held_out]) > COIN + 0.25
    assert verify(found).accepted


def test_held_out_probabilities_have_not_seen_the_choice_they_predict():
    """Turn one choice round: had it been seen, its probability would follow it."""
    signals = cheap(12)
    turned = signals.copy()
    turned[3] = preference(3, signals[3].rejected, signals[3].chosen)
    there, back = (math.exp(infer(s).held_out[3].with_persona) for s in (signals, turned))
    assert there + back == pytest.approx(1.0, abs=0.05)


def test_of_few_choices_each_is_predicted_from_those_before_it():
    signals = cheap(LEAVE_OUT_FROM - 1)
    found = infer(signals)
    assert found.method == "one-step-ahead"
    assert found.held_out[0].with_persona == pytest.approx(COIN)  # nothing was known yet
    for i in range(1, len(signals)):
        p = Contrastive().predict(asking(signals[:i]), choices_of([signals[i]]))
        assert found.held_out[i].with_persona == pytest.approx(math.log(p[0]), abs=1e-6)
    later = infer([*signals[:3], *fast(2, seed=9)])
    assert [c.with_persona for c in later.held_out[:3]] == [c.with_persona for c in found.held_out[:3]]
    assert infer(cheap(LEAVE_OUT_FROM)).method == "leave-one-out"


def test_without_signals_it_predicts_what_the_population_does(population):
    asked = choices_of(cheap(10, seed=5))
    nobody = Contrastive().predict(asking((), population=population), asked)
    again = Contrastive().predict(replace(asking((), population=population), user_id="somebody else"), asked)
    assert nobody == again
    first_time = infer(cheap(10, seed=5), population=population)
    assert nobody == pytest.approx([math.exp(c.without) for c in first_time.held_out], abs=1e-6)
    assert Contrastive().predict(asking(()), asked) == [0.5] * 10


def test_ones_own_signals_predict_better_than_another_persons(population):
    for given in (None, population):
        asked = choices_of(cheap(40, seed=7))
        own = Contrastive().predict(asking(cheap(), population=given), asked)
        other = Contrastive().predict(asking(fast(), population=given), asked)
        nobody = Contrastive().predict(asking((), population=given), asked)
        assert np.mean(np.log(own)) > np.mean(np.log(nobody)) > np.mean(np.log(other)) - 0.2
        assert np.mean(np.array(own) > 0.5) > 0.8


def test_predictions_do_not_depend_on_what_else_is_asked(population):
    asked = choices_of(cheap(10, seed=5))
    together = Contrastive().predict(asking(cheap(), population=population), asked)
    alone = [Contrastive().predict(asking(cheap(), population=population), [choice])[0] for choice in asked]
    assert together == pytest.approx(alone)


def test_the_version_before_is_compared_when_there_is_one():
    signals = [*cheap(10), *cheap(6, seed=3)]
    signals = [preference(i, s.chosen, s.rejected) for i, s in enumerate(signals)]
    assert all(c.previous is None for c in infer(signals).held_out)
    assert all(c.previous is None for c in infer(signals, read_before=16).held_out)  # nothing is new
    found = infer(signals, read_before=10).held_out
    before = infer(signals[:10]).held_out
    assert [c.previous for c in found[:10]] == pytest.approx([c.with_persona for c in before])
    ahead = Contrastive().predict(asking(signals[:10]), choices_of(signals[10:]))
    assert [c.previous for c in found[10:]] == pytest.approx(np.log(ahead).tolist())


def test_another_persons_weights_are_compared_when_given(population):
    theirs = infer(fast(), population=population).state
    found = infer(cheap(), population=population, other_state=json.loads(json.dumps(theirs)))
    lift = verify(found).lift
    assert lift.score_with > lift.score_other
    assert lift.accuracy_with > lift.accuracy_other
    assert all(c.other is None for c in infer(cheap(), population=population).held_out)


def test_somebody_who_chooses_at_random_is_seldom_believed():
    """Verification asks for better, not for surely better. Measured on 300: 24 % accepted, 18 % with a trait."""
    accepted = with_traits = 0
    for seed in range(60):
        found = infer(at_random(20, seed))
        verified = verify(found)
        accepted += verified.accepted
        with_traits += verified.accepted and bool(found.traits)
    assert accepted / 60 < 0.45
    assert with_traits / 60 < 0.3


def test_a_choice_of_half_the_certainty_counts_for_less():
    from persona_sdk.signals import Regeneration

    sure = cheap(8)
    unsure = [
        Regeneration(id=s.id, user_id="ann", prompt=s.prompt, response=s.rejected, kept=s.chosen, at=NOON) for s in sure
    ]
    asked = choices_of(cheap(20, seed=4))
    confident, cautious = (np.array(Contrastive().predict(asking(s), asked)) for s in (sure, unsure))
    assert np.mean(np.abs(cautious - 0.5)) < np.mean(np.abs(confident - 0.5)) - 0.01


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_choices_do_no_harm(count, population):
    for given in (None, population):
        found = infer(cheap(count), population=given)
        assert len(found.held_out) == count
        assert verify(found).accepted is False or count >= 3


def test_one_choice_made_again_and_again_stays_finite():
    signals = [preference(i, "Take the blue train.", "Take the red train, please.", prompt="?") for i in range(60)]
    same_prompt = [s.model_copy(update={"prompt": signals[0].prompt}) for s in signals]
    for given in (signals, same_prompt):
        for choice in infer(given).held_out:
            assert COIN < choice.with_persona < 0


# What was said


def test_what_was_said_is_a_trait_with_its_quote_and_beats_deeds():
    long = "There is a good deal to say about this, and much of it depends on what you would like to do afterwards."
    words = "one two red blue oak ash fir elm yew bay".split()
    signals = [preference(i, f"Take {w}.", f"{long} Perhaps {w}.") for i, w in enumerate(words)]
    found = infer([*signals, said("No, I do like detail.")])
    stated = found.traits[0]
    assert stated.stated
    assert stated.id == "style:length/for"
    assert stated.evidence[0].signal_id == "said-0"
    assert stated.evidence[0].quote in "No, I do like detail."
    assert (stated.weight, stated.interval) == (STATED_WEIGHT, (STATED_WEIGHT, STATED_WEIGHT))
    assert not any(t.id == "style:length/against" for t in found.traits)
    asked = choices_of([preference(99, f"{long} Take oak.", "Take ash.")])
    before, after = (Contrastive().predict(asking(s), asked)[0] for s in (signals, [*signals, said("I like detail.")]))
    assert before < 0.25
    assert after > before + 0.2  # the rest of the answer, its words and its hedging, still speaks against it


def test_words_alone_are_traits_without_choices():
    found = infer([said("I don't eat meat. Keep it short.")])
    assert [t.stated for t in found.traits] == [True, True]
    assert (found.held_out, found.state, found.note) == ((), None, "")


def test_a_statement_with_a_scope_moves_no_weight():
    asked = choices_of(cheap(10, seed=5))
    plain = Contrastive().predict(asking(cheap()), asked)
    scoped = [*cheap(), said("Keep it short when you write about trains.")]
    traits = [t for t in infer(scoped).traits if t.stated]
    assert traits
    assert all(t.scope for t in traits)
    assert Contrastive().predict(asking(scoped), asked) == plain
    everywhere = [*cheap(), said("Keep it short.")]
    assert Contrastive().predict(asking(everywhere), asked) != plain


def test_rejected_traits_stay_away_and_others_stay():
    found = infer([*cheap(), said("Keep it short.")])
    ids = frozenset(t.id for t in found.traits)
    assert {"style:length/against", "choice:q:euro/against"} <= ids
    left = infer([*cheap(), said("Keep it short.")], rejected=ids)
    assert not ids & {t.id for t in left.traits}
    others = infer(cheap(), rejected=frozenset({"style:length/for", "choice:w:blue/for", "said:eat meat/against"}))
    assert "choice:q:euro/against" in {t.id for t in others.traits}


def test_a_rejected_trait_does_not_move_the_model_either():
    asked = choices_of([preference(99, "The train costs 20 euros.", "The train costs 180 euros.")])
    free = Contrastive().predict(asking(cheap()), asked)[0]
    took_back = Contrastive().predict(asking(cheap(), rejected=frozenset({"choice:q:euro/against"})), asked)[0]
    assert free > 0.7
    assert took_back == pytest.approx(0.5, abs=0.1)


def test_a_rejected_statement_no_longer_moves_the_model():
    asked = choices_of([preference(99, "A long answer about trains, their prices and their hours.", "Short.")])
    plain = Contrastive().predict(asking(cheap()), asked)
    took_back = asking([*cheap(), said("Keep it short.")], rejected=frozenset({"style:length/against"}))
    assert Contrastive().predict(took_back, asked) == plain


# State, scorer, embedder


@pytest.mark.parametrize("with_population", [False, True])
def test_the_scorer_ranks_as_the_inferrer_predicts(with_population, population):
    given = population if with_population else None
    state = json.loads(json.dumps(infer(cheap(), population=given).state))
    for choice in choices_of(cheap(20, seed=6)):
        a, b = ContrastiveScorer().score(state, given, choice.prompt, [choice.chosen, choice.rejected])
        p = Contrastive().predict(asking(cheap(), population=given), [choice])[0]
        if abs(p - 0.5) > 0.01:
            assert (a > b) == (p > 0.5)


def test_what_the_gate_silences_is_not_scored():
    long = "There is a good deal to say about this, and much of it depends on what you would like to do afterwards."
    words = "one two red blue oak ash fir".split()
    signals = [preference(i, f"Take {w}.", f"{long} {w}.") for i, w in enumerate(words)]
    state = infer(signals).state
    short = {"s:length", "s:sentence_length"}
    silent = [frozenset(), frozenset({"style:length"})]
    full, silenced = (ContrastiveScorer().score(state, None, "?", ["Yes.", long], s) for s in silent)
    assert silenced[0] - silenced[1] < full[0] - full[1]
    assert short & state["weights"].keys()
    assert ContrastiveScorer().score(state, None, "?", []) == []


def test_an_embedder_adds_its_dimensions():
    embedder = FakeEmbedder()
    inferrer = Contrastive(embedder)
    found = inferrer.infer(asking(cheap()))
    assert {"e:0", "e:1"} <= found.state["weights"].keys()
    assert embedder.asked == [text for s in cheap() for text in (s.chosen, s.rejected)]
    assert not any(t.key.startswith("choice:e") for t in found.traits)  # nobody can be told about a dimension
    right = 0
    for s in cheap():
        chosen, rejected = ContrastiveScorer(embedder).score(found.state, None, "?", [s.chosen, s.rejected])
        right += chosen > rejected
    assert right > 18
    people = [(cheap, fast)[i % 2](20, seed=i, user_id=f"u{i}") for i in range(6)]
    fitted = inferrer.fit_population("default", [History(s[0].user_id, s) for s in people])
    assert "e:0" in fitted.data["features"]
    asked = choices_of(cheap(20, seed=6))
    assert np.mean(np.array(inferrer.predict(asking(cheap(), population=fitted), asked)) > 0.5) > 0.75


def test_options_reach_the_inferrer_and_the_scorer():
    from persona_plugins import contrastive
    from persona_sdk.hooks import Registry

    registry, embedder = Registry(), FakeEmbedder()
    contrastive.persona_register(registry.signed("contrastive", "test"))
    settings = Settings(options={"contrastive": {"embedder": embedder}})
    found = registry.inferrer("contrastive", settings).infer(asking(cheap()))
    assert "e:0" in found.state["weights"]
    assert registry.scorer("contrastive", settings).score(found.state, None, "?", ["a", "b"])


def test_protected_subjects_are_left_out_unless_kept():
    signals = [said("I am a Muslim.")]
    assert infer(signals).traits == ()
    assert Contrastive(keep_protected=True).infer(asking(signals)).traits


def test_a_population_is_read_once_and_told_apart_by_its_fingerprint(population):
    again = population.model_copy(update={"tenant": "another"})
    assert prior_of(population) is prior_of(again)
    assert prior_of(None) == prior_of(None)


def test_fitting_again_gives_the_same_population(population):
    people = [(cheap, fast)[i % 2](20, seed=i, user_id=f"u{i}") for i in range(8)]
    again = Contrastive().fit_population("default", (History(s[0].user_id, s) for s in people))
    assert again.fingerprint == population.fingerprint
    assert json.loads(json.dumps(dict(population.data), allow_nan=False)) == population.data


# What people lean to


@pytest.fixture(scope="module")
def travellers():
    """A population in which half the people look at the price, and half at the hours."""
    people = [History(f"u{i}", (cheap if i % 2 else fast)(seed=10 + i, user_id=f"u{i}")) for i in range(8)]
    return Contrastive().fit_population("default", people)


def asks(signals, population, **more):
    return InferenceRequest("default", "ann", signals, population, **more)


def test_people_who_choose_alike_lean_alike(travellers):
    inferrer = Contrastive()
    first, second, other = (
        inferrer.leaning(asks(signals, travellers)) for signals in (cheap(6, 1), cheap(6, 2), fast(6, 3))
    )
    names = set(first) & set(second) & set(other)
    assert {name for name in names if name[0] == "q"}

    def dot(a, b):
        return sum(w * b.get(name, 0.0) for name, w in a.items())

    assert dot(first, second) > 0 > dot(first, other)


def test_one_choice_and_one_word_are_enough_to_lean(travellers):
    inferrer = Contrastive()
    assert inferrer.leaning(asks(cheap(1), travellers))
    short = inferrer.leaning(asks([said("Please keep it short.")], travellers))
    assert short["s:length"] < 0


def test_a_leaning_does_not_wait_for_people_to_differ(travellers):
    """Where the population found no use for personal weights, there are none in the state, but a leaning there is."""
    alike = travellers.model_copy(update={"data": {**travellers.data, "personal": 0.0}, "fingerprint": "alike"})
    inferrer = Contrastive()
    assert not any(w[0] for w in inferrer.infer(asks(cheap(6), alike)).state["weights"].values())
    assert inferrer.leaning(asks(cheap(6), alike)) == inferrer.leaning(asks(cheap(6), travellers))


def test_what_was_taken_back_is_no_leaning(travellers):
    inferrer = Contrastive()
    signals = [said("Please keep it short.")]
    assert "s:length" in inferrer.leaning(asks(signals, travellers))
    rejected = frozenset({"style:length/against"})
    assert "s:length" not in inferrer.leaning(asks(signals, travellers, rejected=rejected))


def test_someone_nothing_was_learnt_of_is_scored_like_everybody(travellers):
    scorer = ContrastiveScorer()
    answers = [c.chosen for c in choices_of(cheap(3))]
    nobody = scorer.score({"weights": {}}, travellers, "?", answers)
    assert scorer.score({}, travellers, "?", answers) == nobody
