"""Who is trained on, and who is measured: nobody is on both sides, whatever the order they come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_sdk.errors import InputError
from persona_sdk.tuning.rows import Row
from persona_sdk.tuning.splits import by_person, halves, hold_out, question_key, split
from tests.support.taught import example, many, of_people

SHARES = st.sampled_from([0.0, 0.1, 0.25, 0.4])
PARTS = ("train", "held_out", "validation", "test")


def people(count, choices=8):
    return [e for n in range(count) for e in many(f"user{n}", choices)]


def who(part):
    return {e.user_id for e in part}


def ids(part):
    return [e.id for e in part]


def test_people_are_divided_by_their_shares():
    made = split(people(20), validation=0.1, test=0.2)
    assert (len(who(made.test)), len(who(made.validation)), len(who(made.train))) == (4, 2, 14)
    assert (len(made.test), len(made.validation)) == (32, 16)
    assert (len(made.train), len(made.held_out)) == (14 * 6, 14 * 2)


@pytest.mark.parametrize(("count", "test", "validation"), [(1, 0, 0), (2, 0, 0), (3, 1, 0), (4, 1, 0), (5, 1, 1)])
def test_of_few_people_one_is_kept_for_testing_first(count, test, validation):
    made = split(people(count))
    strangers = who(made.validation) - who(made.train)
    assert (len(who(made.test)), len(strangers)) == (test, validation)
    assert made.validation  # with nobody left for it, it is the own choices of those who are trained on
    assert not who(made.test) & who(made.train)


def test_a_single_person_is_trained_on_held_out_and_validated_with():
    made = split(many("ann", 20), held_out=0.25, validation=0.2)
    asked = [e.question for e in many("ann", 20)]
    assert [e.question for e in made.train] == asked[:12]
    assert [e.question for e in made.validation] == asked[12:15]
    assert [e.question for e in made.held_out] == asked[15:]
    assert made.test == ()


def test_shares_of_nothing_are_nothing():
    made = split(people(9), validation=0, test=0, held_out=0)
    assert (len(made.train), made.held_out, made.validation, made.test) == (72, (), (), ())
    assert split([]) == split([], seed=5)


@given(of_people(), SHARES, SHARES, SHARES, st.integers(0, 5))
def test_nobody_is_in_two_parts_and_nothing_is_lost(examples, validation, test, held_out, seed):
    made = split(examples, seed=seed, validation=validation, test=test, held_out=held_out)
    assert sorted(i for part in PARTS for i in ids(getattr(made, part))) == sorted(ids(examples))
    assert not who(made.test) & who(made.train + made.held_out + made.validation)
    assert who(made.held_out) <= who(made.train)
    own = who(made.validation) & who(made.train)
    assert not own or own == who(made.validation)
    place = {e.id: n for n, e in enumerate(examples)}
    for part in PARTS:
        for theirs in by_person(getattr(made, part)).values():
            assert [place[e.id] for e in theirs] == sorted(place[e.id] for e in theirs)


@given(of_people(), st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_of_people_changes_nothing(examples, seed, rng):
    theirs = list(by_person(examples).values())
    rng.shuffle(theirs)
    turned = [e for one in theirs for e in one]
    assert split(turned, seed=seed) == split(examples, seed=seed)
    assert halves(turned, seed) == halves(examples, seed)


def test_the_seed_decides_who_tests():
    tested = {tuple(sorted(who(split(people(10), seed=seed).test))) for seed in range(20)}
    assert len(tested) > 10
    assert split(people(10), seed=3) == split(people(10), seed=3)


def test_equal_names_in_two_tenants_are_two_people():
    both = [*many("ann", 8), *(e.model_copy(update={"origin": e.origin.model_copy(update={"tenant": "b"})}) for e in
                               many("ann", 8))]  # fmt: skip
    assert len(by_person(both)) == 2


@given(st.lists(st.integers(0, 5), max_size=15), st.sampled_from([0.1, 0.25, 0.5, 0.99]))
def test_some_are_held_out_of_four_and_no_question_is_on_both_sides(asked, share):
    made = [example(question=f"Question {q}?", number=n) for n, q in enumerate(asked)]
    kept, held = hold_out(made, share)
    assert sorted(ids(kept + held)) == sorted(ids(made))
    assert bool(held) == (len(made) >= 4)
    if len(made) >= 4:
        assert kept
        if len(set(asked)) > 1:
            assert not {question_key(e) for e in kept} & {question_key(e) for e in held}
        if len(set(asked)) == len(asked):
            assert held == tuple(made[-len(held) :])
            assert len(held) == min(max(1, round(len(made) * share)), len(made) - 1)


def test_a_question_asked_again_goes_where_it_was_last():
    made = [example(question=q, number=n) for n, q in enumerate(["a?", "b?", "c?", "d?", "e?", "f?", "g?", " A? "])]
    kept, held = hold_out(made, 0.25)
    assert [e.question for e in held] == ["a?", " A? "]
    assert len(kept) == 6


def test_one_question_only_is_cut_by_time():
    kept, held = hold_out(many("ann", 8, questions=1), 0.25)
    assert (len(kept), [e.id[-1] for e in held]) == (6, ["6", "7"])


@pytest.mark.parametrize(
    ("shares", "says"),
    [({"test": -0.1}, "test"), ({"held_out": 1}, "held_out"), ({"validation": float("nan")}, "validation"),
     ({"validation": 0.5, "test": 0.5}, "nobody to train on")],
)  # fmt: skip
def test_impossible_shares_are_refused(shares, says):
    with pytest.raises(InputError, match=says):
        split(people(3), **shares)


# Halves


@given(of_people(), st.integers(0, 5))
def test_halves_share_nothing_and_everybody_is_in_both(examples, seed):
    sft, dpo = halves(examples, seed)
    assert sorted(ids(sft + dpo)) == sorted(ids(examples))
    for theirs in by_person(examples).values():
        mine = [[e for e in half if e.user_id == theirs[0].user_id] for half in (sft, dpo)]
        questions = [{question_key(e) for e in half} for half in mine]
        if len(theirs) > 1:
            assert all(mine)
        if len({question_key(e) for e in theirs}) > 1:
            assert not questions[0] & questions[1]
        else:
            assert abs(len(mine[0]) - len(mine[1])) <= 1


def test_halves_are_even_and_differ_between_seeds():
    sft, dpo = halves(people(50, choices=7))
    assert 150 < len(sft) < 200
    assert len(sft) + len(dpo) == 350
    assert len({tuple(ids(halves(people(2), seed)[0])) for seed in range(10)}) > 5


def test_rows_are_halved_as_their_examples_are():
    rows = [Row(example=e) for e in people(3)]
    assert [[r.example.id for r in half] for half in halves(rows)] == [ids(half) for half in halves(people(3))]
