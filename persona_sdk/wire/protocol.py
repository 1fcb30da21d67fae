"""What a way of writing conversations down has to tell: `Wire`, and what it reads."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from pydantic import ValidationError

from persona_sdk.models import ChatCall, Message
from persona_sdk.wire.events import EventReader

__all__ = ["Answer", "AnswerReader", "Wire", "WireRequest", "as_dict", "count_field", "message", "text_field"]

#: Longer answers (in bytes) are passed on, but not read.
_LONGEST = 32 * 2**20


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request for an answer: its bytes, what they say, and the conversation in our own messages.

    `user_id` is whom the body names, None if nobody; `stream` whether events are asked for.
    """

    raw: bytes
    body: Mapping[str, Any]
    messages: tuple[Message, ...]
    user_id: str | None
    stream: bool
    model: str | None
    n: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a response said: its id, text and model, and the tokens it took, where it tells.

    `complete` is false for a stream that broke off, `failed` true where the server says so itself, within a stream or
    in a response. The text of an answer that only calls tools is "".
    """

    response_id: str = ""
    text: str = ""
    model: str = ""
    finish: str = ""
    complete: bool = False
    failed: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass
class AnswerReader(ABC):
    """Reads an answer from a response's body, as it comes; whatever it cannot read, it passes over."""

    streaming: bool
    answer: Answer = field(default_factory=Answer, init=False)
    _texts: list[str] = field(default_factory=list, init=False)
    _body: bytearray = field(default_factory=bytearray, init=False)
    _events: EventReader = field(default_factory=EventReader, init=False)
    _size: int = field(default=0, init=False)

    def feed(self, data: bytes) -> None:
        """Take in the next bytes of the body."""
        self._size += len(data)
        if self._size > _LONGEST:
            self._body, self._events = bytearray(), EventReader()
            self._texts.clear()
            return
        if not self.streaming:
            self._body += data
            return
        for event in self._events.feed(data):
            document = _loaded(event)
            if isinstance(document, dict):
                self._note(failed=bool(document.get("error")) or None)
                self._event(document)
            elif event.strip() == b"[DONE]":
                self._note(complete=True)

    def finish(self) -> Answer:
        """Return the answer, once the body has ended."""
        if self._size > _LONGEST:
            return Answer()
        if not self.streaming:
            document = _loaded(bytes(self._body))
            self._body.clear()
            if isinstance(document, dict):
                self._whole(document)
        return replace(self.answer, text="".join(self._texts))

    @abstractmethod
    def _event(self, document: Mapping[str, Any]) -> None:
        """Read one event of a stream."""

    @abstractmethod
    def _whole(self, document: Mapping[str, Any]) -> None:
        """Read a response that came at once."""

    def _note(self, **fields: Any) -> None:
        """Keep what is said of the answer: what is said later counts, what is not said does not."""
        self.answer = replace(self.answer, **{k: v for k, v in fields.items() if v not in (None, "")})


class Wire(ABC):
    """One way of writing down a conversation and its answer. Stateless; nothing here raises for what people send."""

    #: What a URL's path ends with.
    path: ClassVar[str]

    def read(self, raw: bytes) -> WireRequest | None:
        """Return what a request says, None if it holds no conversation that can be read."""
        body = _loaded(raw)
        if not isinstance(body, dict):
            return None
        messages = self._messages(body)
        if not messages:
            return None
        n = body.get("n")
        return WireRequest(
            raw=raw,
            body=body,
            messages=messages,
            # `user` is what `safety_identifier` replaced.
            user_id=text_field(body, "safety_identifier") or text_field(body, "user") or None,
            stream=body.get("stream") is True,
            model=text_field(body, "model") or None,
            n=n if isinstance(n, int) and not isinstance(n, bool) and n > 0 else 1,
        )

    def write(self, request: WireRequest, call: ChatCall) -> bytes:
        """Return the request's body for a tailored call: the very same bytes where nothing was changed."""
        try:
            return self._written(request, call)
        except (TypeError, ValueError, RecursionError):
            return request.raw  # a tailor wrote what is no JSON, or something is nested without end

    def _written(self, request: WireRequest, call: ChatCall) -> bytes:
        changes = dict(self._changes(request, call))
        model = call.adapter or call.model  # an adapter is served under its name, as a model of its own
        if model and model != request.model:
            changes["model"] = model
        # What the app says wins over what a tailor proposes.
        proposed = {k: v for k, v in call.params.items() if k not in request.body and _is_json(v)}
        if not changes and not proposed:
            return request.raw
        return json.dumps({**proposed, **request.body, **changes}).encode()

    @abstractmethod
    def reader(self, *, streaming: bool) -> AnswerReader:
        """Return what reads the answer of a response."""

    @abstractmethod
    def _messages(self, body: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return the conversation in a body, () if it cannot be read."""

    @abstractmethod
    def _changes(self, request: WireRequest, call: ChatCall) -> Mapping[str, Any]:
        """Return the fields of the body that a tailored conversation makes different."""


def message(fields: Mapping[str, Any]) -> Message | None:
    """Return a message, None if these fields make none."""
    try:
        return Message(**fields)
    except ValidationError:
        return None


def as_dict(changed: Message) -> dict[str, Any]:
    """Return a message as it is written down. Nothing in it is copied, so nothing is nested too deep for that."""
    fields: dict[str, Any] = {"role": changed.role, "content": changed.content}
    return {**{k: v for k, v in fields.items() if k in changed.model_fields_set}, **(changed.model_extra or {})}


def text_field(document: Mapping[str, Any], name: str) -> str:
    """Return a field that is text, "" if it is not there, or something else."""
    value = document.get(name)
    return value if isinstance(value, str) else ""


def count_field(document: Mapping[str, Any], name: str) -> int | None:
    """Return a field that is a whole number, None if it is not there, or something else."""
    value = document.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _loaded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):  # no JSON, no Unicode, or nested without end
        return None
