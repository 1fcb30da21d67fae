"""Traits as a prompt prefix (WikiPersonas, arXiv 2505.13257: inferred preferences in front of the question).

For one persona version and one set of relevant traits the bytes are always the same, and they stand behind the app's
own system prompt, so prompt caches stay warm.
"""

from __future__ import annotations

from persona_sdk.models import ChatCall, TailorStep
from persona_sdk.notes import notes
from persona_sdk.tailoring import Tailor, TailorContext, TailorResult, with_block
from persona_sdk.text import estimate_tokens

__all__ = ["PromptPrefix"]


class PromptPrefix(Tailor):
    """Adds the relevant traits to the system prompt, at most `max_tokens` tokens of them."""

    name = "prompt_prefix"
    after = ("lora",)

    def tailor(self, call: ChatCall, context: TailorContext) -> TailorResult:
        """Put as many of the relevant traits as fit, the surest first, behind the app's system prompt."""
        persona = context.persona
        block, used = notes(context.traits, persona.lineage.worded or persona.version, context.max_tokens)
        if not used:
            return TailorResult(call, TailorStep(tailor=self.name, skipped="no trait fits into max_tokens"))
        step = TailorStep(
            tailor=self.name,
            traits=tuple(t.key for t in used),
            tokens_added=estimate_tokens(block),
            detail=f"{len(used)} of {len(context.traits)} relevant traits in the system prompt",
        )
        return TailorResult(call.override(messages=with_block(call.messages, block)), step)
