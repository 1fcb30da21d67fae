"""The prompt a host can insert: what is known of a person as notes for a model, and their question behind it."""

from __future__ import annotations

from typing import Any

from persona_integrations.mcp.desk import Desk
from persona_integrations.mcp.tools import added
from persona_sdk.notes import notes

__all__ = ["DESCRIPTION", "NAME", "personalise"]

NAME = "personalise"
DESCRIPTION = "Notes on the person for the model that answers them, and their question, if there is one."
#: Most tokens of the notes where there is no question to choose them by.
_MAX_TOKENS = 400
_NOTHING = "Nothing is known of this person yet: answer as anybody would be answered."


async def personalise(desk: Desk, user_id: str, question: str) -> str:
    """Return the text of the prompt; without a question, the notes are all that is known and has been verified."""
    if question.strip():
        await desk.caught_up(user_id)
        asked: list[dict[str, Any]] = [{"role": "user", "content": question}]
        block = added(asked, await desk.personalizer.atailor(user_id, asked))
        return f"{block}\n\n{question}" if block else question
    persona = await desk.personalizer.apersona(user_id)
    sure = [trait for trait in persona.traits if trait.status in ("verified", "pinned")]
    block, used = notes(sure, persona.lineage.worded or persona.version, _MAX_TOKENS)
    return block if used else _NOTHING
