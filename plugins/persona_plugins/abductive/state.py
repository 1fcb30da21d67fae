"""What is kept of a person to score new answers: the sentences that earned a weight."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from persona_sdk.inference import Population
from persona_sdk.language import Journal
from persona_sdk.scoring import Offer, Scorer, StatementScorer

__all__ = ["AbductiveScorer", "Weighted", "base_population", "shared", "utilities"]


@dataclass(frozen=True, slots=True)
class Weighted:
    """A sentence, its contrary if it has one, and its weight per unit of the scorer."""

    statement: str
    contrary: str | None
    weight: float


def utilities(
    scorer: StatementScorer, weighted: Sequence[Weighted], offers: Sequence[Offer], journal: Journal | None = None
) -> list[list[float]]:
    """Return the sum of weight · (fit of the sentence − fit of its contrary) of every answer of every offer."""
    signed = [(w.statement, w.weight) for w in weighted] + [(w.contrary, -w.weight) for w in weighted if w.contrary]
    if not signed:
        return [[0.0] * len(offer.answers) for offer in offers]
    scored = scorer.score(offers, [statement for statement, _ in signed], journal)
    return [
        [
            sum(weight * by_answer[a] for (_, weight), by_answer in zip(signed, by_sentence, strict=True))
            for a in range(len(offer.answers))
        ]
        for offer, by_sentence in zip(offers, scored, strict=True)
    ]


def shared(population: Population | None, known: Collection[str]) -> list[Weighted]:
    """Return everybody's sentences and weights, but for those whose weight for this person is `known`."""
    data = {} if population is None else population.data
    scale, contrary = data.get("scale", {}), data.get("contrary", {})
    return [
        Weighted(statement, contrary.get(statement), weight / scale[statement])
        for statement, weight in data.get("mean", {}).items()
        if weight and scale.get(statement) and statement not in known
    ]


def base_population(population: Population | None, inferrer: str) -> Population | None:
    """Return the population of the inferrer that this one stands on, kept inside its own."""
    data = None if population is None else population.data.get("base")
    if population is None or not data:
        return None
    changed = {"inferrer": inferrer, "fingerprint": data["fingerprint"], "data": data["data"]}
    return population.model_copy(update=changed)


class AbductiveScorer(Scorer):
    """Reads the states of an abductive inferrer; `base` is the scorer of the inferrer it stands on, if any."""

    name = "abductive"

    def __init__(self, scorer: StatementScorer, base: Scorer | None = None, *, name: str = "abductive") -> None:
        setattr(self, "name", name)  # noqa: B010 - one class serves several names
        self._scorer = scorer
        self._base = base

    def score(
        self,
        state: Mapping[str, Any],
        population: Population | None,
        prompt: str,
        answers: Sequence[str],
        silent: frozenset[str] = frozenset(),
    ) -> list[float]:
        """Return one utility per answer, in log-odds."""
        own = [Weighted(s["statement"], s["contrary"], s["weight"]) for s in state["sentences"]]
        spoken = [w for w, s in zip(own, state["sentences"], strict=True) if s["key"] not in silent]
        weighted = [*spoken, *shared(population, {w.statement for w in own})]
        (own_part,) = utilities(self._scorer, weighted, [Offer(prompt, tuple(answers))])
        if self._base is None or state.get("base") is None:
            return own_part
        below = base_population(population, self._base.name)
        given = self._base.score(state["base"], below, prompt, answers, silent)
        return [a + b for a, b in zip(own_part, given, strict=True)]
