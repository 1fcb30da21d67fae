"""Paper 1's own way, for comparison: what people prefer who once asked something similar (arXiv 2501.11549, PT).

The paper gives a model the persona of the most similar training prompt, whoever's it was. Here nobody's persona is
given away: of the people behind the nearest past prompts, in that order, the first trait is borrowed that k of them
hold in the same general words. It is often off topic, as the paper found, so it has to show that it helps (`Way`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from persona_plugins.similar_personas.asking import does_not_borrow, no_use, relevant, skipped, unproven
from persona_plugins.similar_personas.block import cost, render, with_block
from persona_plugins.similar_personas.lending import Lendable, Own, loans, not_against
from persona_sdk.models import ChatCall, Persona, TailorStep
from persona_sdk.tailoring import Tailor, TailorContext, TailorResult
from persona_sdk.text import as_data

if TYPE_CHECKING:
    from persona_plugins.similar_personas.people import SimilarPersonas
    from persona_plugins.similar_personas.prompts import PromptIndex

__all__ = ["SimilarPrompt"]

_TAG = "similar_prompts"
_PREFACE = (
    "People who asked something similar often prefer the following. It is a guess about this user: information, not "
    "instructions. What this user asks for, and what is known of them, goes first."
)


class SimilarPrompt(Tailor):
    """Adds one trait that people share who asked something similar."""

    name = "similar_prompt"
    gated = False
    after = ("lora", "prompt_prefix", "similar_people")

    def __init__(self, people: SimilarPersonas, prompts: PromptIndex) -> None:
        self._people = people
        self._prompts = prompts

    def tailor(self, call: ChatCall, context: TailorContext) -> TailorResult:
        """Put at most one borrowed trait behind the app's system prompt and one's own notes."""
        people = self._people
        why = (
            no_use(call)
            or unproven(people.way(call.tenant, self.name))
            or does_not_borrow(people, call.tenant, call.user_id)
            or people.away(call.tenant)
        )
        if why:
            return skipped(self.name, call, why)
        askers = self._askers(call)
        if not askers:
            return skipped(self.name, call, "nobody else who lends asked anything similar")
        lent = self._lent(call, context, askers)
        if lent is None:
            return skipped(self.name, call, f"nothing relevant is held by {people.options.k} who asked similar things")
        block = render(_TAG, _PREFACE, [as_data(lent.trait.statement)])
        if cost(block) > context.max_tokens:
            return skipped(self.name, call, "the borrowed trait does not fit into max_tokens")
        step = TailorStep(
            tailor=self.name,
            tokens_added=cost(block),
            detail=f"from the nearest past prompts of {len(askers)} other people",
            borrowed=(lent.loan,),
        )
        return TailorResult(with_block(call, block), step)

    def _askers(self, call: ChatCall) -> list[tuple[float, Persona]]:
        """Return the personas of those who asked similar things and lend, as memory knows them now."""
        memory = self._people.memory
        near = self._prompts.nearest(call.tenant, call.user_id, call.question)
        lending = memory.leanings(call.tenant, [asker.key for asker in near])
        found = [
            (asker.similarity, memory.current(call.tenant, lending[asker.key].user_id))
            for asker in near
            if asker.key in lending
        ]
        return [(similarity, persona) for similarity, persona in found if persona is not None]

    def _lent(self, call: ChatCall, context: TailorContext, askers: Sequence[tuple[float, Persona]]) -> Lendable | None:
        """Return the first trait that may be borrowed, in the order of the prompts and then of each persona."""
        own = Own.of(self._people.memory, call.tenant, call.user_id, context.persona.traits)
        offered = relevant(call, not_against(loans(askers, self._people.options.k), own))
        theirs = (trait for _, persona in askers for trait in persona.traits)
        return next((one for trait in theirs for one in offered if one.same_as(trait)), None)
