"""Sentences earn their weight on choices they were not made up from, or they are not kept."""

import numpy as np
import pytest

from persona_plugins.abductive.weighing import LEAST_GAIN, MOST_KEPT, Trial
from persona_sdk.laplace import log_sigmoid, sigmoid


def trial(z, offset=None, *, groups=None, variance=1.0, paired=False):
    z = np.asarray(z, float)
    n = len(z)
    return Trial(
        z=z,
        offset=np.zeros(n) if offset is None else np.asarray(offset, float),
        certainty=np.ones(n),
        groups=range(n) if groups is None else groups,
        prior=np.zeros(z.shape[1]),
        paired=np.full(z.shape[1], paired),
        variance=variance,
    )


def world(n, weights, seed):
    """Choices by someone with known weights: what was chosen is on the left, so z is turned accordingly."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, len(weights)))
    chosen = np.where(rng.random(n) < sigmoid(z @ np.asarray(weights, float)), 1.0, -1.0)
    return z * chosen[:, None]


def test_the_sentence_behind_the_choices_is_kept_and_the_others_are_not():
    found = [trial(world(40, [3, 0, 0, 0, 0], seed)).keep().columns for seed in range(10)]
    assert sum(kept[:1] == (0,) for kept in found) >= 9
    assert sum(len(kept) for kept in found) <= 14


def test_two_true_sentences_are_both_kept():
    found = [trial(world(60, [2.5, 0, 2.5, 0], seed)).keep().columns for seed in range(6)]
    assert sum({0, 2} <= set(kept) for kept in found) >= 5


def test_nothing_is_kept_of_choices_at_random():
    found = [trial(world(30, [0] * 12, seed)).keep().columns for seed in range(20)]
    assert sum(map(len, found)) <= 12  # of 240 sentences


def test_a_sentence_that_says_the_same_again_is_not_added():
    z = world(40, [3, 0], 1)
    z[:, 1] = z[:, 0] + np.random.default_rng(0).normal(size=40) * 0.05
    assert len(trial(z).keep().columns) == 1


def test_what_speaks_against_a_sentence_does_not_keep_it():
    assert trial(-np.abs(world(40, [3], 2))).keep().columns == ()


def test_what_speaks_against_a_sentence_speaks_for_its_contrary():
    against = -np.abs(world(40, [3], 2))
    weights = trial(against, paired=True).keep()
    assert weights.columns == (0,)
    assert weights.mean[0] < 0


def test_no_more_than_a_handful_is_kept():
    z = world(400, [1.5] * 8, 3)
    assert len(trial(z).keep().columns) == MOST_KEPT


def test_weights_are_those_of_the_preference_model():
    z = world(300, [1.0, 0], 4)
    weights = trial(z, variance=4.0).keep()
    assert weights.columns == (0,)
    assert weights.mean[0] == pytest.approx(1.0, abs=0.35)
    assert 0.05 < weights.spread[0] < 0.3


def test_a_choice_does_not_testify_for_the_sentence_made_up_from_it():
    """Someone who chooses at random, and a story for each choice: believed, all fit; tested, none does."""
    n = 24
    fits = np.abs(np.random.default_rng(5).normal(size=(n, 6))) * 3
    z = np.random.default_rng(6).normal(size=(n, 6)) * 0.5
    masked = z.copy()
    for h in range(6):
        z[4 * h : 4 * h + 4, h] = fits[4 * h : 4 * h + 4, h]
        masked[4 * h : 4 * h + 4, h] = 0.0
    believed, tested = (np.log(t.held_out()).mean() for t in (trial(z), trial(masked)))
    assert believed > np.log(0.5) + 0.05
    assert tested < np.log(0.5)


def test_what_is_known_already_leaves_nothing_to_a_sentence_that_repeats_it():
    z = world(60, [3, 0], 7)
    assert trial(z).keep().columns == (0,)
    assert trial(z, offset=3 * z[:, 0]).keep().columns == ()


def test_held_out_choices_are_predicted_without_having_been_seen():
    """Turn one choice round: what is predicted of it turns round too, so it had no part in it."""
    z = world(30, [3, 0, 0], 8)
    turned = z.copy()
    turned[0] = -turned[0]
    p, q = trial(z).held_out()[0], trial(turned).held_out()[0]
    assert p == pytest.approx(1 - q, abs=0.005)  # closed-form leave-one-out, exact to second order


def test_held_out_choices_of_one_prompt_are_left_out_together():
    z = np.repeat(world(10, [3, 0], 9), 3, axis=0)
    apart = trial(z).held_out()
    together = trial(z, groups=np.repeat(np.arange(10), 3).tolist()).held_out()
    assert np.log(together).mean() < np.log(apart).mean()


def test_choosing_at_random_is_predicted_no_better_than_a_coin():
    scores = [np.log(trial(world(24, [0] * 20, seed)).held_out()).mean() for seed in range(30)]
    assert np.mean(scores) < np.log(0.5) + 0.005


def test_the_more_sentences_are_tried_the_more_one_must_gain():
    """Of coin flips hardly a sentence is kept, however many are tried."""
    for tried in (4, 16, 64):
        kept = [trial(world(24, [0] * tried, seed), paired=True).keep().columns for seed in range(40)]
        assert sum(map(bool, kept)) <= 4


def test_without_a_persona_weights_are_as_uncertain_as_they_are():
    """Else shrinking alone would look like learning: every sentence here is about one choice, so nothing is learnt."""
    z = np.eye(12) * np.where(np.random.default_rng(2).random(12) < 0.5, 3.0, -3.0)[:, None]
    alone = trial(z, offset=2 * np.diag(z), variance=4.0)
    assert np.log(alone.held_out()).mean() == pytest.approx(np.log(alone.without()).mean(), abs=1e-3)


def test_true_sentences_predict_held_out_choices():
    scores = [np.log(trial(world(30, [3, *[0] * 15], seed)).held_out()).mean() for seed in range(10)]
    assert np.mean(scores) > np.log(0.5) + 0.1


def test_no_choices_and_no_sentences_are_fine():
    assert trial(np.zeros((0, 3))).keep().columns == ()
    assert trial(np.zeros((4, 0))).held_out() == pytest.approx([0.5] * 4)
    assert trial(np.zeros((5, 2)), offset=[1.0] * 5).held_out() == pytest.approx(sigmoid(np.ones(5)))


def test_a_sentence_must_gain_enough():
    z = np.full((4, 1), 0.2)
    assert 4 * (log_sigmoid(np.array([0.2]))[0] - np.log(0.5)) < LEAST_GAIN
    assert trial(z).keep().columns == ()
