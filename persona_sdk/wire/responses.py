"""The responses API: `instructions` and `input` in, `output` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from persona_sdk.aligning import Place, align
from persona_sdk.models import ChatCall, Message
from persona_sdk.wire.protocol import AnswerReader, Wire, WireRequest, as_dict, count_field, message, text_field

__all__ = ["Responses"]

#: What stands for items that are no messages, such as tool calls and their results: they are kept as they are.
_ITEM = "item"
#: Of a response that says how it stands, these say that there is an answer. "" is for servers that do not say.
_ANSWERED = ("completed", "incomplete", "")


class Responses(Wire):
    """OpenAI's `/responses`. What the server itself remembers (`previous_response_id`) is not part of the conversation.

    `instructions` are the conversation's first message, and so is what a tailor puts in front of it.
    """

    path: ClassVar[str] = "/responses"

    def reader(self, *, streaming: bool) -> AnswerReader:  # noqa: D102 - as in Wire
        return _Reader(streaming)

    def _messages(self, body: Mapping[str, Any]) -> tuple[Message, ...]:
        items = _items(body)
        if items is None:
            return ()
        instructions = [message({"role": "system", "content": body["instructions"]})] if _instructed(body) else []
        read = [*instructions, *map(_message, items)]
        return tuple(m for m in read if m is not None) if None not in read else ()

    def _changes(self, request: WireRequest, call: ChatCall) -> Mapping[str, Any]:
        body, places = request.body, align(call.messages, request.messages)
        if all(p.same for p in places) and [p.origin for p in places] == list(range(len(request.messages))):
            return {}
        sent = list(zip(call.messages, places, strict=True))
        instructed, changes = _instructed(body), dict[str, Any]()
        if sent and _leads(*sent[0], body):
            changes["instructions"] = sent.pop(0)[0].text
        elif instructed:
            changes["instructions"] = None
        given = _items(body) or []
        if not isinstance(body.get("input"), str) or [p.same for _, p in sent] != [True]:
            changes["input"] = [
                _as_item(m) if i is None or not same or i < instructed else given[i - instructed]
                for m, (i, same) in sent
            ]
        return {k: v for k, v in changes.items() if v != body.get(k)}


def _instructed(body: Mapping[str, Any]) -> bool:
    return bool(text_field(body, "instructions"))


def _items(body: Mapping[str, Any]) -> list[Any] | None:
    given = body.get("input")
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    usable = isinstance(given, list) and all(isinstance(item, dict) for item in given)
    return given if usable and isinstance(given, list) else None


def _message(item: Mapping[str, Any]) -> Message | None:
    if item.get("type", "message") == "message":
        return message(item)
    return message({"role": _ITEM, "item": item})


def _leads(first: Message, place: Place, body: Mapping[str, Any]) -> bool:
    """Whether a message is what `instructions` are for."""
    if _instructed(body):
        return place.origin == 0
    return place.origin is None and first.role in ("system", "developer") and not body.get("instructions")


def _as_item(changed: Message) -> dict[str, Any]:
    item = as_dict(changed)
    if changed.role == _ITEM and isinstance(item.get("item"), dict):
        return dict(item["item"])
    if isinstance(changed.content, list):
        kind = "output_text" if changed.role == "assistant" else "input_text"
        item["content"] = [
            {**part, "type": kind} if isinstance(part, dict) and part.get("type") == "text" else part
            for part in changed.content
        ]
    return item


class _Reader(AnswerReader):
    """Reads all text of the output."""

    def _event(self, document: Mapping[str, Any]) -> None:
        kind = text_field(document, "type")
        if kind == "response.output_text.delta":
            self._texts.append(text_field(document, "delta"))
        response = document.get("response")
        if isinstance(response, dict):
            self._about(response)
        if kind in ("response.completed", "response.incomplete"):
            self._note(complete=True)
        if kind in ("response.failed", "error"):
            self._note(failed=True)

    def _whole(self, document: Mapping[str, Any]) -> None:
        self._about(document)
        output = document.get("output")
        if not isinstance(output, list):
            return
        parts = [part for item in output if isinstance(item, dict) for part in _parts(item)]
        self._texts.extend(text_field(part, "text") for part in parts if part.get("type") == "output_text")
        status = text_field(document, "status")
        self._note(complete=status in _ANSWERED, failed=status == "failed")

    def _about(self, response: Mapping[str, Any]) -> None:
        usage = response.get("usage")
        tokens = usage if isinstance(usage, dict) else {}
        self._note(
            response_id=text_field(response, "id"),
            model=text_field(response, "model"),
            finish=text_field(response, "status"),
            input_tokens=count_field(tokens, "input_tokens"),
            output_tokens=count_field(tokens, "output_tokens"),
        )


def _parts(item: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    content = item.get("content")
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else ()
