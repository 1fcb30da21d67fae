"""The posterior over one person's weights: what moved it, what was said, and what is kept to score new answers."""

import json
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_plugins.contrastive.belief import STATE_FEATURES, WORD_OF_MOUTH, Belief, Evidence, utilities
from persona_plugins.contrastive.population import Prior, fit_prior
from persona_plugins.contrastive.space import Space
from tests.support.offers import NAMES, believe, default, offer, pair, population

LIKES_POOLS = {"w:pool": 3.0, "q:euro": -2.0}


def choices_of(weights, count, seed):
    rng = random.Random(seed)
    return [pair(weights, rng) for _ in range(count)]


@pytest.fixture(scope="module")
def fitted():
    people, _ = population(8, 20, own=2, seed=1)
    return fit_prior(people)


@pytest.fixture
def belief(fitted):
    return believe(fitted, choices_of(LIKES_POOLS, 20, 2), stated={"s:length": (-1, 10)})


def along(belief, name):
    direction = np.zeros(len(belief.names))
    direction[belief.names.index(name)] = 1.0
    return direction


# Mean and influence


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.booleans())
def test_the_influences_of_all_rows_add_up_to_the_deviation(seed, count, said):
    rng = np.random.default_rng(seed)
    stated = {"s:length": (1, count // 2)} if said else {}
    belief = believe(default(), choices_of(LIKES_POOLS, count, seed), stated=stated)
    for direction in rng.normal(size=(3, len(belief.names))):
        influence = belief.influence(direction)
        assert len(influence) == count + said
        assert influence.sum() == pytest.approx(direction @ belief.deviation, abs=1e-9)


def test_a_choice_moves_the_mean_towards_itself():
    """Each row's influence along its own difference is positive: it was chosen."""
    belief = believe(default(), choices_of({}, 15, 3))
    for i, row in enumerate(belief.rows):
        assert belief.influence(row)[i] > 0


def test_effect_is_the_populations_mean_plus_the_deviation(belief):
    directions = np.eye(len(belief.names))[:5]
    mean, variance = belief.effect(directions)
    assert mean == pytest.approx((belief.mean + belief.deviation)[:5])
    assert (variance > 0).all()
    assert (variance <= belief.prior.personal).all()


def test_without_choices_the_belief_is_the_populations(fitted):
    nobody = believe(fitted, ())
    asked = choices_of({}, 10, 4)
    weights = np.array([[fitted.space.difference(p).get(n, 0.0) for n in fitted.mean] for p in asked])
    direction = np.sign(weights @ np.array(list(fitted.mean.values())))
    assert (np.sign(nobody.predict(asked) - 0.5) == direction).all()
    assert np.array_equal(believe(default(), ()).predict(asked), np.full(10, 0.5))


def test_a_half_certain_choice_moves_the_belief_less():
    pairs = choices_of(LIKES_POOLS, 1, 5)
    sure, unsure = (believe(default(), pairs, certainty=[c]).predict(pairs)[0] for c in (1.0, 0.25))
    assert 0.5 < unsure < sure


def test_the_temperature_sharpens_and_changes_no_mind(fitted):
    asked = choices_of({}, 30, 6)
    pairs = choices_of(LIKES_POOLS, 20, 2)
    plain, sharp = (
        believe(Prior(fitted.space, fitted.mean, 4.0, 1.0, t), pairs).predict(asked) for t in (1.0, 0.7)
    )  # fmt: skip
    assert np.array_equal(plain > 0.5, sharp > 0.5)
    assert (np.abs(sharp - 0.5) >= np.abs(plain - 0.5)).all()
    logit = np.log(sharp / (1 - sharp)) / np.log(plain / (1 - plain))
    assert logit == pytest.approx(np.full(30, 1 / 0.7))


# Held out


def test_held_out_is_close_to_true_refits(fitted):
    """Measured over ten people: at most .022 off, .005 on average.

    The space stays as it is: it does not know which side was taken.
    """
    for prior in (default(), fitted):
        pairs = choices_of(LIKES_POOLS, 15, 7)
        belief = believe(prior, pairs)
        without, mine = belief.held_out()
        fixed = Prior(belief.space, prior.mean, prior.personal, prior.shared, prior.temperature)
        refits = [believe(fixed, pairs[:i] + pairs[i + 1 :]).predict(pairs[i : i + 1])[0] for i in range(15)]
        assert np.abs(mine - refits).max() < 0.06
        assert np.abs(mine - refits).mean() < 0.01
        assert without == pytest.approx(believe(fixed, ()).predict(pairs))


def test_choices_of_one_prompt_are_left_out_together():
    """The same choice made twice predicts itself, unless both were answers to one prompt."""
    others = choices_of({}, 8, 8)
    twice = [choices_of(LIKES_POOLS, 1, 9)[0]] * 2
    pairs = [*twice, *others]
    alone = believe(default(), pairs).held_out()[1]
    together = believe(default(), pairs, groups=[0, 0, *range(1, 9)]).held_out()[1]
    assert alone[0] > together[0] + 0.02
    few_prompts = believe(default(), pairs, groups=[0] * 5 + [1] * 5).held_out()[1]
    assert few_prompts == pytest.approx(alone)  # too few prompts to leave whole ones out


# What was said


def short_and_long(prefers_short, count=8):
    """Choices that differ in length, and in a word that means nothing."""
    rng = random.Random(1)
    pairs = []
    for _ in range(count):
        short, long = ({"s:length": v, **({"w:pool": 1.0} if rng.random() < 0.5 else {})} for v in (2.0, 4.0))
        pairs.append((short, long) if prefers_short else (long, short))
    return pairs


ASKED = [({"s:length": 4.0}, {"s:length": 2.0})]  # P(long over short)


def test_what_was_said_outweighs_what_was_chosen_before():
    pairs = short_and_long(prefers_short=True)
    assert believe(default(), pairs).predict(ASKED)[0] < 0.2
    assert believe(default(), pairs, stated={"s:length": (1, len(pairs))}).predict(ASKED)[0] > 0.7


def test_what_is_chosen_afterwards_adds_to_it_or_takes_from_it():
    pairs = short_and_long(prefers_short=True)
    said = {"s:length": (1, len(pairs))}
    before = believe(default(), pairs, stated=said).predict(ASKED)[0]
    confirmed = believe(default(), pairs + short_and_long(prefers_short=False), stated=said).predict(ASKED)[0]
    contradicted = believe(default(), pairs + short_and_long(prefers_short=True, count=12), stated=said).predict(ASKED)[
        0
    ]
    assert contradicted < before < confirmed
    assert contradicted < 0.5  # a dozen choices later, deeds count more than words


def test_a_direction_said_speaks_of_its_measure_only():
    pairs = short_and_long(prefers_short=True)
    belief = believe(default(), pairs, stated={"s:length": (1, len(pairs))})
    column = belief.names.index("s:length")
    assert np.array_equal(belief.rows[: len(pairs), column], np.zeros(len(pairs)))
    assert belief.rows[-1].tolist() == [float(i == column) for i in range(len(belief.names))]
    unsaid = believe(default(), pairs)
    pool = belief.names.index("w:pool"), unsaid.names.index("w:pool")
    assert np.array_equal(belief.rows[: len(pairs), pool[0]], unsaid.rows[:, pool[1]])


def test_a_word_counts_like_several_choices():
    row = {"s:length": 1.0}
    prior = Prior(Space.fit([(row, {})], ["s:length"]), {}, 4.0)
    scale = prior.space.measures["s:length"].scale
    unit = ({"s:length": 1 / scale}, {"s:length": 0.0})
    said = Belief(prior, Evidence((), (), (), {"s:length": (1, 0)}))
    chosen = believe(prior, [unit] * int(WORD_OF_MOUTH))
    assert said.deviation == pytest.approx(chosen.deviation, abs=1e-4)


def test_what_was_said_later_is_not_known_earlier():
    evidence = Evidence(choices_of({}, 6, 1), [1.0] * 6, list(range(6)), {"s:length": (1, 4)})
    assert evidence.first(3).stated == {}
    assert evidence.first(6).stated == {"s:length": (1, 4)}
    assert len(evidence.first(3).pairs) == 3


# State


def test_a_state_ranks_answers_as_the_belief_does(belief, fitted):
    rng = random.Random(11)
    answers = [offer(rng) for _ in range(60)]
    state = json.loads(json.dumps(belief.state(), allow_nan=False))
    scores = np.array(utilities(fitted, state, answers))
    weights = dict(zip(belief.names, belief.mean + belief.deviation, strict=True))
    for i in range(0, 60, 2):
        difference = belief.space.difference((answers[i], answers[i + 1]))
        mean = sum(z * weights.get(n, fitted.mean.get(n, 0.0)) for n, z in difference.items())
        assert scores[i] - scores[i + 1] == pytest.approx(mean, abs=2e-3)


def test_a_state_without_a_population_ranks_as_the_belief_does():
    belief = believe(default(), choices_of(LIKES_POOLS, 20, 2))
    rng = random.Random(12)
    answers = [offer(rng) for _ in range(40)]
    scores = utilities(default(), belief.state(), answers)
    for i in range(0, 40, 2):
        p = belief.predict([(answers[i], answers[i + 1])])[0]
        if abs(p - 0.5) > 1e-3:
            assert (scores[i] > scores[i + 1]) == (p > 0.5)


def test_a_state_keeps_the_weights_that_matter_most():
    rng = random.Random(13)
    words = [f"w:word{i}" for i in range(600)]
    pairs = [tuple({n: 1.0 for n in words if rng.random() < 0.3} for _ in range(2)) for _ in range(20)]
    belief = believe(default(), pairs)
    kept = belief.state()["weights"]
    assert len(kept) == STATE_FEATURES
    cut = np.sort(np.abs(belief.deviation))[-STATE_FEATURES]
    assert all(abs(belief.deviation[belief.names.index(n)]) >= cut - 1e-12 for n in kept)
    whole = {
        "weights": {
            n: [float(belief.deviation[i] * belief.space.measures[n].scale)] for i, n in enumerate(belief.names)
        }
    }
    answers = [{n: 1.0 for n in words if rng.random() < 0.3} for _ in range(40)]
    pruned, full = utilities(default(), belief.state(), answers), utilities(default(), whole, answers)
    assert np.corrcoef(pruned, full)[0, 1] > 0.9  # measured: .96


def test_a_state_is_small_and_holds_numbers_only(belief):
    state = belief.state()
    assert set(state) == {"weights"}
    for name, entry in state["weights"].items():
        assert name in NAMES
        assert len(entry) == (3 if name[0] in "qr" else 1)
        assert all(math.isfinite(v) for v in entry)


def test_scoring_takes_whatever_the_answers_are(belief, fitted):
    assert utilities(fitted, belief.state(), []) == []
    assert utilities(fitted, belief.state(), [{}]) == [0.0]
    assert utilities(fitted, {"weights": {}}, [{"w:unknown": 1.0, "q:unknown": 5.0}]) == [0.0]
    assert all(math.isfinite(u) for u in utilities(fitted, belief.state(), [{"q:euro": 0.0}, {"q:euro": -3.0}]))
