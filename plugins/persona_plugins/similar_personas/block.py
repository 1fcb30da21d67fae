"""A block of borrowed or remembered things behind the app's own system prompt.

As with the notes on a person's own traits: one line each, all of it data, and the same bytes for the same things, so
that prompt caches stay warm.
"""

from __future__ import annotations

from collections.abc import Sequence

from persona_sdk.models import ChatCall
from persona_sdk.tailoring import with_block as behind_system_prompt
from persona_sdk.text import estimate_tokens

__all__ = ["cost", "render", "with_block"]


def render(tag: str, preface: str, lines: Sequence[str]) -> str:
    """Return the block: `lines` hold people's text, made data of already (`as_data`)."""
    return "\n".join([f"<{tag}>", preface, *(f"- {line}" for line in lines), f"</{tag}>"])


def cost(block: str) -> int:
    """Return the tokens a block adds, with the lines that part it from what stands before it."""
    return estimate_tokens(f"\n\n{block}")


def with_block(call: ChatCall, block: str) -> ChatCall:
    """Return the call with the block behind the app's own system prompt."""
    return call.override(messages=behind_system_prompt(call.messages, block))
