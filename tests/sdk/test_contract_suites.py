"""The shipped contract suites: honest implementations pass, and each kind of dishonesty is caught."""

import pytest

from persona_sdk.inference import HeldOutChoice, Inference, InferenceRequest, Inferrer
from persona_sdk.models import Evidence, Message, TailorStep
from persona_sdk.signals import choices_of
from persona_sdk.tailoring import Tailor, TailorResult
from persona_sdk.testing import (
    FakeMemory,
    InferrerContract,
    MemoryContract,
    TailorContract,
    make_context,
    make_trait,
)
from persona_sdk.testing import tailor_contract as calls
from persona_sdk.testing.inferrer_contract import _choices
from persona_sdk.text import as_data, estimate_tokens


class TestFakeMemory(MemoryContract):
    @pytest.fixture
    def memory(self):
        return FakeMemory()

    def reopen(self, memory):
        return memory  # it is shared between threads, and nothing is kept elsewhere


class Says(Tailor):
    """Writes traits into a system message, as many as fit."""

    name = "says"

    def tailor(self, call, context):
        text = "\n".join(f"- {self.quote(t.statement)}" for t in context.traits)
        while estimate_tokens(text) > context.max_tokens:
            text = text.rpartition("\n")[0]
        if not text:
            return TailorResult(call, TailorStep(tailor=self.name, skipped="nothing fits"))
        step = TailorStep(tailor=self.name, tokens_added=self.count(text))
        return TailorResult(call.override(messages=(Message(role="system", content=text), *call.messages)), step)

    def quote(self, statement):
        return as_data(statement)

    def count(self, text):
        return estimate_tokens(text)


class TestSays(TailorContract):
    @pytest.fixture
    def tailor(self):
        return Says()


class Raw(Says):
    def quote(self, statement):
        return statement


class Undercounts(Says):
    def count(self, text):
        return 0


class Spoils(Says):
    def tailor(self, call, context):
        call.params["temperature"] = 2
        return super().tailor(call, context)


class Unsteady(Says):
    turn = 0

    def quote(self, statement):
        self.turn += 1
        return f"{statement} ({self.turn})"


class SaysAnotherName(Says):
    def tailor(self, call, context):
        new, step = super().tailor(call, context)
        return TailorResult(new, step.model_copy(update={"tailor": "other"}))


class ChoosesTooHigh(Says):
    def choose(self, call, answers, context):
        return len(answers)


@pytest.mark.parametrize(
    ("tailor", "check"),
    [
        (Raw(), lambda suite, t, call, ctx: suite.test_trait_text_stays_data(t)),
        (Undercounts(), lambda suite, t, call, ctx: suite.test_respects_max_tokens(t, 1000)),
        (Spoils(), lambda suite, t, call, ctx: suite.test_never_touches_the_call(t, call, ctx)),
        (Unsteady(), lambda suite, t, call, ctx: suite.test_same_input_same_bytes(t, call, ctx)),
        (SaysAnotherName(), lambda suite, t, call, ctx: suite.test_marks_its_step(t, call, ctx)),
        (ChoosesTooHigh(), lambda suite, t, call, ctx: suite.test_chooses_an_answer_that_is_there(t, ("a",), True)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_dishonest_tailor_is_caught(tailor, check):
    call = calls._CALLS["conversation"].model_copy(deep=True)
    with pytest.raises(AssertionError):
        check(TailorContract(), tailor, call, make_context(make_trait()))


class Short(Inferrer):
    """Believes that someone likes short answers when they mostly chose them."""

    name = "short"

    def infer(self, request):
        choices = [c for c in choices_of(request.signals) if len(c.chosen) < len(c.rejected)]
        trait = make_trait(
            evidence=tuple(Evidence(signal_id=c.signal_id, quote=c.chosen) for c in choices), inferrer=self.name
        )
        if not choices or trait.id in request.rejected:
            return Inference(traits=(), note="no choices of short answers")
        return Inference(
            traits=(trait,), held_out=tuple(HeldOutChoice(c.signal_id, -0.1, -0.7) for c in choices), state={"short": 1}
        )


class TestShort(InferrerContract):
    @pytest.fixture
    def inferrer(self):
        return Short()


class Changed(Short):
    """An honest inferrer whose inference is changed by `by`."""

    def __init__(self, **by):
        self.by = by

    def infer(self, request):
        found = super().infer(request)
        values = {"traits": found.traits, "held_out": found.held_out, "note": found.note, "state": found.state}
        return Inference(**{name: self.by.get(name, value) for name, value in values.items()})


@pytest.mark.parametrize(
    ("by", "check"),
    [
        ({"traits": (make_trait(),)}, "test_rejected_traits_do_not_come_back"),
        ({"traits": (make_trait(),)}, "test_evidence_is_real"),
        ({"traits": (make_trait(evidence=(Evidence(signal_id="s1", quote="never said"),)),)}, "test_evidence_is_real"),
        ({"traits": (make_trait(weight=9.0),)}, "test_traits_are_sound"),
        ({"traits": (make_trait(), make_trait())}, "test_traits_are_sound"),
        ({"held_out": (HeldOutChoice("s1", 0.5, -0.7),)}, "test_held_out_are_log_probabilities"),
        ({"held_out": (HeldOutChoice("elsewhere", -0.5, -0.7),)}, "test_held_out_are_log_probabilities"),
        ({"state": {"short": {1, 2}}}, "test_state_is_plain_data"),
        ({"state": {"short": (1, 2)}}, "test_state_is_plain_data"),
    ],
)
def test_a_dishonest_inferrer_is_caught(by, check):
    request = InferenceRequest(tenant="default", user_id="ann", signals=_choices("ann", likes_short=True))
    with pytest.raises((AssertionError, TypeError)):
        getattr(InferrerContract(), check)(Changed(**by), request)
