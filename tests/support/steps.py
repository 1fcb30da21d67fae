"""Tailors that do as they are told, and a pipeline of them that keeps what it skipped."""

from persona_sdk.models import ChatCall, Message, TailorStep
from persona_sdk.pipeline import Pipeline
from persona_sdk.tailoring import Tailor, TailorResult

__all__ = ["LONG", "Step", "a_call", "a_pipeline"]

LONG = 60.0


class Step(Tailor):
    """Appends its name to the system message; `does` replaces what it returns."""

    def __init__(self, name, *, after=(), requires=(), required=False, tokens=0, does=None, picks=None):
        self.name, self.after, self.requires, self.required = name, after, requires, required
        self.tokens, self.does, self.picks = tokens, does, picks
        self.budgets = []

    def tailor(self, call, context):
        self.budgets.append(context.max_tokens)
        if self.does is not None:
            return self.does(call, context)
        message = Message(role="system", content=self.name)
        step = TailorStep(tailor=self.name, tokens_added=self.tokens)
        return TailorResult(call.override(messages=(*call.messages, message)), step)

    def choose(self, call, answers, context):
        return self.picks(answers) if callable(self.picks) else self.picks


def a_call(**changes):
    return ChatCall(messages=(Message(role="user", content="Hello"),), user_id="ann", tenant="shop").override(**changes)


def a_pipeline(*tailors, **options):
    skips = []
    return Pipeline(tailors, lambda *skip: skips.append(skip), **options), skips
