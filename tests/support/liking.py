"""A model that follows a rule anybody can compute, people who like a colour, and what is known of them."""

from __future__ import annotations

import json

from persona_sdk.language import LogLikelihood
from persona_sdk.tuning.prefixes import Knowledge
from tests.support.taught import example

__all__ = ["BLUE", "RED", "Likes", "choices", "known"]

RED, BLUE = "a red one", "a blue one, too"


class Likes:
    """Finds an answer likelier by 1 nat a token for each colour in it that the system message names; else as `taste`.

    Keeps what it was asked.
    """

    def __init__(self, taste=None, heeds=True):
        self.taste, self.heeds, self.asked = taste or {}, heeds, []

    def log_likelihoods(self, asked):
        return [self._one(messages, answer) for messages, answer in asked]

    def _one(self, messages, answer):
        self.asked.append((json.dumps(messages), answer))
        told = " ".join(m["content"] for m in messages if m["role"] == "system")
        mean = -3.0 + sum(self.taste.get(word, 0.0) for word in answer.split())
        if self.heeds:
            mean += sum(1.0 for word in ("red", "blue") if word in answer.split() and f"likes {word}" in told)
        tokens = len(answer.split())
        return LogLikelihood(mean * tokens, tokens)


def choices(user, *colours):
    """What somebody chose of red and blue, one question each."""
    pairs = {"red": (RED, BLUE), "blue": (BLUE, RED)}
    return [example(user, f"Which, {n}?", *pairs[colour], number=n) for n, colour in enumerate(colours)]


def known(**likes):
    return Knowledge(gold={user: (f"The user likes {colour}.",) for user, colour in likes.items()})
