"""Telling the engine that a call was answered. The person has the answer by then: nothing here may take it away."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from persona_sdk.models import Tailored
from persona_sdk.pipeline import contained

__all__ = ["atell", "tell"]

_log = logging.getLogger("persona_sdk")


class _Engine(Protocol):
    """What of a `Personalizer` is needed here."""

    def answered(self, tailored: Tailored, answer: str) -> None: ...


def tell(engine: _Engine, tailored: Tailored, answer: str) -> None:
    """Tell that a call was answered. What goes wrong is logged, without the answer: feedback may not find it then."""
    _, failure = contained(engine.answered, tailored, answer)
    if failure:
        _log.warning("an answer could not be kept for feedback about it: %s", failure)


async def atell(engine: _Engine, tailored: Tailored, answer: str) -> None:
    """Tell that a call was answered, from a thread; see `tell`."""
    await asyncio.to_thread(tell, engine, tailored, answer)
