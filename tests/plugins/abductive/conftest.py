"""A scorer whose arithmetic can be followed by hand: it is not a model, and stands in for none."""

import re

import pytest

from persona_plugins.abductive.inferrer import Abductive
from persona_plugins.abductive.sources import Sources
from persona_sdk.language import Spent
from persona_sdk.scoring import StatementScorer


class ByLength(StatementScorer):
    """Finds long answers to suit "long" and short ones "short", by the word; knows nothing of other sentences."""

    name = "by-length"

    def __init__(self):
        self.asked = []

    def score(self, offers, statements, journal=None):
        self.asked.append((tuple(offers), tuple(statements)))
        return [[[_fit(s, a) for a in offer.answers] for s in statements] for offer in offers]

    def spent(self):
        return Spent(scored=sum(len(o) * len(s) * 2 for o, s in self.asked))


def _fit(statement, answer):
    words = min(len(answer.split()), 200) / 10
    if re.search(r"\blong\b(?!-)", statement):
        return words
    return -words if re.search(r"\bshort\b", statement) else 0.0


@pytest.fixture
def scorer():
    return ByLength()


@pytest.fixture
def inferrer(scorer):
    return Abductive(scorer, Sources())
