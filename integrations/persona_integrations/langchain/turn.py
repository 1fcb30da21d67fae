"""One call of an agent's model: who asks, what is sent, which answer is given. Decided here, without I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias

from langchain.agents.middleware import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.runnables.config import ensure_config, var_child_runnable_config
from langgraph.errors import GraphBubbleUp

from persona_sdk.chat.messages import from_langchain, text_of
from persona_sdk.chat.plan import Plan, Request, is_text, stamped
from persona_sdk.models import Tailored

__all__ = ["Asked", "Response", "Turn", "person", "read", "thread"]

#: What an agent is about to send to its model, and what comes back.
Asked: TypeAlias = ModelRequest[Any]
Response: TypeAlias = ModelResponse[Any]


def person(asked: Asked, bound: str | None) -> str | None:
    """Return who asks: whom the runtime's context names, else the config, else the one bound; None for nobody."""
    context = getattr(asked.runtime, "context", None)
    named = context.get("user_id") if isinstance(context, Mapping) else getattr(context, "user_id", None)
    return next((u for u in (named, _configured("user_id"), bound) if u is not None), None)


def thread() -> str | None:
    """Return the id of the thread that the agent runs in, None without a checkpointer."""
    thread_id = _configured("thread_id")
    return None if thread_id is None else str(thread_id)


def _configured(name: str) -> Any:
    return (ensure_config().get("configurable") or {}).get(name)


def read(asked: Asked, user_id: str) -> Request:
    """Return what is asked as a call to a chat model: the system message first."""
    system = [] if asked.system_message is None else [asked.system_message]
    originals = (*system, *asked.messages)
    return Request(user_id, originals, originals, tuple(map(from_langchain, originals)), asked.model_settings)


@dataclass(frozen=True, slots=True)
class Turn:
    """A tailored call: `asked` is what to send, as often as `more` says; `plan` is why."""

    asked: Asked
    plan: Plan

    @classmethod
    def of(cls, asked: Asked, request: Request, tailored: Tailored) -> Self:
        """Decide what to send; what nothing was done to goes out as it came."""
        plan = Plan.of(request, tailored, choosing=asked.response_format is None)
        changes: dict[str, Any] = {}
        if plan.input is not request.input:
            changes = _messages(asked, [m for m in plan.input if isinstance(m, BaseMessage)])
        if plan.kwargs != asked.model_settings:
            changes["model_settings"] = plan.kwargs
        return cls(asked.override(**changes) if changes else asked, plan)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have everything that runs inside know the call by its metadata; see `Plan.config`."""
        token = var_child_runnable_config.set(self.plan.config(None))
        try:
            yield
        finally:
            var_child_runnable_config.reset(token)

    def more(self, first: Response) -> int:
        """Return how many answers to ask for beside the first: none if there is nothing to choose about it."""
        return self.plan.n - 1 if is_text(_answer(first)) else 0

    def usable(self, first: Response, others: Sequence[Response | BaseException]) -> list[Response]:
        """Return the responses there is a choice among. Those that failed are left out.

        Raises:
            GraphBubbleUp: one was interrupted, which is the graph's business.
        """
        for other in others:
            if isinstance(other, GraphBubbleUp):
                raise other
        return [first, *(o for o in others if not isinstance(o, BaseException) and is_text(_answer(o)))]

    def texts(self, responses: Sequence[Response]) -> list[str]:
        """Return the texts to choose among."""
        return [text_of(_answer(r)) for r in responses]

    def text(self, response: Response) -> str:
        """Return the text that a person reads: structured output is none."""
        return "" if response.structured_response is not None else text_of(_answer(response))

    def stamped(self, response: Response) -> Response:
        """Return the response with the call id in its answer."""
        call_id = self.plan.tailored.call_id
        result = [stamped(m, call_id) if isinstance(m, AIMessage) else m for m in response.result]
        return replace(response, result=result)


def _messages(asked: Asked, sent: list[BaseMessage]) -> dict[str, Any]:
    """Return where the messages to send go: what a tailor puts in front is the system message, as far as it can be."""
    new = _leading(sent) > _leading(asked.messages)
    first = sent[0] if new and isinstance(sent[0], SystemMessage) else None
    return {"system_message": first, "messages": sent if first is None else sent[1:]}


def _leading(messages: Sequence[BaseMessage]) -> int:
    return next((i for i, m in enumerate(messages) if not isinstance(m, SystemMessage)), len(messages))


def _answer(response: Response) -> AIMessage | None:
    return next((m for m in response.result if isinstance(m, AIMessage)), None)
