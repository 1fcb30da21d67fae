"""What a model is tuned on: choices with their origin, what is said of the person in front, and TRL's rows of both.

Pure: nothing here imports torch. A row remembers whose signals it was made of, all of them, so that an adapter can be
found again when one of these people is forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias

from pydantic import model_validator

from persona_sdk.models import Frozen, Identifier, Message
from persona_sdk.tailoring import with_block

__all__ = [
    "Example",
    "Form",
    "Origin",
    "Prefix",
    "Row",
    "RowFormat",
    "digest",
    "plain_answer",
    "plain_prompt",
    "trl_rows",
]

#: Said in conversations without a system message, in training and when the adapter is used.
SYSTEM = "You are a helpful assistant."
#: What TRL's trainers read: DPO, KTO, SFT.
Form: TypeAlias = Literal["preference", "kto", "sft"]
#: Conversations, for a base with a chat template, or plain text, for one without.
RowFormat: TypeAlias = Literal["chat", "plain"]


class Origin(Frozen):
    """Whose signals something was made of, and which: `persona` is the version that was read with them, 0 for none."""

    tenant: Identifier = "default"
    user_id: Identifier
    signals: tuple[str, ...] = ()
    persona: int = 0


class Example(Frozen):
    """What a person chose, as something to learn from; nothing is said of the person yet.

    `prompt` is the conversation that was answered. Of `chosen` and `rejected` one may be None (a thumb says something
    of one answer only); a pair has both. `certainty` in (0, 1] is that of the signal.
    """

    id: Identifier
    origin: Origin
    prompt: tuple[Message, ...]
    chosen: str | None = None
    rejected: str | None = None
    certainty: float = 1.0

    @model_validator(mode="after")
    def _answered(self) -> Self:
        if self.chosen is None and self.rejected is None:
            raise ValueError("has neither a chosen nor a rejected answer")
        return self

    @property
    def user_id(self) -> str:
        """The person who chose."""
        return self.origin.user_id

    @property
    def is_pair(self) -> bool:
        """Whether both answers are known."""
        return self.chosen is not None and self.rejected is not None

    @property
    def question(self) -> str:
        """The text of the last user message."""
        return next((m.text for m in reversed(self.prompt) if m.role == "user"), "")


class Prefix(Frozen):
    """What a model is told of a person in front of their question; empty text for nothing.

    `kind` names how it was made (see `prefixes`); `origins` are the people whose signals it holds, the person asked
    about included where it is made of theirs.
    """

    kind: str = "none"
    text: str = ""
    origins: tuple[Origin, ...] = ()


class Row(Frozen):
    """An example with its prefix: what a trainer is given, and what an answer's likelihood is measured on."""

    example: Example
    prefix: Prefix = Prefix()

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Everyone whose signals are in this row."""
        return tuple(dict.fromkeys((self.example.origin, *self.prefix.origins)))

    def conversation(self, system: str = "") -> list[dict[str, Any]]:
        """Return what the model reads, the prefix behind the system messages, as a tailor would have put it there.

        `system` is said where there is no system message at all.
        """
        messages = self.example.prompt
        if system and not any(m.role in ("system", "developer") for m in messages):
            messages = (Message(role="system", content=system), *messages)
        messages = with_block(messages, self.prefix.text) if self.prefix.text else messages
        return [{"role": m.role, "content": m.text} for m in messages]


def trl_rows(
    rows: Iterable[Row], form: Form, *, template: RowFormat = "chat", system: str = ""
) -> list[dict[str, Any]]:
    """Return rows as TRL's trainers read them, in their order; rows that have nothing for this form are left out.

    "preference" needs both answers; "kto" makes a row of each answer there is, `label` telling whether it was liked;
    "sft" learns chosen answers, as prompt and completion, so that only the answer is learnt. `id` stays with each.
    """
    made: list[dict[str, Any]] = []
    for row in rows:
        example = row.example
        prompt = _prompt(row.conversation(system), template)
        said = {side: _answer(text, template) for side, text in _sides(example)}
        if form == "preference" and example.is_pair:
            made.append({"id": example.id, "prompt": prompt, **said})
        elif form == "kto":
            made += [
                {"id": example.id, "prompt": prompt, "completion": answer, "label": side == "chosen"}
                for side, answer in said.items()
            ]
        elif form == "sft" and "chosen" in said:
            made.append({"id": example.id, "prompt": prompt, "completion": said["chosen"]})
    return made


def digest(rows: Sequence[Row]) -> str:
    """Return 16 hexadecimal digits that change whenever these rows, or their order, do."""
    hashed = hashlib.sha256()
    for row in rows:
        hashed.update(row.model_dump_json().encode("utf-8", "surrogatepass"))
        hashed.update(b"\n")
    return hashed.hexdigest()[:16]


def _sides(example: Example) -> list[tuple[str, str]]:
    sides = (("chosen", example.chosen), ("rejected", example.rejected))
    return [(side, text) for side, text in sides if text is not None]


def _prompt(conversation: list[dict[str, Any]], template: RowFormat) -> Any:
    return conversation if template == "chat" else plain_prompt(conversation)


def _answer(text: str, template: RowFormat) -> Any:
    return [{"role": "assistant", "content": text}] if template == "chat" else plain_answer(text)


def plain_prompt(conversation: Iterable[Mapping[str, Any]]) -> str:
    """Return a conversation as plain text, up to where the answer begins."""
    said = "\n\n".join(
        m["content"] if m["role"] == "system" else f"{_NAMES.get(m['role'], m['role'])}: {m['content']}"
        for m in conversation
    )
    return f"{said}\n\n{_NAMES['assistant']}:"


def plain_answer(text: str) -> str:
    """Return an answer as it stands behind a plain prompt: the space is its own, as tokenizers have it."""
    return f" {text}"


#: How turns are told apart in plain text.
_NAMES = {"user": "User", "assistant": "Assistant", "developer": "System"}
