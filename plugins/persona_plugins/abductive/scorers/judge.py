"""Which of two answers would someone prefer of whom a sentence is true? A chat model is asked, in both orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import TypeAlias

from persona_plugins.abductive.prompts import Asks, Pick, about_two_answers, ask
from persona_sdk.language import Journal, Spent
from persona_sdk.scoring import Offer, StatementScorer
from persona_sdk.workers import side_by_side

__all__ = ["JudgeScorer"]

#: A sentence, a prompt, and two answers in the order they are shown in.
_Question: TypeAlias = tuple[str, str, str, str]


class JudgeScorer(StatementScorer):
    """Asks a chat model which answer a person of the sentence prefers (paper: arXiv 2501.11549, persona accuracy).

    An answer's value is the share of the two calls, one per order, that picked it: 0, ½ or 1; of more than two answers
    it is the mean over all pairs with it. If a call gave nothing readable, all answers of its offer get 0: one order
    alone would say more of where an answer stood than of the answer. `at_once` is how many calls it has under way. Two
    calls per sentence and pair of answers, those that are equal asked once: the dearest of the scorers.
    """

    name = "judge"
    quick = False

    def __init__(self, caller: Asks, *, at_once: int = 4) -> None:
        self._caller, self._at_once = caller, at_once

    def score(
        self, offers: Sequence[Offer], statements: Sequence[str], journal: Journal | None = None
    ) -> list[list[list[float]]]:
        """Return one value per offer, statement and answer, in [0, 1].

        Raises:
            ModelError: the model answers nobody: the key, the budget.
        """
        picked: dict[_Question, bool] = {}

        def judge(question: _Question) -> None:
            answer = ask(self._caller, about_two_answers(*question), Pick, journal)
            if answer is not None:
                picked[question] = answer.pick == "first"

        questions = (
            (statement, offer.prompt, offer.answers[a], offer.answers[b])
            for offer in offers
            for statement in statements
            for a, b in permutations(range(len(offer.answers)), 2)
        )
        side_by_side(judge, dict.fromkeys(questions), self._at_once)
        return [[_values(offer, statement, picked) for statement in statements] for offer in offers]

    @property
    def asks(self) -> Asks:
        """What it asks its model through; shared with whoever else asks that model."""
        return self._caller

    def spent(self) -> Spent:
        """Return what the model was asked."""
        return self._caller.spent()


def _values(offer: Offer, statement: str, picked: Mapping[_Question, bool]) -> list[float]:
    """The value of each answer; 0 for all of them where an answer of the judge is missing."""
    values = [0.0] * len(offer.answers)
    for a, b in permutations(range(len(values)), 2):
        first = picked.get((statement, offer.prompt, offer.answers[a], offer.answers[b]))
        if first is None:
            return [0.0] * len(values)
        values[a if first else b] += 0.5 / (len(values) - 1)
    return values
