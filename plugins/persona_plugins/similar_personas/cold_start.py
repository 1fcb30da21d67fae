"""A newcomer's prior, blended from similar people's leanings: it moves which of several answers is given, no prompt.

The blend and its fading with own choices are those of `blending`, as verified on this tenant. Two things hold beyond
that. What the borrower has spoken about is theirs alone. And where the question says itself how it wants to be
answered, nothing is borrowed about that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from persona_plugins.similar_personas.asking import does_not_borrow, no_use, refused, silent_styles, skipped
from persona_plugins.similar_personas.blending import NEIGHBOURS, added, borrowed, faded
from persona_plugins.similar_personas.lending import Own, spoken_of
from persona_sdk.models import ChatCall, TailorStep
from persona_sdk.signals import Choice
from persona_sdk.tailoring import Tailor, TailorContext, TailorResult

if TYPE_CHECKING:
    from persona_plugins.similar_personas.people import SimilarPersonas

__all__ = ["ColdStart"]


@dataclass(frozen=True, slots=True)
class _Prior:
    """What is borrowed for a call, as weights by name, from how many people, and how much of it; or why nothing is."""

    weights: Mapping[str, float]
    people: int = 0
    share: float = 0.0
    why: str = ""


class ColdStart(Tailor):
    """Scores answers by what similar people lean to, beside what is known of the person; less with every own choice."""

    name = "cold_start"
    gated = False

    def __init__(self, people: SimilarPersonas) -> None:
        self._people = people

    def tailor(self, call: ChatCall, context: TailorContext) -> TailorResult:
        """Leave the messages as they are; ask for several answers where `candidates` says so."""
        prior = self._prior(call, context)
        if prior.why:
            return skipped(self.name, call, prior.why)
        step = TailorStep(
            tailor=self.name,
            detail=f"prior borrowed from {prior.people} similar people, strength {prior.share:.2g}; "
            "it counts when answers are compared",
        )
        return TailorResult(call.override(n=max(call.n, self._people.options.candidates)), step)

    def utilities(self, call: ChatCall, answers: Sequence[str], context: TailorContext) -> Sequence[float]:
        """Return what the borrowed prior adds to each answer, around 0; () where nothing is borrowed."""
        if len(answers) < 2:
            return ()
        weights = self._prior(call, context).weights
        if not weights:
            return ()
        others = [answer for answer in answers[1:] if answer != answers[0]]
        asked = [Choice("", prompt=call.question, chosen=answer, rejected=answers[0]) for answer in others]
        population = self._people.population(call.tenant)
        contrasts = self._people.inferrer().contrast(population, asked) if asked else []
        gained = {answer: added(weights, contrast) for answer, contrast in zip(others, contrasts, strict=True)}
        values = [gained.get(answer, 0.0) for answer in answers]
        if not any(values):
            return ()
        middle = math.fsum(values) / len(values)
        return [value - middle for value in values]

    def choose(self, call: ChatCall, answers: Sequence[str], context: TailorContext) -> int | None:
        """Return the answer with the highest utility, own and borrowed; None where nothing is borrowed."""
        if not self.utilities(call, answers, context):
            return None
        scored = list(context.score(call, answers))
        return max(range(len(scored)), key=scored.__getitem__) if scored else None

    def _prior(self, call: ChatCall, context: TailorContext) -> _Prior:
        people, tenant, user_id = self._people, call.tenant, call.user_id
        borrowing = people.borrowing(tenant)
        why = no_use(call) or refused(borrowing) or does_not_borrow(people, tenant, user_id) or people.away(tenant)
        if why or borrowing is None:
            return _Prior({}, why=why)
        lenders, k = people.lenders(tenant, user_id)[:NEIGHBOURS], people.options.k  # those that `borrowed` counts
        if len(lenders) < k:
            few = f"fewer than {k} similar people are known yet"
            return _Prior({}, why=few if lenders else "nobody similar is known yet")
        leaning = people.memory.leaning(tenant, user_id)
        choices = leaning.choices if leaning else 0
        weights = borrowed([(one.similarity, one.leaning.weights) for one in lenders], borrowing, choices)
        mine = spoken_of(Own.of(people.memory, tenant, user_id, context.persona.traits))
        asked = {f"s:{one}" for one in silent_styles(call, [n[2:] for n in weights if n.startswith("s:")])}
        kept = {name: weight for name, weight in weights.items() if name not in mine and name not in asked}
        if not kept:
            return _Prior({}, why=f"nothing of use here is what {k} similar people lean to")
        return _Prior(kept, len(lenders), borrowing.strength * faded(borrowing.fade, choices))
