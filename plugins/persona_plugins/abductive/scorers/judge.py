"""Which of two answers would someone prefer of whom a sentence is true? A chat model is asked, in both orders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from persona_plugins.abductive.prompts import Asks, Pick, about_two_answers, ask
from persona_sdk.language import Journal, Spent
from persona_sdk.scoring import Offer, StatementScorer
from persona_sdk.workers import side_by_side

__all__ = ["JudgeScorer"]


class JudgeScorer(StatementScorer):
    """Asks a chat model which answer a person of the sentence prefers (paper: arXiv 2501.11549, persona accuracy).

    An answer's value is the share of the two calls, one per order, that picked it: 0, ½ or 1; of more than two answers
    it is the mean over all pairs with it. A call that gave nothing readable counts for neither. `at_once` is how many
    calls it has under way. Two calls per sentence and pair of answers: the dearest of the scorers.
    """

    name = "judge"

    def __init__(self, caller: Asks, *, at_once: int = 4) -> None:
        self._caller, self._at_once = caller, at_once

    def score(
        self, offers: Sequence[Offer], statements: Sequence[str], journal: Journal | None = None
    ) -> list[list[list[float]]]:
        """Return one value per offer, statement and answer, in [0, 1].

        Raises:
            ModelError: the model answers nobody: the key, the budget.
        """
        found = [[[0.0] * len(offer.answers) for _ in statements] for offer in offers]
        calls = [
            (o, s, pair)
            for o, offer in enumerate(offers)
            for s in range(len(statements))
            for a, b in combinations(range(len(offer.answers)), 2)
            for pair in ((a, b), (b, a))
        ]
        picked: dict[tuple[int, int, tuple[int, int]], int] = {}

        def judge(call: tuple[int, int, tuple[int, int]]) -> None:
            o, s, (first, second) = call
            answers = offers[o].answers
            messages = about_two_answers(statements[s], offers[o].prompt, answers[first], answers[second])
            answer = ask(self._caller, messages, Pick, journal)
            if answer is not None:
                picked[call] = first if answer.pick == "first" else second

        side_by_side(judge, calls, self._at_once)
        for o, s, pair in calls:  # in their order, so that rounding does not depend on who was first
            winner = picked.get((o, s, pair))
            if winner is not None:
                found[o][s][winner] += 0.5 / (len(offers[o].answers) - 1)
        return found

    @property
    def asks(self) -> Asks:
        """What it asks its model through; shared with whoever else asks that model."""
        return self._caller

    def spent(self) -> Spent:
        """Return what the model was asked."""
        return self._caller.spent()
