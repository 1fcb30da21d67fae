"""What people have in common: learnt where they share it, left alone where they do not, and nobody's own words kept."""

import json
import random
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_plugins.contrastive import population as module
from persona_plugins.contrastive.inferrer import Contrastive
from persona_plugins.contrastive.population import (
    DEFAULT_PERSONAL,
    MAX_CHOICES,
    MINIMUM_PAIRS,
    MINIMUM_PEOPLE,
    MINIMUM_USERS,
    TYPICAL,
    Prior,
    UserPairs,
    _compare,
    _drawn,
    fit_prior,
    vocabulary,
)
from persona_plugins.contrastive.reading import Reader, prior_of
from persona_plugins.contrastive.space import SHARES, Space
from persona_sdk.hierarchy import PERSONAL_GRID, SHARED_GRID, TEMPERATURES, Hierarchy, _temperature, folds_of
from persona_sdk.inference import History
from tests.support.offers import NAMES, as_choices, believe, default, population, preference, trains


@cache
def world(own, seed):
    """A planted population, the prior fitted on it, and log probabilities of fresh choices by who predicts them."""
    people, later = population(16, 20, own=own, seed=seed)
    prior = fit_prior(people)
    scores = {"shared": [], "persona": [], "other": []}
    for i, fresh in enumerate(later):
        for who, known in (("shared", ()), ("persona", people[i].pairs), ("other", people[i - 1].pairs)):
            scores[who] += np.log(believe(prior, known).predict(fresh)).tolist()
    return prior, {who: float(np.mean(values)) for who, values in scores.items()}


# Predicting


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_people_differ_ones_own_persona_predicts_best(seed):
    """Measured: −.50 to −.54 nats a choice with the persona, −.61 to −.67 shared, −.78 to −.85 with another's."""
    prior, scores = world(2, seed)
    assert prior.personal >= 3
    assert scores["persona"] > scores["shared"] + 0.05
    assert scores["persona"] > scores["other"] + 0.1
    assert scores["persona"] > np.log(0.5) + 0.08


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_people_do_not_differ_everyone_gets_the_populations_answer(seed):
    """Measured: the persona costs at most .005 nats a choice."""
    prior, scores = world(0, seed)
    assert prior.personal <= PERSONAL_GRID[0]
    assert scores["shared"] > np.log(0.5) + 0.15  # there is something to share
    assert scores["persona"] > scores["shared"] - 0.02


def test_people_who_choose_at_random_have_nothing_in_common():
    rng = random.Random(3)
    people, _ = population(10, 20, own=0, seed=3)
    at_random = [
        UserPairs(p.user_id, [q if rng.random() < 0.5 else q[::-1] for q in p.pairs], p.groups) for p in people
    ]
    prior = fit_prior(at_random)
    p = believe(prior, ()).predict([q for person in people for q in person.pairs])
    assert prior.shared <= SHARED_GRID[2]
    assert np.abs(p - 0.5).mean() < 0.1


def test_the_shared_weights_have_the_planted_signs():
    rng = random.Random(0)
    common = {name: rng.gauss(0, 1) for name in NAMES}  # as `population` draws them
    prior, _ = world(0, 0)
    for name, weight in common.items():
        if abs(weight) > 0.7:
            assert prior.mean[name] * weight > 0, name


# Choosing the variances


def test_variances_and_temperature_are_those_of_the_grids():
    for own in (0, 2):
        prior, _ = world(own, 0)
        assert prior.shared in SHARED_GRID
        assert prior.personal in (0.0, *PERSONAL_GRID)
        assert prior.temperature in TEMPERATURES


def test_the_variances_chosen_are_the_best_of_the_grid_by_held_out_score():
    people, _ = population(8, 15, own=2, seed=6)
    pairs = [pair for person in people for pair in person.pairs]
    *_, problem = _compare(people, Space.fit(pairs, vocabulary(people)), np.random.default_rng(0))
    shared, personal, _ = problem.select()
    assert all(problem.log_score(s, 0.0) <= problem.log_score(shared, 0.0) for s in SHARED_GRID)
    assert all(problem.log_score(shared, p) <= problem.log_score(shared, personal) for p in (0.0, *PERSONAL_GRID))


def test_held_out_probabilities_do_not_change_with_the_choice_they_predict():
    """Turn one choice round: what its fold's model says about the others of its fold stays as it was."""
    people, _ = population(4, 10, own=2, seed=7)
    pairs = [pair for person in people for pair in person.pairs]
    space = Space.fit(pairs, NAMES)
    turned = [
        UserPairs(people[0].user_id, [people[0].pairs[0][::-1], *people[0].pairs[1:]], people[0].groups),
        *people[1:],
    ]
    before, after = (_compare(p, space, np.random.default_rng(0))[-1] for p in (people, turned))
    assert np.array_equal(before.fold, after.fold)
    same_fold = before.fold == before.fold[0]
    mine, other = before.held_out(3.0, 3.0), after.held_out(3.0, 3.0)
    assert mine[0][same_fold][1:] == pytest.approx(other[0][same_fold][1:], abs=1e-6)
    assert mine[0][0] == pytest.approx(1 - other[0][0], abs=1e-6)


def test_choices_of_one_prompt_stay_in_one_fold():
    folds = folds_of([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5], np.random.default_rng(0))
    assert all(folds[i] == folds[i + 1] for i in range(0, 12, 2))
    assert len(set(folds_of([0] * 10, np.random.default_rng(0)))) == 5  # one prompt only: choices are spread


def test_the_temperature_is_the_one_that_scores_best():
    sure = np.log(np.full(100, 0.7))  # right every time, and too modest
    assert _temperature(sure) == min(TEMPERATURES)
    calibrated = np.log(np.array([0.7] * 70 + [0.3] * 30))
    assert _temperature(calibrated) == 1.0
    assert _temperature(np.array([0.0, -1e-300, -50.0])) in TEMPERATURES


@pytest.mark.parametrize("own", [0, 2])
def test_of_the_profiles_of_shares_the_one_that_scores_best_is_taken(own):
    people, _ = population(8, 15, own=own, seed=6)
    pairs = [pair for person in people for pair in person.pairs]
    scores = {}
    for shares in SHARES:
        space = Space.fit(pairs, vocabulary(people), shares)
        scores[_compare(people, space, np.random.default_rng(0))[-1].log_score(*TYPICAL)] = space.group_scale
    # The people are drawn in another order there, which changes folds a little; the better profile stays the better.
    assert max(scores) - min(scores) > 0.005
    assert fit_prior(people).space.group_scale == pytest.approx(scores[max(scores)])


# Whom it is fitted on


def test_few_people_or_choices_are_no_population():
    def histories(people, choices):
        rng = random.Random(1)
        like = [lambda price, _: -price, lambda _, hours: -hours]
        return [History(f"u{i}", trains(choices, rng, prefers=like[i % 2], user_id=f"u{i}")) for i in range(people)]

    inferrer = Contrastive()
    assert inferrer.fit_population("default", histories(MINIMUM_PEOPLE - 1, 30)) is None
    assert inferrer.fit_population("default", histories(MINIMUM_PEOPLE, MINIMUM_PAIRS // MINIMUM_PEOPLE - 1)) is None
    fitted = inferrer.fit_population("default", histories(MINIMUM_PEOPLE, MINIMUM_PAIRS // MINIMUM_PEOPLE))
    assert fitted is not None
    assert (fitted.users, fitted.choices) == (MINIMUM_PEOPLE, MINIMUM_PAIRS)
    assert fitted.fingerprint == prior_of(fitted).fingerprint
    assert prior_of(None).personal == DEFAULT_PERSONAL
    assert prior_of(None).mean == {}


def test_people_without_choices_do_not_count():
    rng = random.Random(1)
    some = [History(f"u{i}", trains(30, rng, prefers=lambda p, _: -p, user_id=f"u{i}")) for i in range(4)]
    assert Contrastive().fit_population("default", [*some, History("silent", ())]) is None


def test_no_more_choices_are_used_than_can_be_fitted():
    people = [UserPairs(f"u{i}", [({"w:a": 1.0}, {})] * 100, list(range(100))) for i in range(30)]
    drawn = _drawn(people, np.random.default_rng(0))
    assert sum(len(p.pairs) for p in drawn) == MAX_CHOICES
    assert all(len(p.pairs) == len(p.groups) == 100 for p in drawn)  # whole people
    assert len({p.user_id for p in drawn}) == len(drawn)
    one = _drawn([UserPairs("u", [({"w:a": 1.0}, {})] * 5000, list(range(5000)))], np.random.default_rng(0))
    assert [len(p.pairs) for p in one] == [MAX_CHOICES]


def test_the_fit_uses_no_more_choices_than_that(monkeypatch):
    monkeypatch.setattr(module, "MAX_CHOICES", 60)
    people, _ = population(8, 20, own=1, seed=8)
    sizes = []
    fit = Hierarchy.fit
    monkeypatch.setattr(Hierarchy, "fit", lambda self, rows, *rest: sizes.append(len(rows)) or fit(self, rows, *rest))
    fit_prior(people)
    assert max(sizes) == 60


def test_the_same_people_give_the_same_population():
    people, _ = population(6, 20, own=1, seed=9)
    first, again = fit_prior(people), fit_prior(people)
    assert again.to_data() == first.to_data()
    assert again.fingerprint == first.fingerprint


# What it may hold


def test_only_what_several_people_have_is_in_the_vocabulary():
    def holder(user, *words):
        return UserPairs(user, [({f"w:{w}": 1.0 for w in words} | {"s:length": 1.0}, {"e:0": 0.5})] * 4, [0, 1, 2, 3])

    people = [holder("a", "three", "two", "one"), holder("b", "three", "two"), holder("c", "three")]
    assert vocabulary(people) == ["e:0", "s:length", "w:three"]


def test_the_vocabulary_keeps_the_most_shared(monkeypatch):
    monkeypatch.setattr(module, "MAX_FEATURES", 3)
    people = [
        UserPairs(f"u{i}", [({f"w:{j}": 1.0 for j in range(i, 10)} | {"s:length": 1.0}, {})], [0]) for i in range(9)
    ]
    assert vocabulary(people) == ["s:length", "w:8", "w:9"]


secrets = st.text(alphabet="qxzjkvw", min_size=8, max_size=12)


@settings(max_examples=15, deadline=None)
@given(secret=secrets, number=st.integers(10_000_000, 99_999_999), holders=st.integers(1, MINIMUM_USERS - 1))
def test_what_fewer_than_three_people_wrote_is_nowhere_in_the_population(secret, number, holders):
    """However often they wrote it: as a word, in phrases, as a unit, as a quantity, in the prompt."""
    rng = random.Random(2)
    histories = []
    for i in range(6):
        signals = trains(20, rng, prefers=lambda price, _: -price, user_id=f"u{i}")
        if i < holders:
            signals = [
                preference(k, f"{s.chosen} The {secret} is near; 7 {secret}s, {secret} {number}.", s.rejected,
                           prompt=f"My {secret}?", user_id=f"u{i}")
                for k, s in enumerate(signals)
            ]  # fmt: skip
        histories.append(History(f"u{i}", signals))
    fitted = Contrastive().fit_population("default", histories)
    stored = fitted.model_dump_json()
    assert "q:euro" in stored or "w:" in stored  # what everybody's choices turned on
    assert secret not in stored
    assert str(number) not in stored
    assert "u0" not in stored


def test_the_population_holds_no_texts_and_no_ids():
    rng = random.Random(2)
    people = [Reader().user_pairs(f"u{i}", as_choices(trains(20, rng, prefers=lambda p, _: -p))) for i in range(6)]
    data = fit_prior(people).to_data()
    assert set(data) == {"format", "features", "group_scale", "rarity", "personal", "shared", "temperature"}
    assert all(len(name[2:].split()) <= 2 or name.startswith("q:") for name in data["features"])


def test_the_fingerprint_changes_if_and_only_if_the_data_do():
    people, _ = population(6, 20, own=1, seed=9)
    prior = fit_prior(people)
    data = prior.to_data()
    assert Prior.from_data(json.loads(json.dumps(data))).fingerprint == prior.fingerprint
    shuffled = {**data, "features": dict(reversed(data["features"].items()))}
    assert Prior.from_data(shuffled).fingerprint == prior.fingerprint  # the order of features is no difference
    name = next(n for n, entry in data["features"].items() if entry[3])
    for change in (
        {"personal": prior.personal + 1},
        {"shared": prior.shared + 1},
        {"temperature": 0.5},
        {"features": {**data["features"], name: [*data["features"][name][:3], 0.123]}},
        {"group_scale": {**data["group_scale"], "w": 0.5}},
    ):
        assert Prior.from_data({**data, **change}).fingerprint != prior.fingerprint
    assert default(3.0).fingerprint != default(4.0).fingerprint
