"""What the server may do and for whom: one `Personalizer`, all people of its tenant or the one it is bound to."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from persona_integrations.mcp.views import PersonaView, persona_view
from persona_sdk.engine import Personalizer
from persona_sdk.errors import InputError, PersonaError
from persona_sdk.explanation import explain
from persona_sdk.models import GateDecision, Identifier, Persona
from persona_sdk.pipeline import fault

__all__ = ["Desk", "ServerFaultError", "checked_user", "settled"]

#: Seconds that tailoring waits for signals to be learnt from that are new; after that it uses what is known.
_PATIENCE = 5.0

T = TypeVar("T")
_IDENTIFIER: TypeAdapter[str] = TypeAdapter(Identifier)


class ServerFaultError(PersonaError):
    """A bug on the server's side; the message says where, and nothing of what anybody wrote."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The server's powers. `user` is whom it is bound to, None for everybody of the tenant.

    `adapters` is the folder of tuned models that are told when somebody is forgotten.
    """

    personalizer: Personalizer
    user: str | None = None
    allow_forget: bool = False
    adapters: Path = Path("adapters")
    # Whoever waits for the same person waits together: a thread each would leave none for others.
    _learning: dict[str, asyncio.Future[Persona]] = field(default_factory=dict, init=False)

    async def shown(self, user_id: str) -> PersonaView:
        """Return what is known of a person, learning first what is new, with the evidence for it in words."""
        persona = await self.personalizer.apersona(user_id)
        signals = {s.id: s for s in await self.personalizer.asignals(user_id)}
        # Not `Personalizer.explain`: it takes a user id for a call id if there is such a call, which may be another's.
        decision = GateDecision(open=bool(persona), reason=persona.note or "what is known of this person")
        why = explain(persona, decision, (), signals)
        return persona_view(persona, why, await self.personalizer.arulings(user_id))

    async def caught_up(self, user_id: str) -> None:
        """Learn from a person's new signals. What takes long goes on in the background, and no failure shows here."""
        learning = self._learning.get(user_id)
        if learning is None:
            learning = self._learning[user_id] = asyncio.ensure_future(self.personalizer.apersona(user_id))
            learning.add_done_callback(lambda done: self._learnt(user_id, done))
        await asyncio.wait([learning], timeout=_PATIENCE)

    def _learnt(self, user_id: str, done: asyncio.Future[Persona]) -> None:
        del self._learning[user_id]
        if not done.cancelled():
            done.exception()  # asked for, so that asyncio does not log it

    async def people(self, after: str, limit: int) -> tuple[list[str], bool]:
        """Return the ids that come after another in order, `limit` of them, and whether there are more."""
        left = [user_id for user_id in sorted(await self.personalizer.ausers()) if user_id > after]
        return left[:limit], len(left) > limit


def checked_user(user_id: str) -> str:
    """Return a user id, if it can be one.

    Raises:
        InputError: it is empty, too long, or holds control characters.
    """
    try:
        return _IDENTIFIER.validate_python(user_id)
    except ValidationError as error:
        what = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"user_id: {what}", field="user_id") from None


async def settled(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns.

    Raises:
        PersonaError: as `work` raised it; a `ServerFaultError` in place of anything else.
    """
    outcome: T | BaseException = (await asyncio.gather(work, return_exceptions=True))[0]
    if isinstance(outcome, PersonaError | asyncio.CancelledError):
        raise outcome
    if isinstance(outcome, BaseException):
        raise ServerFaultError(fault(outcome))
    return outcome
