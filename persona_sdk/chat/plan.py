"""What to send to the model, and what to make of its answer: decided here, without I/O, for sync and async alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessageChunk, BaseMessage, BaseMessageChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from persona_sdk.chat.messages import text_of, to_langchain
from persona_sdk.models import Message, Tailored

__all__ = ["CALL_ID", "Plan", "Reading", "Request", "candidates", "is_text", "stamped"]

#: Where in an answer's `response_metadata` its call id stands: the `response_id` of feedback about it.
CALL_ID = "persona_call_id"
#: The tag of runs that LangGraph leaves out when it streams messages.
_UNSEEN = "nostream"


@dataclass(frozen=True, slots=True)
class Request:
    """A call as it came: who asks, what the model would get, the same as LangChain's messages and as ours."""

    user_id: str
    input: LanguageModelInput
    originals: tuple[BaseMessage, ...]
    messages: tuple[Message, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send to the model, and how many answers to ask for."""

    tailored: Tailored
    input: LanguageModelInput
    kwargs: dict[str, Any]
    n: int

    @classmethod
    def of(cls, request: Request, tailored: Tailored, *, choosing: bool) -> Plan:
        """Decide what to send for a tailored call: the caller's own input as it stands, where nothing was changed."""
        call = tailored.call
        sent = to_langchain(call.messages, request.messages, request.originals)
        unchanged = len(sent) == len(request.originals) and all(map(_same, sent, request.originals))
        options = dict(call.params)
        if model := call.adapter or call.model:  # an adapter is served under its name, as a model of its own
            options["model"] = model
        # What the caller says for this very call wins over what a tailor proposes.
        return cls(
            tailored,
            request.input if unchanged else sent,
            {**options, **request.kwargs},
            call.n if choosing else 1,
        )

    def config(self, config: RunnableConfig | None) -> RunnableConfig:
        """Return the config of the model's run: the caller's, with the call id in its metadata.

        There, callbacks and streams find it before there is an answer. Where answers are chosen among, LangGraph must
        not stream them all as if they were given.
        """
        own = ensure_config(config)  # a copy, down to these two
        own["metadata"][CALL_ID] = self.tailored.call_id
        if self.n > 1:
            own["tags"].append(_UNSEEN)
        return own

    def batch(self, config: RunnableConfig | None) -> tuple[list[LanguageModelInput], list[RunnableConfig]]:
        """Return inputs and configs for n answers; a run id can name one run only."""
        first = self.config(config)
        others: Any = {k: v for k, v in first.items() if k != "run_id"}
        return [self.input] * self.n, [first, *[others] * (self.n - 1)]


def _same(one: object, other: object) -> bool:
    return one is other


def candidates(results: Sequence[Any]) -> list[Any]:
    """Return the answers there is a choice among.

    Failed ones are left out; when all failed, the first failure is raised. Choosing is between texts: a tool call or
    a structured result that came first is taken as it is, as if it had been the only one asked for.
    """
    usable = [r for r in results if not isinstance(r, Exception)]
    if not usable:
        raise results[0]
    return [r for r in usable if is_text(r)] if is_text(usable[0]) else usable[:1]


def is_text(answer: Any) -> bool:
    """Whether there is anything to choose about an answer: it is text, and calls no tool."""
    return bool(text_of(answer)) and not getattr(answer, "tool_calls", None)


def stamped(answer: Any, call_id: str) -> Any:
    """Return a copy of a message with the call id; what is no message stays as it is."""
    if not isinstance(answer, BaseMessage):
        return answer
    return answer.model_copy(update={"response_metadata": {**answer.response_metadata, CALL_ID: call_id}})


class Reading:
    """What a stream has said so far, and where in it the call id goes.

    It goes into the chunk that LangChain marks as the last, so that no chunk is held back or added. A stream that
    ends without such a mark gets one more, empty chunk.
    """

    def __init__(self, call_id: str) -> None:
        self.ended = self.just_ended = False
        self._call_id = call_id
        self._texts: list[str] = []
        self._last: AIMessageChunk | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._texts)

    def read(self, chunk: Any) -> Any:
        """Take note of a chunk and return it, with the call id if it is the last."""
        self._texts.append(text_of(chunk))
        self._last = chunk if isinstance(chunk, AIMessageChunk) else self._last
        whole = isinstance(chunk, BaseMessage) and not isinstance(chunk, BaseMessageChunk)
        last = whole or getattr(chunk, "chunk_position", None) == "last"
        self.just_ended = last and not self.ended
        self.ended = self.ended or last
        return stamped(chunk, self._call_id) if self.just_ended else chunk

    def tail(self) -> Iterator[AIMessageChunk]:
        """Return the chunk to add to a stream of messages that ended unmarked."""
        if self._last is not None and not self.ended:
            empty: Any = "" if isinstance(self._last.content, str) else []
            metadata = {CALL_ID: self._call_id}
            yield AIMessageChunk(content=empty, id=self._last.id, response_metadata=metadata, chunk_position="last")
