"""Measuring tailoring: figures by hand and by brute force, with models that follow a rule anybody can compute."""

import hashlib
import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_sdk.errors import InputError, ModelError
from persona_sdk.evaluation.tailoring import GROUPS, Arm, Setup, arms_of, contrary_people, evaluate_tailoring
from persona_sdk.language import LogLikelihood
from persona_sdk.memory import Consent, person_key
from persona_sdk.models import Lineage, Persona
from persona_sdk.testing import make_trait
from persona_sdk.tuning.prefixes import Knowledge
from persona_sdk.tuning.rows import Example, Origin
from tests.support.liking import Likes, choices, known
from tests.support.taught import example, many


class Chance:
    """Finds answers likely at random, always the same for the same question."""

    def __init__(self, seed):
        self.seed = seed

    def mean(self, messages, answer):
        hashed = hashlib.sha256(json.dumps([self.seed, messages, answer]).encode()).digest()
        return -4 * int.from_bytes(hashed[:4], "big") / 2**32

    def log_likelihoods(self, asked):
        return [LogLikelihood(7 * self.mean(messages, answer), 7) for messages, answer in asked]


def key(user):
    return person_key("default", user)


# By hand


@pytest.fixture
def report():
    """Ann takes red 3 times of 4, Bob blue always; the base favours red, and only the tuned model reads."""
    asked = [*choices("ann", "red", "red", "red", "blue"), *choices("bob", "blue", "blue")]
    models = {"base": Likes({"red": 0.5}, heeds=False), "tuned": Likes({"red": 0.5})}
    setup = Setup(trained=frozenset({key("ann"), "somebody else"}), contrary={"ann": "bob"})
    arms = arms_of(models, ["gold", "shuffled:gold"])
    return evaluate_tailoring(asked, known(ann="red", bob="blue"), arms, setup)


def test_accuracy_is_a_mean_over_people_by_group(report):
    assert list(report.arms) == [
        "base/none", "base/gold", "base/shuffled:gold", "tuned/none", "tuned/gold", "tuned/shuffled:gold",
    ]  # fmt: skip
    assert report.reference == "base/none"
    base, tuned = report.arms["base/none"], report.arms["tuned/gold"]
    assert [base.accuracy[g].value for g in GROUPS] == [pytest.approx(0.375), 0.75, 0.0]
    assert [base.accuracy[g].people for g in GROUPS] == [2, 1, 1]
    assert [tuned.accuracy[g].value for g in GROUPS] == [pytest.approx(0.875), 0.75, 1.0]
    assert base.accuracy["all"].standard_error == pytest.approx(0.375)  # of .75 and 0: sd .5303 / √2
    assert base.accuracy["unseen"].standard_error is None
    # Told that they like what the other likes: ann .25, bob 0.
    assert report.arms["tuned/shuffled:gold"].accuracy["all"].value == pytest.approx(0.125)
    assert (report.choices, report.left_out) == (6, 0)


def test_gains_are_each_persons_own(report):
    assert report.gains("tuned/gold") == {key("ann"): 0.0, key("bob"): 1.0}
    tuned, shuffled = report.arms["tuned/gold"], report.arms["tuned/shuffled:gold"]
    assert (tuned.gain["all"].value, tuned.gain["trained"].value, tuned.gain["unseen"].value) == (0.5, 0.0, 1.0)
    assert tuned.worse == 0.0
    assert shuffled.worse == 0.5
    base = report.arms["base/none"]
    assert (base.gain, base.worse, base.equity) == (None, None, None)
    assert report.people[key("ann")].trained is True
    assert report.people[key("bob")].trained is False
    assert report.people[key("ann")].choices == 4


def test_a_swap_is_measured_where_it_says_something_else(report):
    shuffled, contrary = (
        next(s for s in report.swaps if (s.model_name, s.against) == ("tuned", against))
        for against in ("shuffled", "contrary")
    )
    assert shuffled.steer.value == pytest.approx((0.5 + 1.0) / 2)  # ann .75 − .25, bob 1 − 0
    assert shuffled.flips.value == 1.0
    assert shuffled.fits.value == pytest.approx((0.75 + 1.0) / 2)  # what they are said to like is what they chose
    assert (shuffled.choices, shuffled.steer.people) == (6, 2)
    assert (contrary.choices, contrary.steer.people) == (4, 1)  # only ann has somebody contrary
    assert contrary.steer.value == pytest.approx(0.5)
    deaf = [s for s in report.swaps if s.model_name == "base"]
    assert [(s.steer.value, s.flips.value, s.fits.value) for s in deaf] == [(0.0, 0.0, 0.5), (0.0, 0.0, 0.5)]


def test_what_makes_an_answer_likely_whoever_is_asked_cancels_in_fits():
    asked = [*choices("ann", "red", "red", "blue"), *choices("bob", "blue")]
    arms = arms_of({"tuned": Likes({"red": 5.0})}, ["gold", "shuffled:gold"])
    (swap,) = evaluate_tailoring(asked, known(ann="red", bob="blue"), arms).swaps
    assert (swap.steer.value, swap.flips.value) == (0.0, 0.0)  # red it is, told or not
    assert (swap.fits.value, swap.fits.people) == (pytest.approx((2 / 3 + 1) / 2), 2)


def test_a_swap_for_the_same_text_is_none():
    asked = [*choices("ann", "red"), *choices("bob", "red")]
    arms = arms_of({"base": Likes()}, ["gold", "shuffled:gold"])
    (swap,) = evaluate_tailoring(asked, known(ann="red", bob="red"), arms).swaps
    assert (swap.choices, swap.steer.value) == (0, None)


def test_lengths(report):
    assert report.longer.value == pytest.approx((0.25 + 1.0) / 2)  # blue is longer
    base, tuned = report.arms["base/none"], report.arms["tuned/gold"]
    assert base.takes_longer.value == 0.0
    assert tuned.takes_longer.value == 0.5  # ann is told of red, bob of blue
    assert base.matched_choices == 0
    assert base.matched.value is None


def test_what_is_said_in_front_is_counted():
    asked = [*choices("ann", "red", "red"), *choices("bob", "blue", "blue")]
    report = evaluate_tailoring(asked, known(ann="red"), arms_of({"base": Likes()}, ["gold"]))
    assert report.arms["base/none"].without_prefix == 1.0
    assert report.arms["base/gold"].without_prefix == 0.5
    assert report.arms["base/none"].accuracy["all"].value == 0.5  # ties
    groups = report.arms["base/none"].accuracy
    assert (groups["all"].people, groups["trained"].people, groups["unseen"].people) == (2, 0, 0)
    assert report.people[key("ann")].trained is None


def test_each_choice_is_asked_about_once_with_the_same_text():
    asked = [*choices("ann", "red", "red"), *choices("bob", "blue", "blue")]
    model = Likes()
    shares = []
    evaluate_tailoring(
        asked, known(ann="red"), arms_of({"base": model}, ["gold", "shuffled:gold", "few_shot"]), progress=shares.append
    )
    assert len(model.asked) == 2 * (4 + 2)  # two answers: nothing said to four, and something to two of them
    assert shares == [1.0]


def test_a_system_message_is_said_to_every_model():
    model = Likes()
    evaluate_tailoring(choices("ann", "red"), known(), [Arm("base", model)], Setup(system="Be kind."))
    assert all(json.loads(messages)[0] == {"role": "system", "content": "Be kind."} for messages, _ in model.asked)


def test_equity_is_a_correlation_over_people():
    tastes = {"a": ("red",) * 4, "b": ("red", "red", "blue", "blue"), "c": ("blue",) * 4}
    asked = [one for user, liked in tastes.items() for one in choices(user, *liked)]
    models = {"base": Likes({"red": 0.5}, heeds=False), "same": Likes({"red": 0.7}), "fair": Likes({"red": 0.5})}
    report = evaluate_tailoring(asked, known(a="red", b="red", c="blue"), arms_of(models, ["gold"]))
    assert report.arms["same/none"].equity == pytest.approx(1.0)
    # Accuracies without: 1, .5, 0; told: 1, .5, 1.
    assert report.arms["fair/gold"].equity == pytest.approx(0.0)
    two = evaluate_tailoring(asked[:8], known(), arms_of(models, []))
    assert two.arms["same/none"].equity is None


def test_a_report_is_json_and_names_nobody(report):
    said = report.as_dict()
    text = json.dumps(said, allow_nan=False)
    assert set(said) == {"reference", "choices", "left_out", "longer", "arms", "swaps", "people", "seconds"}
    assert said["arms"]["tuned/gold"]["accuracy"]["unseen"] == {"value": 1.0, "standard_error": None, "people": 1}
    assert said["people"][key("bob")]["gain"]["tuned/gold"] == 1.0
    assert "base/none" not in said["people"][key("bob")]["gain"]
    assert "ann" not in text
    assert "blue" not in text


# What must not be measured


def test_prefixes_made_of_what_is_asked_are_refused():
    asked = many("ann", 2)
    arms = arms_of({"base": Likes()}, ["few_shot"])
    with pytest.raises(InputError, match="knowledge: may show choices that are asked"):
        evaluate_tailoring(asked, Knowledge(examples={"ann": (asked[0], example("ann", "Other?"))}), arms)
    # The same signal in an example of another id, as persona inference could have read it.
    renamed = asked[0].model_copy(update={"id": "other", "prompt": example("ann", "Else?").prompt})
    with pytest.raises(InputError, match="few_shot prefixes were made of choices that are asked about"):
        evaluate_tailoring(asked, Knowledge(examples={"ann": (renamed,)}), arms)


def test_arms_that_cannot_be_compared_are_refused():
    asked = choices("ann", "red")
    for arms, said in (
        ([], "first must be a model without"),
        ([Arm("base", Likes(), "gold")], "first must be a model without"),
        ([Arm("base", Likes()), Arm("base", Likes())], "comes twice"),
    ):
        with pytest.raises(InputError, match=said):
            evaluate_tailoring(asked, known(), arms)
    with pytest.raises(InputError, match="no choice between two answers"):
        evaluate_tailoring([example("ann", "Why?", "Yes.", None)], known(), [Arm("base", Likes())])
    with pytest.raises(InputError, match="no kind of that name"):
        arms_of({"base": Likes()}, ["nonsense"])


def test_examples_with_one_answer_are_left_out():
    asked = [*choices("ann", "red"), example("ann", "Why?", "Yes.", None)]
    report = evaluate_tailoring(asked, known(), [Arm("base", Likes())])
    assert (report.choices, report.left_out) == (1, 1)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_likelihood_that_is_no_number_is_no_figure(number):
    class Broken:
        def log_likelihoods(self, asked):
            return [LogLikelihood(number if place else -1.0, 1) for place, _ in enumerate(asked)]

    with pytest.raises(ModelError, match="base: gave a likelihood that is no number"):
        evaluate_tailoring(choices("ann", "red"), known(), [Arm("base", Broken())])


# By brute force


def crowd(draw):
    """Some people with some choices, and colours they are said to like."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    asked = [
        example(f"u{n}", f"Question {i}?", "x" * draw(st.integers(1, 12)), "y" * draw(st.integers(1, 12)), number=i)
        for n, size in enumerate(sizes)
        for i in range(size)
    ]
    gold = {f"u{n}": draw(st.sampled_from(["red", "blue", "green"])) for n in range(len(sizes))}
    return asked, Knowledge(gold={user: (f"Likes {liked}.",) for user, liked in gold.items()})


@st.composite
def crowds(draw):
    return crowd(draw)


def brute(asked, knowledge, model, kind):
    """Return who prefers what they chose, by person, asking the model one by one."""
    from persona_sdk.tuning.prefixes import prefixer
    from persona_sdk.tuning.rows import Row

    found = {}
    makes = prefixer(kind, knowledge)
    for one in asked:
        said = Row(example=one, prefix=makes.prefix(one)).conversation()
        chosen, rejected = model.mean(said, one.chosen), model.mean(said, one.rejected)
        found.setdefault(one.user_id, []).append(1.0 if chosen > rejected else 0.0)
    return found


@settings(deadline=None, max_examples=40)
@given(crowds(), st.integers(0, 5))
def test_figures_are_those_of_asking_one_by_one(crowd, seed):
    asked, knowledge = crowd
    base, tuned = Chance(seed), Chance(seed + 100)
    report = evaluate_tailoring(asked, knowledge, arms_of({"base": base, "tuned": tuned}, ["gold", "shuffled:gold"]))
    before = brute(asked, knowledge, base, "none")
    for name, model, kind in (("tuned/gold", tuned, "gold"), ("base/shuffled:gold", base, "shuffled:gold")):
        rights = brute(asked, knowledge, model, kind)
        accuracy = {key(user): sum(of) / len(of) for user, of in rights.items()}
        gain = {key(user): accuracy[key(user)] - sum(of) / len(of) for user, of in before.items()}
        arm = report.arms[name]
        assert {k: one.accuracy[name] for k, one in report.people.items()} == pytest.approx(accuracy)
        assert arm.accuracy["all"].value == pytest.approx(sum(accuracy.values()) / len(accuracy))
        assert arm.gain["all"].value == pytest.approx(sum(gain.values()) / len(gain))
        assert arm.worse == pytest.approx(sum(g < -1e-12 for g in gain.values()) / len(gain))


def without_time(report):
    return {name: value for name, value in report.as_dict().items() if name != "seconds"}


@settings(deadline=None, max_examples=30)
@given(crowds(), st.integers(0, 5))
def test_nothing_depends_on_who_comes_first(crowd, seed):
    asked, knowledge = crowd
    setup = Setup(trained=frozenset({key("u0"), key("u3")}), contrary={"u0": "u1"})
    arms = arms_of({"base": Chance(seed), "tuned": Chance(seed + 1)}, ["gold", "shuffled:gold"])
    other = list(asked)
    random.Random(seed).shuffle(other)
    turned = Knowledge(gold=dict(reversed(knowledge.gold.items())))
    first, second = (
        without_time(evaluate_tailoring(a, k, arms, setup)) for a, k in ((asked, knowledge), (other, turned))
    )
    assert first == second
    assert list(first["people"]) == list(second["people"]) == sorted(first["people"])


@settings(deadline=None, max_examples=30)
@given(crowds(), st.integers(0, 5))
def test_the_other_answers_as_the_chosen_ones_mirror_every_accuracy(crowd, seed):
    asked, knowledge = crowd
    turned = [one.model_copy(update={"chosen": one.rejected, "rejected": one.chosen}) for one in asked]
    arms = arms_of({"base": Chance(seed)}, ["gold"])
    first, second = (evaluate_tailoring(examples, knowledge, arms) for examples in (asked, turned))
    assert first.longer.value == pytest.approx(1 - second.longer.value)
    for name, arm in first.arms.items():
        mirrored = second.arms[name]
        assert arm.accuracy["all"].value == pytest.approx(1 - mirrored.accuracy["all"].value)
        assert arm.takes_longer.value == pytest.approx(mirrored.takes_longer.value)
        if arm.controlled.value is not None:
            assert arm.controlled.value == pytest.approx(1 - mirrored.controlled.value, abs=1e-6)
        if arm.matched.value is not None:
            assert arm.matched.value == pytest.approx(1 - mirrored.matched.value)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 6), st.integers(0, 20))
def test_shuffled_is_never_ones_own(count, seed):
    from persona_sdk.tuning.prefixes import PrefixOptions

    users = [f"u{n}" for n in range(count)]
    model = Likes()
    evaluate_tailoring(
        [one for user in users for one in many(user, 1)],
        Knowledge(gold={user: (f"Is called {user}.",) for user in users}),
        [Arm("base", model), Arm("told", model, "shuffled:gold")],
        Setup(options=PrefixOptions(seed=seed)),
    )
    said = [messages for messages, _ in model.asked if "Is called" in messages]
    assert len(set(said)) == count  # each is said once
    by_user = evaluate_tailoring(
        [example(user, f"For {user}?") for user in users],
        Knowledge(gold={user: (f"Is called {user}.",) for user in users}),
        [Arm("base", asked := Likes()), Arm("told", asked, "shuffled:gold")],
        Setup(options=PrefixOptions(seed=seed)),
    )
    assert by_user.arms["told/shuffled:gold"].without_prefix == 0.0
    for messages, _ in asked.asked:
        for user in users:
            assert not (f"Is called {user}." in messages and f"For {user}?" in messages)


# Who is contrary


def persona(user, **weights):
    traits = tuple(
        make_trait(f"style:{name}", name).model_copy(update={"weight": weight}) for name, weight in weights.items()
    )
    return Persona(tenant="default", user_id=user, version=1, traits=traits, lineage=Lineage(inferrer="t", through=0))


def test_contrary_is_who_weighs_the_same_things_the_other_way():
    personas = {
        "a": persona("a", short=1.0, warm=0.5),
        "b": persona("b", short=-1.0),
        "c": persona("c", short=-1.0, warm=-1.0),
        "d": persona("d", other=1.0),
    }
    assert contrary_people(personas, set(personas)) == {"a": "c", "b": "a", "c": "a"}
    assert contrary_people(personas, {"a", "b"}) == {"a": "b", "b": "a", "c": "a"}
    assert contrary_people(personas, set()) == {}


def test_who_does_not_lend_is_swapped_in_for_nobody():
    asked = [*choices("ann", "red"), *choices("bob", "blue")]
    told = Knowledge(gold={"ann": ("The user likes red.",), "bob": ("The user likes blue.",)},
                     consents={"bob": Consent(lend=False)})  # fmt: skip
    setup = Setup(contrary={"ann": "bob", "bob": "ann"})
    report = evaluate_tailoring(asked, told, arms_of({"base": Likes()}, ["gold"]), setup)
    (swap,) = report.swaps
    assert (swap.against, swap.choices) == ("contrary", 1)  # ann's, to bob


def test_people_of_one_name_in_two_tenants_are_two():
    one = Example(id="1", origin=Origin(tenant="t", user_id="ann"), prompt=(), chosen="a", rejected="b")
    with pytest.raises(InputError, match="another tenant's"):
        evaluate_tailoring([one, *choices("ann", "red")], Knowledge(), [Arm("base", Likes())])
