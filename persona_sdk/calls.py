"""Answered calls: what feedback by response id refers to, and what a later call of the same person is compared with."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from pydantic import Field

from persona_sdk.models import Frozen, Identifier, Message, Tailored, TailorStep, utc_now

__all__ = ["APP_ROLES", "AnsweredCall", "conversation_digest", "not_text", "question", "spoken", "texts_only"]

#: Roles that an app speaks in, not a person or a model: they may differ from call to call of one conversation.
APP_ROLES = ("system", "developer")
#: Roles of what a model asked for while it was answering; some apps leave it out of the history.
_TOOL_ROLES = ("tool", "function")
_DIGEST = re.compile("[0-9a-f]{32}")


def spoken(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return what person and model said to each other, without what the app told the model, and calls of tools."""
    apart = (*APP_ROLES, *_TOOL_ROLES)
    return tuple(m for m in messages if m.role not in apart and (m.role != "assistant" or m.text.strip()))


def question(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return what was said up to the question: what a model said before it called tools is part of answering it."""
    said = spoken(messages)
    if messages and messages[-1].role in _TOOL_ROLES:
        while said and said[-1].role == "assistant":
            said = said[:-1]
    return said


def conversation_digest(messages: Sequence[Message]) -> str:
    """Return 32 hexadecimal digits that stand for a conversation, whatever the app told the model beside it.

    White space around a message is ignored: apps trim answers before they send them back.
    """
    return _digest(json.dumps([(m.role, m.text.strip(), not_text(m)) for m in spoken(messages)]))


def not_text(message: Message) -> list[Mapping[str, str]]:
    """Return the types and digests of those parts of a message that are no text, such as images."""
    return [part for part in _slim_parts(message) if isinstance(part, Mapping) and "text" not in part]


def texts_only(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return messages as they are worth keeping: who says which text, without whatever else an app sends along.

    Of a part that is no text (an image, say) its type is kept, and a digest that tells it from others.
    """
    return tuple(
        Message(role=m.role, content=_slim_parts(m) if isinstance(m.content, list) else m.content) for m in messages
    )


def _slim_parts(message: Message) -> list[Any]:
    return [_slim(part) for part in message.content] if isinstance(message.content, list) else []


def _slim(part: Any) -> Any:
    if isinstance(part, str):
        return part
    fields = part if isinstance(part, Mapping) else {}
    kind = fields["type"] if isinstance(fields.get("type"), str) else "unknown"
    if isinstance(fields.get("text"), str):
        return {"type": "text", "text": fields["text"]}
    if set(fields) == {"type", "digest"} and _DIGEST.fullmatch(str(fields["digest"])):
        return {"type": kind, "digest": fields["digest"]}  # it has been slimmed before
    try:
        return {"type": kind, "digest": _digest(json.dumps(part, sort_keys=True))}
    except (TypeError, ValueError, RecursionError):  # no JSON: there is no telling it from others
        return {"type": kind, "digest": _digest(kind)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class AnsweredCall(Frozen):
    """A question, the answer that was given, and why it was tailored as it was.

    `asked` are the texts of the messages the app gave, without what tailors added. `response_id` is what the app knows
    the answer by, `call_id` what the SDK does; they may be the same. An answer that the person stopped is not
    `complete`. `gate` and `silent` are the gate's reasons.
    """

    tenant: Identifier = "default"
    user_id: Identifier
    call_id: Identifier
    response_id: Identifier
    asked: tuple[Message, ...]
    answer: str
    complete: bool = True
    persona_version: int = 0
    gate: str = ""
    silent: Mapping[str, str] = Field(default_factory=dict)
    steps: tuple[TailorStep, ...] = ()
    at: datetime = Field(default_factory=utc_now)

    @classmethod
    def of(
        cls, tailored: Tailored, asked: Sequence[Message], answer: str, response_id: str = "", *, complete: bool = True
    ) -> Self:
        """Return the record of a tailored call."""
        return cls(
            tenant=tailored.call.tenant,
            user_id=tailored.call.user_id,
            call_id=tailored.call_id,
            response_id=response_id or tailored.call_id,
            asked=texts_only(asked),
            answer=answer,
            complete=complete,
            persona_version=tailored.persona_version,
            gate=tailored.gate.reason,
            silent=tailored.gate.silent,
            steps=tailored.steps,
        )

    @property
    def conversation(self) -> str:
        """The digest of the conversation up to the question."""
        return conversation_digest(question(self.asked))

    @property
    def before(self) -> str:
        """The digest of the conversation before the question."""
        return conversation_digest(question(self.asked)[:-1])
