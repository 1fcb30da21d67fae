"""An inferrer and a scorer that say what they were told to, of four pairs."""

import threading

from persona_sdk.inference import Inferrer, PairPersonas
from persona_sdk.language import Spent
from persona_sdk.scoring import StatementScorer
from persona_sdk.signals import Choice

__all__ = ["PAIRS", "Says", "Values", "own", "pair"]


def pair(name, chosen="yes", rejected="no"):
    return Choice(signal_id=name, prompt=f"prompt {name}", chosen=chosen, rejected=rejected)


class Says(Inferrer):
    """A fake that gives the personas it is told to, by the pair's id, and counts two calls a pair."""

    name = "says"

    def __init__(self, personas=None):
        self.personas, self.lock, self.calls = personas or {}, threading.Lock(), 10

    def infer(self, request):
        raise NotImplementedError

    def abduce(self, choice, journal=None):
        with self.lock:
            self.calls += 2
        name = choice.signal_id
        return self.personas.get(name, PairPersonas(f"{name} likes chosen", f"{name} likes rejected"))

    def spent(self):
        return Spent(calls=self.calls, input_tokens=100 * self.calls)


class Values(StatementScorer):
    """A fake that looks a statement's values up by its words, and keeps what it was asked."""

    name = "values"

    def __init__(self, of, name="values"):
        self.of, self.name, self.asked = of, name, []

    def score(self, offers, statements, journal=None):
        self.asked.append((list(offers), list(statements)))
        return [[list(self.of(offer, statement)) for statement in statements] for offer in offers]

    def spent(self):
        return Spent(scored=len(self.asked))


def own(offer, statement, table, other=(0.0, 0.0)):
    """Values by label of a pair's own personas; those of another pair's are `other`."""
    name = offer.prompt.removeprefix("prompt ")
    return table[name]["chosen" in statement] if statement.startswith(f"{name} ") else other


PAIRS = [pair("a"), pair("b"), pair("c"), pair("d")]
