"""Who is given which rung: what changes nothing is used for few, what helps for most, whatever its margins' scale."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from persona_sdk.errors import InputError
from persona_sdk.tuning import rungs
from persona_sdk.tuning.assignments import RUNGS
from persona_sdk.tuning.rows import Example, Origin, Row
from persona_sdk.tuning.rungs import MINIMUM_PEOPLE, Measured, climb

ROW = Row(example=Example(id="1", origin=Origin(user_id="a"), chosen="yes", rejected="no", prompt=()))


def held(margins):
    return {user: [ROW] * len(its) for user, its in margins.items()}


def world(rng, people, choices, effect, spread=0.0):
    """People's margins under a prefix and under an adapter whose margins are larger, and better by `effect`.

    Both models err on the same choices, mostly; what the adapter adds differs by `spread` between people.
    """
    prefix, shared = {}, {}
    for n in range(people):
        count = int(rng.integers(*choices, endpoint=True))
        known, noise = 0.5 + 0.5 * rng.normal(), rng.normal(size=count)
        other = 0.7 * noise + math.sqrt(1 - 0.7**2) * rng.normal(size=count)
        prefix[f"user {n}"] = list(0.3 * (known + noise))
        shared[f"user {n}"] = list(1.7 * (known + effect + spread * rng.normal() + other))
    return prefix, shared


def adopted(people, choices, effect, spread=0.0, worlds=40):
    """The mean share of people who use the adapter, and the share of worlds in which it is everybody's default."""
    rng = np.random.default_rng(1)
    shares, defaults = [], []
    for _ in range(worlds):
        prefix, shared = world(rng, people, choices, effect, spread)
        found = climb(held(prefix), [Measured("prefix", prefix), Measured("shared", shared, "s")])
        shares.append(np.mean([one.rung == "shared" for one in found.assignments.values()]))
        defaults.append(found.default.rung == "shared")
    return float(np.mean(shares)), float(np.mean(defaults))


# The simulation behind the rule


@pytest.mark.parametrize(("people", "choices"), [(4, (4, 8)), (8, (1, 3)), (8, (4, 8)), (40, (1, 3)), (40, (4, 8))])
def test_a_rung_that_changes_nothing_is_adopted_by_few(people, choices):
    shares, defaults = adopted(people, choices, 0.0, worlds=100)
    assert shares < 0.07
    assert defaults < 0.1


@pytest.mark.parametrize(("people", "choices", "least"), [(40, (1, 3), 0.8), (40, (4, 8), 0.65), (40, (10, 20), 0.75)])
def test_a_rung_that_helps_is_adopted_by_most(people, choices, least):
    shares, defaults = adopted(people, choices, 0.35)
    assert shares > least
    assert defaults > 0.8


@pytest.mark.parametrize("choices", [(1, 3), (4, 8), (10, 20)])
def test_a_rung_that_harms_is_adopted_by_next_to_nobody(choices):
    shares, defaults = adopted(40, choices, -0.4)
    assert shares < 0.01
    assert defaults == 0


def test_a_rung_that_helps_some_and_harms_others_is_given_to_those_it_helps():
    rng = np.random.default_rng(2)
    prefix, shared = {}, {}
    for n in range(60):
        helped, noise = n % 2 == 0, rng.normal(size=12)
        prefix[f"user {n:02}"] = list(0.5 + noise)
        shared[f"user {n:02}"] = list(3 * (0.5 + (1.2 if helped else -0.8) + noise))
    found = climb(held(prefix), [Measured("prefix", prefix), Measured("shared", shared, "s")])
    given_it = {user for user, one in found.assignments.items() if one.rung == "shared"}
    helped = {f"user {n:02}" for n in range(0, 60, 2)}
    assert given_it <= helped
    assert len(given_it) > 15
    assert (found.default.rung, found.table[1].helps) == ("prefix", False)
    assert found.table[1].given == len(given_it)


# The parts of the rule


def people_of(count, margins):
    return {f"user {n:02}": list(margins) for n in range(count)}


def test_scale_says_nothing():
    """A model that is right where the other is, with margins ten times as large, is no better: nobody uses it."""
    rng = np.random.default_rng(3)
    prefix = {f"user {n:02}": list(0.5 + rng.normal(size=6)) for n in range(20)}
    for factor in (0.1, 1.0, 10.0, 1e6):
        larger = {user: [factor * margin for margin in its] for user, its in prefix.items()}
        found = climb(held(prefix), [Measured("prefix", prefix), Measured("shared", larger, "s")])
        assert {one.rung for one in found.assignments.values()} == {"prefix"}
        assert found.table[1].gain == pytest.approx(0.0, abs=1e-6)
        assert found.table[1].temperature == pytest.approx(factor * found.table[0].temperature, rel=1e-3)


def test_a_temperature_comes_from_other_people():
    """Someone's own choices do not move the scale that theirs are put on: here they alone are always wrong."""
    prefix = people_of(10, [0.1, -0.1, 0.2])
    one = {**prefix, "user 00": [-5.0, -5.0, -5.0]}
    scaled, _ = rungs._scaled(prefix, 0)
    changed, _ = rungs._scaled(one, 0)
    slope = lambda p, m: math.log(math.exp(-p) - 1) / -m  # noqa: E731 - the inverse of log σ(slope · m)
    assert slope(changed["user 00"][0], -5.0) == pytest.approx(slope(scaled["user 00"][0], 0.1))


@given(st.lists(st.floats(-50, 50).filter(lambda m: abs(m) > 1e-3), min_size=1, max_size=30))
def test_the_temperature_is_that_of_the_largest_likelihood(margins):
    found = rungs._slope(np.array(margins))
    size = math.sqrt(np.mean(np.square(margins)))
    every = np.array([*margins, size, -size])
    likelihood = lambda slope: -np.logaddexp(0.0, -slope * every).sum()  # noqa: E731 - as in the definition
    if sum(margins) <= 0:
        assert found == 0
    else:
        assert likelihood(found) >= max(likelihood(found * 1.01), likelihood(found * 0.99)) - 1e-9
        assert math.isfinite(found)


@pytest.mark.parametrize("freedom", [3, 4, 5, 8, 20, 100, 10_000])
def test_the_quantile_is_students(freedom):
    assert rungs._quantile(freedom) == pytest.approx(stats.t.ppf(0.95, freedom), rel=0.02)


def test_quantiles_of_next_to_nothing_are_out_of_reach():
    assert rungs._quantile(2) == rungs._quantile(0) == math.inf


def test_gains_are_shrunk_towards_everybodys_by_their_number_of_choices():
    rng = np.random.default_rng(4)
    gains = [0.2 + 0.3 * rng.normal() + rng.normal(size=count) for count in (1, 2, 4, 8, 16, 32, 64) * 6]
    found = rungs._Gains.of(gains)
    kept = (found.shrunk - found.mean) / (found.own - found.mean)
    by_count = [float(np.mean(kept[n::7])) for n in range(7)]
    assert by_count == sorted(by_count)
    assert 0 < by_count[0] < 0.3
    assert 0.6 < by_count[-1] < 1
    assert (found.error_of <= np.sqrt(1.5 / found.choices) + found.error).all()
    assert found.between == pytest.approx(0.3, abs=0.15)


def test_with_few_people_only_somebodys_own_choices_count():
    prefix = people_of(MINIMUM_PEOPLE - 1, [0.1, -0.1, 0.1, -0.1, 0.1, -0.1])
    better = people_of(MINIMUM_PEOPLE - 1, [1.0, 0.9, 1.1, 0.8, 1.2, 0.9])
    found = climb(held(prefix), [Measured("prefix", prefix), Measured("own", better, "x")])
    assert {one.rung for one in found.assignments.values()} == {"own"}
    assert not found.table[1].helps
    few = {user: its[:3] for user, its in prefix.items()}
    found = climb(held(few), [Measured("prefix", few), Measured("own", {u: m[:3] for u, m in better.items()}, "x")])
    assert {one.rung for one in found.assignments.values()} == {"prefix"}


def test_nobody_is_given_what_predicts_fewer_of_their_choices():
    """Everybody else gains a lot; one person is a little surer, but wrong more often."""
    prefix = people_of(20, [0.1, -0.1] * 4)
    better = people_of(20, [1.0] * 8)
    prefix["user 00"] = [0.001] * 3 + [-1.0] * 5
    better["user 00"] = [-0.001] * 3 + [-0.002] * 5
    found = climb(held(prefix), [Measured("prefix", prefix), Measured("shared", better, "s")])
    assert found.assignments["user 00"].rung == "prefix"
    assert {one.rung for user, one in found.assignments.items() if user != "user 00"} == {"shared"}


def test_from_four_choices_on_they_must_say_so_themselves():
    """All others gain, but one person's choices are predicted wrong: few of them are chance, more of them count."""
    rng = np.random.default_rng(5)
    for count, rung in ((3, "shared"), (4, "prefix")):
        prefix = {f"user {n:02}": list(rng.normal(size=8)) for n in range(30)}
        better = {user: [margin + 1.5 for margin in its] for user, its in prefix.items()}
        prefix["user 00"], better["user 00"] = [0.3] * count, [-0.05] * count
        found = climb(held(prefix), [Measured("prefix", prefix), Measured("shared", better, "s")])
        assert found.assignments["user 00"].rung == rung


def test_each_rung_is_compared_with_the_highest_that_is_used():
    """The cluster's adapter is no better than nothing but better than the shared one, which nobody uses."""
    prefix = people_of(12, [0.5, 0.4, 0.6, -0.1, 0.5, 0.5])
    worse = people_of(12, [-0.5, 0.1, -0.6, -0.1, 0.5, -0.5])
    found = climb(
        held(prefix), [Measured("cluster", prefix, "c"), Measured("prefix", prefix), Measured("shared", worse, "s")]
    )
    assert {one.rung for one in found.assignments.values()} == {"prefix"}
    assert [one.rung for one in found.table] == ["prefix", "shared", "cluster"]


def test_the_higher_rung_is_used_only_if_it_beats_the_one_in_use():
    """The shared adapter is much better than the prefix, the cluster's somewhat: better than nothing is not enough."""
    rng = np.random.default_rng(9)
    steps = [{f"user {n:02}": list(quality + rng.normal(size=20)) for n in range(20)} for quality in (0.0, 2.0, 1.0)]
    ladder = [Measured("prefix", steps[0]), Measured("shared", steps[1], "s"), Measured("cluster", steps[2], "c")]
    found = climb(held(steps[0]), ladder)
    assert {one.rung for one in found.assignments.values()} == {"shared"}
    assert (found.table[1].gain > 0, found.table[2].gain < 0) == (True, True)
    without = climb(held(steps[0]), [ladder[0], ladder[2]])
    assert sum(one.rung == "cluster" for one in without.assignments.values()) > 15


def test_people_as_a_whole_gain_nothing_where_fewer_choices_are_predicted_right():
    """Surer where it is right than where it is wrong, but wrong more often: likelier choices, and fewer of them."""
    prefix = people_of(20, [1.0, 1.0, 1.0, -1.0, -1.0])
    surer = people_of(20, [3.0, 3.0, -0.1, -0.1, -0.1])
    found = climb(held(prefix), [Measured("prefix", prefix), Measured("shared", surer, "s")])
    assert found.table[1].gain > 0
    assert found.table[1].accuracy < found.table[1].accuracy_below
    assert (found.table[1].helps, found.default.rung) == (False, "prefix")


def test_the_whole_ladder():
    rng = np.random.default_rng(6)
    users = [f"user {n:02}" for n in range(24)]
    steps = [{user: list(quality + 0.8 * rng.normal(size=30)) for user in users} for quality in (0.0, 0.6, 1.4, 3.0)]
    some = {user: steps[3][user] for user in users[:10]}
    clusters = {user: f"cluster-{n % 2}" for n, user in enumerate(users)}
    found = climb(
        held(steps[0]),
        [
            Measured("prefix", steps[0]),
            Measured("shared", steps[1], "s", seen=frozenset(users[:10])),
            Measured("cluster", steps[2], clusters),
            Measured("own", some, {user: f"own-{user[-2:]}" for user in some}),
        ],
    )
    one = found.assignments["user 00"]
    assert [(step.rung, step.adapter) for step in one.chain()] == [
        ("own", "own-00"), ("cluster", "cluster-0"), ("shared", "s"),
    ]  # fmt: skip
    assert list(one.accuracy) == list(RUNGS)
    assert one.accuracy["prefix"] < one.accuracy["shared"] < one.accuracy["own"]
    assert one.choices == 30
    assert one.gain > 2 * one.standard_error > 0
    assert found.assignments["user 11"].adapter == "cluster-1"
    assert (found.default.adapter, found.default.people, found.default.choices) == ("s", 14, 420)
    assert [compared.given for compared in found.table] == [24, 23, 24, 10]
    assert "shared predicts better on 720 held-out choices of 24 people: +0." in found.table[1].verified


def test_the_default_is_measured_on_people_it_was_not_trained_on():
    """It knows those it was trained on by heart, and is worse for everybody else."""
    rng = np.random.default_rng(7)
    users = [f"user {n:02}" for n in range(40)]
    prefix = {user: list(0.5 + rng.normal(size=6)) for user in users}
    shared = {user: list((3.0 if n < 30 else 0.0) + rng.normal(size=6)) for n, user in enumerate(users)}
    ladder = [Measured("prefix", prefix), Measured("shared", shared, "s", seen=frozenset(users[:30]))]
    found = climb(held(prefix), ladder)
    assert found.table[1].helps
    assert (found.default.rung, found.default.people) == ("prefix", 10)
    assert climb(held(prefix), [ladder[0], Measured("shared", shared, "s")]).default.rung == "shared"
    everybody = climb(held(prefix), [ladder[0], Measured("shared", shared, "s", seen=frozenset(users))])
    assert (everybody.default.rung, everybody.default.choices) == ("prefix", 0)


def test_those_without_held_out_choices_are_left_to_the_default():
    prefix = people_of(6, [0.5, 0.4])
    found = climb({**held(prefix), "new": []}, [Measured("prefix", prefix)])
    assert set(found.assignments) == set(prefix)
    assert climb({"new": []}, [Measured("prefix", {})]) == rungs.Climb({}, found.default, ())
    assert found.default.rung == "prefix"


def test_the_order_of_people_changes_nothing():
    prefix, shared = world(np.random.default_rng(8), 30, (1, 9), 0.4, 0.4)
    there = climb(held(prefix), [Measured("prefix", prefix), Measured("shared", shared, "s")])
    back = [dict(reversed(one.items())) for one in (prefix, shared)]
    assert climb(held(back[0]), [Measured("shared", back[1], "s"), Measured("prefix", back[0])]) == there


@given(
    st.dictionaries(st.text("abcdefgh", min_size=1, max_size=1), st.lists(st.floats(-1e6, 1e6), max_size=5)),
    st.randoms(use_true_random=False),
)
def test_anything_finite_is_decided(margins, chance):
    other = {user: [chance.choice([m, -m, 0.0, 1.0]) for m in its] for user, its in margins.items()}
    found = climb(held(margins), [Measured("prefix", margins), Measured("own", other, "x")])
    for user, one in found.assignments.items():
        assert one.rung in ("prefix", "own")
        assert math.isfinite(one.gain)
        assert one.choices == len(margins[user])
        assert one.rung == "prefix" or one.gain > 0


@pytest.mark.parametrize(
    ("ladder", "says"),
    [
        ([], "there has to be the prefix"),
        ([Measured("shared", {"a": [1.0]}, "s")], "there has to be the prefix"),
        ([Measured("prefix", {"a": [1.0]}), Measured("prefix", {"a": [1.0]})], "each rung once"),
        ([Measured("prefix", {})], "not everybody with held-out choices"),
        ([Measured("prefix", {"a": [1.0, 2.0]})], "prefix needs one finite margin"),
        ([Measured("prefix", {"a": [math.nan]})], "prefix needs one finite margin"),
        ([Measured("prefix", {"a": [1.0]}), Measured("own", {"a": [1.0]}, {"b": "x"})], "own needs an adapter"),
        ([Measured("prefix", {"a": [1.0]}, "x")], "prefix needs an adapter|needs"),
    ],
)
def test_mistakes_are_named(ladder, says):
    with pytest.raises(InputError, match=says):
        climb({"a": [ROW]}, ladder)
