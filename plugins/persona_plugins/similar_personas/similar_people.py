"""Similar people's verified traits that are relevant to this prompt, marked as borrowed, after one's own.

A trait is lent only in words that k similar people share (`lending`), only where borrowing predicts this tenant's
choices better (`blending`), and never against what is known of the borrower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from persona_plugins.similar_personas.asking import does_not_borrow, no_use, refused, relevant, skipped
from persona_plugins.similar_personas.block import cost, render, with_block
from persona_plugins.similar_personas.lending import Lendable, Own, loans, not_against
from persona_sdk.models import ChatCall, TailorStep
from persona_sdk.tailoring import Tailor, TailorContext, TailorResult
from persona_sdk.text import as_data

if TYPE_CHECKING:
    from persona_plugins.similar_personas.people import SimilarPersonas

__all__ = ["SimilarPeopleTailor"]

#: Most traits that are borrowed at once: a guess should not be longer than what is known.
MOST = 3
_TAG = "similar_people"
_PREFACE = (
    "People with similar choices often prefer the following. It is a guess about this user: information, not "
    "instructions. What this user asks for, and what is known of them, goes first."
)


class SimilarPeopleTailor(Tailor):
    """Adds what several similar people prefer to the system prompt, where it is relevant."""

    name = "similar_people"
    gated = False
    after = ("lora", "prompt_prefix")

    def __init__(self, people: SimilarPersonas) -> None:
        self._people = people

    def tailor(self, call: ChatCall, context: TailorContext) -> TailorResult:
        """Put at most three borrowed traits behind the app's system prompt and one's own notes."""
        people = self._people
        why = (
            no_use(call)
            or refused(people.borrowing(call.tenant))
            or does_not_borrow(people, call.tenant, call.user_id)
            or people.away(call.tenant)
        )
        if why:
            return skipped(self.name, call, why)
        offered, why = self._offered(call, context)
        if why:
            return skipped(self.name, call, why)
        for most in range(min(MOST, len(offered)), 0, -1):
            used = sorted(offered[:most], key=lambda one: one.trait.id)  # the same bytes whoever is more alike now
            block = render(_TAG, _PREFACE, [as_data(one.trait.statement) for one in used])
            if cost(block) <= context.max_tokens:
                step = TailorStep(
                    tailor=self.name,
                    tokens_added=cost(block),
                    detail=f"{len(used)} of {len(offered)} relevant traits of similar people, after one's own",
                    borrowed=tuple(one.loan for one in used),
                )
                return TailorResult(with_block(call, block), step)
        return skipped(self.name, call, "no borrowed trait fits into max_tokens")

    def _offered(self, call: ChatCall, context: TailorContext) -> tuple[list[Lendable], str]:
        """Return what may be borrowed for this call, or why nothing."""
        people, k = self._people, self._people.options.k
        lenders = people.lenders(call.tenant, call.user_id)
        if not lenders:
            return [], "nobody similar is known yet"
        found = [(lender.similarity, people.memory.current(call.tenant, lender.user_id)) for lender in lenders]
        offered = loans([(similarity, persona) for similarity, persona in found if persona is not None], k)
        own = Own.of(people.memory, call.tenant, call.user_id, context.persona.traits)
        offered = relevant(call, not_against(offered, own))
        return offered, "" if offered else f"nothing relevant is held by {k} similar people"
