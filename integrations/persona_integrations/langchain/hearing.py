"""What a person says in LangChain's messages, recorded so that the same message counts once. It never breaks a chat."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from pydantic import ValidationError

from persona_sdk.engine import Personalizer
from persona_sdk.pipeline import contained
from persona_sdk.signals import Utterance, input_error

__all__ = ["ahear", "hear", "latest", "said"]

_log = logging.getLogger("persona_integrations")


def said(messages: Sequence[BaseMessage]) -> list[HumanMessage]:
    """Return the messages in which a person says something.

    LangChain's middleware writes human messages, too (a summary of the conversation, say), and marks them as its own.
    """
    return [
        m
        for m in messages
        if isinstance(m, HumanMessage) and m.text.strip() and not m.additional_kwargs.get("lc_source")
    ]


def latest(messages: Sequence[BaseMessage]) -> list[HumanMessage]:
    """Return what a person has said since the model last spoke: before that, it was heard when it was said."""
    spoken = [number for number, message in enumerate(messages, start=1) if isinstance(message, AIMessage)]
    return said(messages[spoken[-1] if spoken else 0 :])


def hear(personalizer: Personalizer, user_id: str, messages: Sequence[HumanMessage], where: str | None) -> None:
    """Record messages as what a person said, `where` being the thread or session they belong to.

    A message with an id is recorded once, however often it is heard there. What goes wrong is logged, without what was
    said.
    """
    new = []
    for message in messages:
        given = {} if message.id is None else {"id": _signal_id(message, where)}
        try:
            fields = {"user_id": user_id, "tenant": personalizer.tenant, "source": "langchain", **given}
            new.append(Utterance(text=str(message.text), **fields))
        except ValidationError as error:
            _log.warning("what a person said was not recorded: %s", input_error(error))
    _, failure = contained(personalizer.observe, new)
    if failure:
        _log.warning("what a person said was not recorded: %s", failure)


async def ahear(personalizer: Personalizer, user_id: str, messages: Sequence[HumanMessage], where: str | None) -> None:
    """Record messages as what a person said, from a thread; see `hear`."""
    await asyncio.to_thread(hear, personalizer, user_id, messages, where)


def _signal_id(message: HumanMessage, where: str | None) -> str:
    """Return the id of a signal that stands for a message: apps may number messages anew in every conversation."""
    about = json.dumps([where, message.id, str(message.text)], default=str)
    return f"langchain:{hashlib.sha256(about.encode()).hexdigest()[:32]}"
