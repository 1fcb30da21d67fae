"""What is kept of a person to score new answers: the sentences that earned a weight."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from persona_plugins.abductive.population import clipped
from persona_sdk.inference import Population
from persona_sdk.language import Journal
from persona_sdk.scoring import Offer, Scorer, StatementScorer

__all__ = ["AbductiveScorer", "Weighted", "base_population", "shared", "utilities", "weighted_of"]


#: A weight below this, in log-odds for a typical difference, is not worth asking a model about.
NEGLIGIBLE = 0.01


@dataclass(frozen=True, slots=True)
class Weighted:
    """A sentence, its contrary if it has one, its weight, and the typical difference that the weight is for."""

    statement: str
    contrary: str | None
    weight: float
    scale: float


def utilities(
    scorer: StatementScorer, weighted: Sequence[Weighted], offers: Sequence[Offer], journal: Journal | None = None
) -> list[list[float]]:
    """Return the sum of weight · fit of every answer of every offer, in log-odds; only differences mean something.

    Fits are those of the sentence less those of its contrary, in typical differences, and no two answers of an offer
    differ by more than choices are taken to: the same numbers that predictions are made of.
    """
    used = [w for w in weighted if abs(w.weight) >= NEGLIGIBLE]
    if not used or not offers:
        return [[0.0] * len(offer.answers) for offer in offers]
    sentences = list(dict.fromkeys(s for w in used for s in (w.statement, w.contrary) if s))
    scored = scorer.score(offers, sentences, journal)
    return [_of_offer(used, dict(zip(sentences, by_sentence, strict=True))) for by_sentence in scored]


def _of_offer(used: Sequence[Weighted], fits: Mapping[str, Sequence[float]]) -> list[float]:
    total = np.zeros(len(next(iter(fits.values()))))
    for w in used:
        fit = np.array(fits[w.statement]) - (np.array(fits[w.contrary]) if w.contrary else 0.0)
        total += w.weight * clipped(2 * (fit - fit.mean()), w.scale) / 2
    return [float(u) for u in total]


def weighted_of(state: Mapping[str, Any]) -> list[Weighted]:
    """Return the sentences of a state."""
    return [Weighted(s["statement"], s["contrary"], s["weight"], s["scale"]) for s in state["sentences"]]


def shared(population: Population | None, scorer: str, known: Collection[str]) -> list[Weighted]:
    """Return everybody's sentences and weights, but for those whose weight for this person is `known`."""
    data = {} if population is None or population.data.get("scorer") != scorer else population.data
    scale, contrary = data.get("scale", {}), data.get("contrary", {})
    return [
        Weighted(statement, contrary.get(statement), weight, scale[statement])
        for statement, weight in data.get("mean", {}).items()
        if scale.get(statement) and statement not in known
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
        """Return one utility per answer, in log-odds.

        While a chat waits, no model is asked: with a scorer that is not `quick`, only the inferrer below has a say.
        """
        offer = Offer(prompt, tuple(answers))
        own_part = [0.0] * len(answers)
        if self._scorer.quick:
            mine = weighted_of(state) if state.get("scorer") == self._scorer.name else []
            keys = {s["statement"] for s in state.get("sentences", ()) if s["key"] in silent}
            spoken = [w for w in mine if w.statement not in keys]
            weighted = [*spoken, *shared(population, self._scorer.name, {w.statement for w in mine})]
            (own_part,) = utilities(self._scorer, weighted, [offer])
        base_state = state.get("base") if state else {}
        if self._base is None or base_state is None:
            return own_part
        below = base_population(population, self._base.name)
        given = self._base.score(base_state, below, prompt, answers, silent)
        return [a + b for a, b in zip(own_part, given, strict=True)]
