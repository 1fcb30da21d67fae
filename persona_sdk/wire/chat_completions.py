"""The chat completions API: `messages` in, `choices` out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from persona_sdk.aligning import align
from persona_sdk.models import ChatCall, Message
from persona_sdk.wire.protocol import AnswerReader, Wire, WireRequest, as_dict, count_field, message, text_field

__all__ = ["ChatCompletions"]


class ChatCompletions(Wire):
    """OpenAI's `/chat/completions`, as most servers speak it."""

    path: ClassVar[str] = "/chat/completions"

    def reader(self, *, streaming: bool) -> AnswerReader:  # noqa: D102 - as in Wire
        return _Reader(streaming)

    def _messages(self, body: Mapping[str, Any]) -> tuple[Message, ...]:
        given = body.get("messages")
        if not isinstance(given, list) or not all(isinstance(m, dict) for m in given):
            return ()
        read = [message(m) for m in given]
        return tuple(m for m in read if m is not None) if None not in read else ()

    def _changes(self, request: WireRequest, call: ChatCall) -> Mapping[str, Any]:
        given = request.body["messages"]
        places = align(call.messages, request.messages)
        if all(p.same for p in places) and [p.origin for p in places] == list(range(len(given))):
            return {}
        return {
            "messages": [
                given[index] if index is not None and same else as_dict(m)
                for m, (index, same) in zip(call.messages, places, strict=True)
            ]
        }


class _Reader(AnswerReader):
    """Reads the first choice."""

    def _event(self, document: Mapping[str, Any]) -> None:
        choice = self._read(document, "delta")
        if choice.get("finish_reason") is not None:
            self._note(complete=True)

    def _whole(self, document: Mapping[str, Any]) -> None:
        if self._read(document, "message"):
            self._note(complete=True)

    def _read(self, document: Mapping[str, Any], part: str) -> Mapping[str, Any]:
        usage = document.get("usage")
        tokens = usage if isinstance(usage, dict) else {}
        self._note(
            response_id=text_field(document, "id"),
            model=text_field(document, "model"),
            input_tokens=count_field(tokens, "prompt_tokens"),
            output_tokens=count_field(tokens, "completion_tokens"),
        )
        choices = document.get("choices")
        listed = choices if isinstance(choices, list) else []
        choice = next((c for c in listed if isinstance(c, dict) and c.get("index", 0) == 0), {})
        said = choice.get(part)
        if isinstance(said, dict):
            self._texts.append(text_field(said, "content"))
        self._note(finish=text_field(choice, "finish_reason"))
        return choice
