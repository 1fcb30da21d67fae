"""Which answer tailors choose, and what they add to the scores of answers."""

import sys
import threading
import time

import pytest

from persona_sdk.testing import make_context
from tests.support.steps import LONG, Step, a_call, a_pipeline

ANSWERS = ("first", "second", "third")


class Index:
    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


@pytest.mark.parametrize(
    ("picks", "expected", "told"),
    [
        ([None, None], 0, []),
        ([None, 2], 2, []),
        ([1, 2], 1, []),
        ([Index(2), 1], 2, []),
        ([3, 1], 1, ["a"]),
        ([-1, None], 0, ["a"]),
        ([True, 1.0], 0, ["a", "b"]),
        (["2", [1]], 0, ["a", "b"]),
        ([lambda answers: answers.append("mine"), 1], 1, ["a"]),
        ([lambda _: sys.exit(), 2], 2, ["a"]),
    ],
)
def test_the_first_opinion_decides(picks, expected, told):
    chain, skips = a_pipeline(*(Step(name, picks=pick) for name, pick in zip("ab", picks, strict=True)))
    index = chain.choose(a_call(n=3), list(ANSWERS), make_context())
    assert index == expected
    assert type(index) is int
    assert [(stage, name) for stage, name, _ in skips] == [("choose", name) for name in told]


def test_a_required_tailor_that_cannot_choose_does_not_throw_the_answers_away():
    chain, skips = a_pipeline(Step("a", required=True, picks=lambda _: 1 / 0), strict=True)
    assert chain.choose(a_call(n=3), ANSWERS, make_context()) == 0
    assert len(skips) == 1


def test_choosing_ends_when_time_is_up():
    release = threading.Event()
    chain, skips = a_pipeline(Step("a", picks=lambda _: release.wait() and 1))
    assert chain.choose(a_call(n=3), ANSWERS, make_context(), time.monotonic() + 0.01) == 0
    release.set()
    assert skips[0][:2] == ("choose", "a")


@pytest.mark.parametrize("answers", [(), ("only",)])
def test_nobody_is_asked_where_there_is_nothing_to_choose(answers):
    chain, skips = a_pipeline(Step("a", picks=lambda _: 1 / 0))
    assert chain.choose(a_call(), answers, make_context()) == 0
    assert not skips


# What tailors add to the scores of answers


class Adds(Step):
    def __init__(self, name, adds):
        super().__init__(name)
        self.adds = adds

    def utilities(self, call, answers, context):
        return self.adds(answers) if callable(self.adds) else self.adds


def test_what_tailors_add_is_summed():
    chain, skips = a_pipeline(Step("plain"), Adds("one", [1.0, 0, -1]), Adds("none", ()), Adds("two", (0.5, 0.5, 0.5)))
    assert chain.utilities(a_call(), ["a", "b", "c"], make_context()) == [1.5, 0.5, -0.5]
    assert skips == []


@pytest.mark.parametrize("tailors", [(), (Step("plain"),), (Adds("none", ()), Adds("more", []))])
def test_where_none_adds_anything_it_is_none(tailors):
    assert a_pipeline(*tailors)[0].utilities(a_call(), ["a", "b"], make_context()) is None


@pytest.mark.parametrize("wrong", [[1.0], [1.0, 2.0, 3.0], None, "ab", [float("nan"), 0.0], ["1", "2"], 1.0])
def test_what_cannot_be_added_is_left_out(wrong):
    chain, skips = a_pipeline(Adds("bad", wrong), Adds("good", [0.0, 1.0]))
    assert chain.utilities(a_call(), ["a", "b"], make_context()) == [0.0, 1.0]
    ((stage, plugin, reason),) = skips
    assert (stage, plugin) == ("choose", "bad")
    assert "each of the 2 answers" in reason


def test_a_tailor_that_fails_to_add_is_left_out():
    def fails(answers):
        raise KeyError(answers[0])

    chain, skips = a_pipeline(Adds("bad", fails), Adds("slow", lambda _: time.sleep(LONG)))
    assert chain.utilities(a_call(), ["SECRET", "b"], make_context(), time.monotonic() + 0.2) is None
    assert [skip[1] for skip in skips] == ["bad", "slow"]
    assert "SECRET" not in str(skips)
