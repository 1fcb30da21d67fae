"""Held-out choices decide what is believed, and what is believed decides which traits stand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_sdk.inference import HeldOutChoice, Inference
from persona_sdk.learning import settle
from persona_sdk.memory import Verdict
from persona_sdk.testing import make_persona, make_trait
from persona_sdk.verification import MINIMUM_CHOICES, Verification, lift_of, verify

COIN = math.log(0.5)
SURE, UNSURE = math.log(0.9), math.log(0.2)
BELIEVED, NOT_BELIEVED = Verification(True, "believed"), Verification(False, "not believed")

SHORT = make_trait("style:length", "Prefers shorter answers.", polarity="against", status="proposed")
LONG = make_trait("style:length", "Prefers longer answers.", polarity="for", status="proposed")
LISTS = make_trait("style:lists", "Likes lists.", status="proposed")
SAID_LONG = make_trait("style:length", "Said: long, please.", stated=True, status="proposed")


def choice(with_persona, without=COIN, **rest):
    return HeldOutChoice("s", with_persona, without, **rest)


def proposal(*held_out, traits=(SHORT,)):
    return Inference(traits=traits, held_out=held_out)


# Verification


@pytest.mark.parametrize(("count", "said"), [(0, "no choices"), (1, "1 choice"), (2, "2 choices")])
def test_too_few_choices_support_nothing(count, said):
    verified = verify(proposal(*[choice(SURE)] * count))
    assert not verified.accepted
    assert verified.reason == f"too little evidence: {said}, at least 3 are needed"
    assert verified.lift is None
    assert verify(proposal(*[choice(SURE)] * MINIMUM_CHOICES)).accepted


def test_it_has_to_predict_better_than_no_persona():
    for with_persona in (COIN, UNSURE):
        verified = verify(proposal(*[choice(with_persona)] * 5))
        assert not verified.accepted
        assert verified.reason.startswith("not believed: held-out choices are predicted no better")
        assert verified.lift is not None
    assert not verify(proposal(choice(SURE), choice(SURE), choice(math.log(1e-12)))).accepted  # one sure mistake costs


def test_it_must_not_predict_worse_than_the_version_before():
    worse = [choice(SURE, previous=math.log(0.95))] * 4
    verified = verify(proposal(*worse))
    assert not verified.accepted
    assert "the version before predicts better" in verified.reason
    assert verify(proposal(*[choice(SURE, previous=SURE)] * 4)).accepted
    assert verify(proposal(*[choice(SURE, previous=UNSURE)] * 4)).accepted


def test_only_choices_that_the_version_before_predicted_are_compared_with_it():
    old = [choice(math.log(0.8), previous=math.log(0.7))] * 2
    assert verify(proposal(*old, choice(math.log(0.6)), choice(math.log(0.6)))).accepted
    assert not verify(
        proposal(*[choice(math.log(0.7), previous=math.log(0.8))] * 2, choice(SURE), choice(SURE))
    ).accepted


def test_what_is_accepted_says_how_well_it_predicts():
    verified = verify(proposal(*[choice(SURE)] * 4))
    assert verified.reason.startswith("believed: predicts 100% of 4 held-out choices (without persona 50%")
    for nothing_inferred in ((), (SAID_LONG,)):
        verified = verify(proposal(*[choice(SURE)] * 4, traits=nothing_inferred))
        assert verified.accepted
        assert "nothing in it is sure enough" in verified.reason


def test_lift_by_hand():
    choices = [
        choice(math.log(0.8), math.log(0.5), other=math.log(0.3)),
        choice(math.log(0.6), math.log(0.7), other=math.log(0.5)),
        choice(math.log(0.1), math.log(0.4)),
        choice(math.log(0.5), math.log(0.5)),
    ]
    lift = lift_of(choices, "leave-one-out")
    assert (lift.choices, lift.method) == (4, "leave-one-out")
    assert lift.accuracy_with == (1 + 1 + 0 + 0.5) / 4
    assert lift.accuracy_without == (0.5 + 1 + 0 + 0.5) / 4
    assert lift.accuracy_other == (0 + 0.5) / 2  # of those choices for which there was another
    assert lift.score_with == pytest.approx(math.log(0.8 * 0.6 * 0.1 * 0.5) / 4)
    assert lift.score_without == pytest.approx(math.log(0.5 * 0.7 * 0.4 * 0.5) / 4)
    assert lift.score_other == pytest.approx(math.log(0.3 * 0.5) / 2)
    assert str(lift) == ("predicts 62% of 4 held-out choices (without persona 50%, another user's 25%; leave-one-out)")


def test_without_another_person_there_is_no_control():
    lift = lift_of([choice(SURE)] * 3, "one-step-ahead")
    assert (lift.accuracy_other, lift.score_other) == (None, None)
    assert "another user's –" in str(lift)


logs = st.floats(-30, 0)


@given(st.lists(st.builds(HeldOutChoice, st.just("s"), logs, logs, previous=st.none() | logs, other=st.none() | logs)))
def test_what_is_believed_predicts_better(choices):
    verified = verify(proposal(*choices))
    if verified.accepted:
        assert verified.lift.score_with > verified.lift.score_without
        assert len(choices) >= MINIMUM_CHOICES
    if verified.lift:
        assert 0 <= verified.lift.accuracy_with <= 1


# Which traits stand


def ruled(**rulings):
    """Verdicts by trait id, spelt with two underscores for the colon and one more for the slash."""
    keys = {name.replace("__", ":", 1).replace("__", "/"): ruling for name, ruling in rulings.items()}
    return {key: Verdict(key, ruling, "") for key, ruling in keys.items()}


def standing(*traits, verification=BELIEVED, before=(), verdicts=None):
    settled = settle(Inference(traits=traits), verification, make_persona(*before) if before else None, verdicts or {})
    return [(t.id, t.status) for t in settled]


def test_what_is_believed_is_verified_and_what_was_said_is_pinned():
    assert standing(SHORT, LISTS) == [("style:length/against", "verified"), ("style:lists/for", "verified")]
    assert standing(SAID_LONG, LISTS) == [("style:length/for", "pinned"), ("style:lists/for", "verified")]


def test_what_was_said_stands_whether_the_rest_is_believed_or_not():
    assert standing(SAID_LONG, LISTS, verification=NOT_BELIEVED) == [("style:length/for", "pinned")]


def test_the_persons_word_silences_what_was_inferred_about_it():
    assert standing(SHORT, SAID_LONG) == [("style:length/for", "pinned")]
    assert standing(LONG, SAID_LONG) == [("style:length/for", "pinned")]
    verified = SHORT.model_copy(update={"status": "verified"})
    assert standing(SAID_LONG, verification=NOT_BELIEVED, before=[verified]) == [("style:length/for", "pinned")]


def test_what_is_not_believed_leaves_what_was_believed():
    verified = SHORT.model_copy(update={"status": "verified"})
    assert standing(LISTS, verification=NOT_BELIEVED, before=[verified]) == [("style:length/against", "verified")]
    assert standing(LISTS, verification=NOT_BELIEVED) == []
    assert standing(LISTS, before=[verified]) == [("style:lists/for", "verified")]


def test_what_was_said_before_and_is_not_proposed_again_is_gone():
    said = SAID_LONG.model_copy(update={"status": "pinned"})
    for verification in (BELIEVED, NOT_BELIEVED):
        assert standing(verification=verification, before=[said]) == []


def test_what_was_taken_back_stays_out_and_its_opposite_may_come():
    verdicts = ruled(style__length__against="rejected")
    for verification in (BELIEVED, NOT_BELIEVED):
        assert standing(SHORT, verification=verification, before=[SHORT], verdicts=verdicts) == []
    assert standing(LONG, verdicts=verdicts) == [("style:length/for", "verified")]
    assert standing(SAID_LONG, verdicts=verdicts) == [("style:length/for", "pinned")]


def test_a_statement_taken_back_does_not_silence_what_is_inferred():
    verdicts = ruled(style__length__for="rejected")
    assert standing(SAID_LONG, SHORT, verdicts=verdicts) == [("style:length/against", "verified")]


def test_what_the_person_keeps_is_kept():
    verdicts = ruled(style__length__against="pinned")
    assert standing(SHORT, verdicts=verdicts) == [("style:length/against", "pinned")]
    assert standing(LISTS, before=[SHORT], verdicts=verdicts) == [
        ("style:lists/for", "verified"),
        ("style:length/against", "pinned"),
    ]
    assert standing(verification=NOT_BELIEVED, before=[SHORT], verdicts=verdicts) == [
        ("style:length/against", "pinned")
    ]
    assert standing(SAID_LONG, before=[SHORT], verdicts=verdicts) == [("style:length/for", "pinned")]
