"""A model that follows rules instead of weights: it tells people and adapters apart by what it reads, and remembers."""

from __future__ import annotations

import hashlib
import re

from persona_sdk.errors import ModelError
from persona_sdk.language import LogLikelihood

__all__ = ["Rules"]


class Rules:
    """Finds an answer that begins with "Yes" likelier by what an adapter is worth, give or take some chance.

    `worth` is by adapter, None for the base; or by adapter and person, whom the model knows by the persona of `Reads`.
    `fails` are people of whom it cannot say anything.
    """

    def __init__(self, worth, *, fails=(), final=False, meanwhile=lambda name: None):
        self.worth, self.fails, self.final, self.meanwhile = worth, set(fails), final, meanwhile
        self.asked = []

    def with_adapter(self, name):
        self.meanwhile(name)
        return _Rule(self, name)

    def read(self, name):
        """The conversations that were read with an adapter."""
        return [conversation for adapter, conversation in self.asked if adapter == name]


class _Rule:
    def __init__(self, rules, name):
        self.rules, self.name = rules, name

    def log_likelihoods(self, asked):
        return [self._one(conversation, answer) for conversation, answer in asked]

    def _one(self, conversation, answer):
        self.rules.asked.append((self.name, conversation))
        user = re.search(r"Likes (\w+)", str(conversation))
        user = user[1] if user else None
        if user in self.rules.fails:
            raise ModelError("too long", final=self.rules.final)
        worth = self.rules.worth.get((self.name, user), self.rules.worth.get(self.name, 0.0))
        return LogLikelihood(4 * (worth * answer.startswith("Yes") + _chance(self.name, user, answer)), 4)


def _chance(*what):
    """Something between −1 and 1 that is always the same for the same."""
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:4]) / 2**31 - 1
