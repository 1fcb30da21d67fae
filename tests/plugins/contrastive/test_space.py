"""The space differences are compared in: scales, shares, what is missing, what is one person's own."""

import json
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_plugins.contrastive.features import STYLE, features
from persona_plugins.contrastive.population import Prior
from persona_plugins.contrastive.space import SHARES, Measure, Space, matrix
from tests.support.offers import NAMES, pair, population


def some_pairs(count=40, seed=1):
    rng = random.Random(seed)
    return [pair({}, rng) for _ in range(count)]


def mean_squares(space, pairs):
    """Mean squared length of the differences, by group of features."""
    squares = {}
    for one in pairs:
        for name, z in space.difference(one).items():
            squares[name[0]] = squares.get(name[0], 0.0) + z * z / len(pairs)
    return squares


@pytest.mark.parametrize("shares", SHARES)
def test_each_group_has_its_share_and_together_they_are_one(shares):
    pairs = some_pairs()
    squares = mean_squares(Space.fit(pairs, NAMES, shares), pairs)
    assert sum(squares.values()) == pytest.approx(1.0)
    given_out = SHARES[shares]
    total = sum(given_out[group] for group in "wqs")
    assert squares == pytest.approx({group: given_out[group] / total for group in "wqs"})


def test_more_words_do_not_drown_one_price():
    few, many = some_pairs(), some_pairs()
    rng = random.Random(2)
    for one in many:
        for side in one:
            side.update({f"w:filler{i}": 1.0 for i in range(100) if rng.random() < 0.5})
    before = mean_squares(Space.fit(few, NAMES), few)
    names = {name for one in many for side in one for name in side}
    assert mean_squares(Space.fit(many, names), many) == pytest.approx(before)


def test_scales_do_not_know_which_side_was_taken():
    """So that holding a choice out does not need the space to be fitted again."""
    pairs = some_pairs()
    turned = [(b, a) for a, b in pairs]
    one, other = Space.fit(pairs, NAMES), Space.fit(turned, NAMES)
    assert {n: m.scale for n, m in one.measures.items()} == pytest.approx(
        {n: m.scale for n, m in other.measures.items()}
    )
    for straight, backwards in zip(pairs, turned, strict=True):
        there, back = one.difference(straight), other.difference(backwards)
        assert {n: -z for n, z in there.items()} == pytest.approx(back)


def test_a_rare_feature_counts_more_where_it_differs():
    pairs = [({"w:often": 1.0} | ({"w:rare": 1.0} if i < 5 else {}), {}) for i in range(80)]
    space = Space.fit(pairs, ["w:often", "w:rare"])
    ratio = space.measures["w:rare"].scale / space.measures["w:often"].scale
    assert ratio == pytest.approx((80 / 5) ** 0.25)


def test_quantities_are_compared_on_a_log_scale():
    pairs = [({"q:euro": 10.0}, {"q:euro": 20.0}), ({"q:euro": 100.0}, {"q:euro": 200.0})]
    space = Space.fit(pairs, ["q:euro"])
    assert space.measures["q:euro"].is_log
    a, b = (space.difference(one)["q:euro"] for one in pairs)
    assert a == pytest.approx(b)  # half the price is half the price
    assert a < 0


def test_quantities_that_may_be_zero_are_compared_by_their_root():
    pairs = [({"q:stop": 0.0}, {"q:stop": 1.0}), ({"q:stop": 4.0}, {"q:stop": 9.0})]
    space = Space.fit(pairs, ["q:stop"])
    assert not space.measures["q:stop"].is_log
    a, b = (space.difference(one)["q:stop"] for one in pairs)
    assert a == pytest.approx(b)


def test_a_value_the_scale_did_not_expect_is_read_all_the_same():
    measure = Measure(centre=math.log(10), scale=1.0, is_log=True)
    for value in (0.0, -5.0, 1e300):
        assert math.isfinite(measure.read(value, numeric=True))


def test_an_answer_that_does_not_mention_a_quantity_has_the_average():
    pairs = [({"q:euro": 10.0}, {"q:euro": 40.0}), ({"q:euro": 20.0}, {"q:euro": 80.0})]
    space = Space.fit(pairs, ["q:euro"])
    average = math.exp(sum(math.log(v) for v in (10, 40, 20, 80)) / 4)
    known = space.difference(({"q:euro": 10.0}, {"q:euro": average}))
    assert space.difference(({"q:euro": 10.0}, {})) == pytest.approx(known)
    assert space.difference(({}, {"q:euro": 10.0})) == pytest.approx({"q:euro": -known["q:euro"]})
    assert space.difference(({"q:euro": average}, {})) == pytest.approx({})


def test_what_never_differs_counts_nothing():
    pairs = [({"w:same": 1.0, "q:year": 2.0, "w:own": 1.0}, {"w:same": 1.0, "q:year": 2.0}) for _ in range(5)]
    space = Space.fit(pairs, ["w:same", "q:year", "w:own"])
    assert set(space.measures) == {"w:own"}
    assert space.difference(({"w:same": 1.0, "q:year": 7.0}, {})) == {}


def test_small_differences_of_style_are_not_blown_up():
    """Answers of 100 and of 101 words differ; nobody would say so."""
    little = [({"s:length": math.log(101)}, {"s:length": math.log(102)}), ({"s:length": 4.0}, {"s:length": 4.005})]
    much = [({"s:length": 2.0}, {"s:length": 4.0}), ({"s:length": 4.5}, {"s:length": 2.0})]
    for pairs, smallest in ((little, STYLE["length"]), (much, 2.0)):
        words = [({"w:a": 1.0, **a}, b) for a, b in pairs]
        space = Space.fit(words, ["s:length", "w:a"])
        raw = space.measures["s:length"].scale / space.group_scale["s"]
        assert 1 / raw >= smallest - 1e-9


def test_a_person_who_only_sees_small_differences_of_style_is_measured_like_everyone():
    pairs, _ = population(6, 20, own=1, seed=1)
    shared = Space.fit([p for u in pairs for p in u.pairs], NAMES)
    extended = shared.extended([({"s:length": 3.0}, {"s:length": 3.001})])
    assert extended.measures["s:length"] is shared.measures["s:length"]


def test_extending_keeps_what_is_known_and_adds_ones_own():
    space = Space.fit(some_pairs(), NAMES)
    own = [({"w:jacuzzi": 1.0, "w:pool": 1.0, "q:metre": 5.0}, {"q:metre": 9.0}), ({"w:pool": 1.0}, {"w:jacuzzi": 1.0})]
    extended = space.extended(own)
    assert {n: extended.measures[n] for n in space.measures} == dict(space.measures)
    assert extended.measures.keys() - space.measures.keys() == {"w:jacuzzi", "q:metre"}
    assert set(extended.difference(own[0])) == {"w:jacuzzi", "w:pool", "q:metre"}
    assert space.extended(some_pairs()) is space  # nothing new
    # One's own word is scaled as the usual word of the population is.
    scale = extended.measures["w:jacuzzi"].scale
    assert scale == pytest.approx(space.rarity["w"] * space.group_scale["w"])


def test_without_a_population_ones_own_choices_are_the_space():
    empty = Prior.default().space
    pairs = some_pairs(10)
    space = empty.extended(pairs)
    assert sum(mean_squares(space, pairs).values()) == pytest.approx(1.0)
    assert empty.extended([]).measures == {}


def test_features_nobody_knows_are_passed_over():
    space = Space.fit(some_pairs(), NAMES)
    assert space.difference(({"w:never seen": 1.0}, {"e:0": 3.0})) == {}


def test_the_difference_is_that_of_what_each_answer_is_read_as():
    """z(a, b) = read(a) − read(b), a missing word read as 0 and a missing quantity as the average."""
    pairs = some_pairs()
    space = Space.fit(pairs, NAMES)

    def read(side, name):
        measure, numeric = space.measures[name], name[0] in "qr"
        return (
            (0.0 if numeric else measure.read(0.0, numeric=False))
            if name not in side
            else measure.read(side[name], numeric=numeric)
        )

    for a, b in pairs:
        difference = space.difference((a, b))
        for name in NAMES:
            assert difference.get(name, 0.0) == pytest.approx(read(a, name) - read(b, name), abs=1e-9)


texts = st.text(alphabet="abc $5.,!-\n", min_size=0, max_size=60)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(texts, texts), max_size=8))
def test_any_texts_make_a_finite_space(pairs):
    read = [(features(a), features(b)) for a, b in pairs]
    names = {name for one in read for side in one for name in side}
    space = Space.fit(read, names)
    for one in read:
        assert all(math.isfinite(z) for z in space.difference(one).values())
    total = sum(mean_squares(space, read).values())
    assert total <= 1.0 + 1e-6  # less where answers are alike in style


def test_matrix_stacks_rows_by_name():
    names, dense = matrix([{"a": 1.0, "b": 2.0}, {}, {"b": 3.0}])
    assert names == ["a", "b"]
    assert np.array_equal(dense, [[1, 2], [0, 0], [0, 3]])
    assert matrix([])[1].shape == (0, 0)


# A population in JSON


def test_a_prior_survives_json_and_predicts_exactly_the_same():
    from persona_plugins.contrastive.population import fit_prior
    from tests.support.offers import believe

    people, later = population(8, 20, own=1.5, seed=4)
    stored = json.loads(json.dumps(fit_prior(people).to_data(), allow_nan=False))
    prior = Prior.from_data(stored)
    again = Prior.from_data(json.loads(json.dumps(prior.to_data())))
    assert again == prior
    assert again.to_data() == stored
    assert again.fingerprint == prior.fingerprint
    for person, fresh in zip(people, later, strict=True):
        one, other = believe(prior, person.pairs), believe(again, person.pairs)
        assert np.array_equal(one.predict(fresh), other.predict(fresh))
        assert one.state() == other.state()


def test_rounding_for_json_moves_no_prediction_by_more_than_a_hair():
    from persona_plugins.contrastive.population import fit_prior
    from tests.support.offers import believe

    people, later = population(8, 20, own=1.5, seed=5)
    prior = fit_prior(people)
    stored = Prior.from_data(prior.to_data())
    for person, fresh in zip(people, later, strict=True):
        there, back = (believe(p, person.pairs).predict(fresh) for p in (prior, stored))
        assert np.abs(there - back).max() < 1e-4
