"""How this SDK asks a chat model: structured answers, retries, limits, and a journal so that nothing is paid twice."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock, Semaphore
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from persona_sdk.errors import ModelError, PersonaError
from persona_sdk.faults import is_final, is_refused_request, is_transient, retry_after, status_of, unreadable_text
from persona_sdk.language import ChatModel, Journal, Messages, Spent
from persona_sdk.lenient import problems, read
from persona_sdk.text import estimate_tokens
from persona_sdk.workers import outcome

__all__ = ["Caller", "Limits"]

#: Seconds before the second attempt, doubled for each one after, and the most waited, whatever a server asks for.
BACKOFF, LONGEST_WAIT = 0.5, 300.0
#: Characters of an answer that are shown to the model again when it is asked to correct it.
_SHOWN = 20_000

T = TypeVar("T", bound=BaseModel)


class Limits(BaseModel):
    """How much, how fast and for how much money a `Caller` asks.

    `concurrency` is how many calls may be under way, over all threads; `requests_per_minute` spaces their beginnings;
    `attempts` is how often a call is made before it is given up, `timeout` the seconds each may take. Prices are per
    million tokens. No call is begun once `budget` has been spent or `max_calls` were begun (those under way by then
    are finished and paid for); a run that is started again goes on from its journal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    concurrency: int = Field(default=4, ge=1)
    requests_per_minute: float | None = Field(default=None, gt=0)
    attempts: int = Field(default=4, ge=1)
    timeout: float = Field(default=120.0, gt=0)
    input_price: float = Field(default=0.0, ge=0)
    output_price: float = Field(default=0.0, ge=0)
    budget: float | None = Field(default=None, ge=0)
    max_calls: int | None = Field(default=None, ge=0)


@dataclass(slots=True)
class _Way:
    """How answers of one schema are asked for: with a structured-output runnable, or plainly without."""

    runnable: Any
    kind: str  # "typed" (by class), "untyped" (by JSON Schema) or "plain"
    proven: bool = False


class Caller:
    """Asks one chat model, from as many threads as you like; `name` tells it apart from others in a journal.

    Only faults that may pass (timeouts, broken connections, HTTP 408, 409, 429, 5xx) are tried again, later each time.
    A call that outlasts its timeout is given up, and its thread is left to end by itself. What a journal knows is not
    asked again; what a model answers is in the journal before it is returned.
    """

    def __init__(self, model: ChatModel, *, name: str, limits: Limits | None = None) -> None:
        self._model, self._name, self._limits = model, name, limits or Limits()
        self._slots = Semaphore(self._limits.concurrency)
        self._pace = _Pace(self._limits.requests_per_minute)
        self._lock = Lock()
        self._spent, self._begun = Spent(), 0
        self._ways: dict[type[BaseModel], _Way] = {}

    @property
    def name(self) -> str:
        """What the model is called in journals, messages and errors."""
        return self._name

    def ask(self, messages: Messages, schema: type[T], journal: Journal | None = None) -> T | None:
        """Return the model's answer as `schema`; None if it gave none that can be read, though asked to correct it.

        Raises:
            ModelError: the model refuses such calls, or, with `final`, all calls: the key, the budget, `max_calls`.
        """
        asked = [dict(message) for message in messages]
        document = schema.model_json_schema()
        key = self._digest(asked, document)
        known = journal.get([key]).get(key) if journal is not None else None
        found = read(known, schema) if known is not None else None
        if found is not None:
            self._count(known=1)
            return found
        text = self._structured(asked, schema)
        found = None if text is None else read(text, schema)
        if found is None and text is not None:
            self._count(repaired=1)
            text = self._structured(_correction(asked, text, schema, document), schema)
            found = None if text is None else read(text, schema)
        if text is None or found is None:
            self._count(failed=1)
            return None
        if journal is not None:
            journal.put({key: text})
        return found

    def text(self, messages: Messages, journal: Journal | None = None, **kwargs: Any) -> str | None:
        """Return the model's answer as text, None if it gave none; `kwargs` go to the model's `invoke`.

        Raises:
            ModelError: as in `ask`.
        """
        asked = [dict(message) for message in messages]
        key = self._digest(asked, {"text": kwargs})
        known = journal.get([key]).get(key) if journal is not None else None
        if known is not None:
            self._count(known=1)
            return known
        answer, error = self._attempt(asked, lambda sent: self._model.invoke(sent, **kwargs))
        if error is not None and unreadable_text(error) is None and not is_transient(error):
            raise self._refusal(error)
        text = "" if error is not None else _text_of(answer)
        if not text.strip():
            self._count(failed=1)
            return None
        if journal is not None:
            journal.put({key: text})
        return text

    def spent(self) -> Spent:
        """Return what was spent since this object was made. Tokens are estimated where the model does not tell them."""
        with self._lock:
            return self._spent

    # One question, however the model is best asked

    def _structured(self, asked: list[dict[str, Any]], schema: type[BaseModel]) -> str | None:
        """Return the text of an answer that should fit `schema`, None if there is none after all attempts."""
        way = self._way(schema)
        answer, error = self._attempt(asked, (way.runnable or self._model).invoke)
        if error is None:
            way.proven = True
            return _text_of(answer, schema)
        text = unreadable_text(error)
        if text is None and is_transient(error):
            return None
        if text is not None and (text or way.kind != "typed"):
            return text
        # Either the client refused an answer and lost its text, or it is no use to ask this server that way.
        next_kind = "untyped" if text is not None else "plain"
        if text is None and (way.kind == "plain" or way.proven or not is_refused_request(error)):
            raise self._refusal(error)
        self._count(retried=1)
        return self._otherwise(asked, schema, self._make_way(schema, next_kind))

    def _otherwise(self, asked: list[dict[str, Any]], schema: type[BaseModel], way: _Way) -> str | None:
        """Ask in another way, and stay with it if that works."""
        answer, error = self._attempt(asked, (way.runnable or self._model).invoke)
        if error is None:
            way.proven = True
            with self._lock:
                self._ways[schema] = way
            return _text_of(answer, schema)
        if (text := unreadable_text(error)) is not None:
            return text
        if is_transient(error):
            return None
        raise self._refusal(error)

    def _way(self, schema: type[BaseModel]) -> _Way:
        with self._lock:
            if schema not in self._ways:
                self._ways[schema] = self._make_way(schema, "typed")
            return self._ways[schema]

    def _make_way(self, schema: type[BaseModel], kind: str) -> _Way:
        make = getattr(self._model, "with_structured_output", None)
        if make is None or kind == "plain":
            return _Way(None, "plain")
        try:
            made = make(schema if kind == "typed" else schema.model_json_schema(), include_raw=True)
            return _Way(_bound(made), kind)
        except (NotImplementedError, AttributeError, TypeError, ValueError):  # how LangChain's models say "not I"
            return _Way(None, "plain")

    # One call, with everything that can go wrong

    def _attempt(
        self, asked: list[dict[str, Any]], call: Callable[[list[dict[str, Any]]], Any]
    ) -> tuple[Any, Exception | None]:
        """Call until it works, fails for good, or attempts are used up; return the answer or the last fault."""
        from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt  # noqa: PLC0415 - slow

        def wait(state: RetryCallState) -> float:
            error = state.outcome.result()[1] if state.outcome else None
            pause: float = BACKOFF * 2.0 ** (state.attempt_number - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - not a secret
            asked_for = retry_after(error)
            if asked_for:
                self._pace.pause(min(asked_for, LONGEST_WAIT))  # others would only be turned away, too
            return min(max(pause, asked_for), LONGEST_WAIT)

        retrying = Retrying(
            stop=stop_after_attempt(self._limits.attempts),
            retry=retry_if_result(lambda result: result[1] is not None and is_transient(result[1])),
            wait=wait,
            before_sleep=lambda _: self._count(retried=1),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        answer, error = retrying(self._once, asked, call)
        if isinstance(error, PersonaError):
            raise error
        if error is not None and is_final(error):
            raise self._refusal(error)
        return answer, error

    def _once(
        self, asked: list[dict[str, Any]], call: Callable[[list[dict[str, Any]]], Any]
    ) -> tuple[Any, Exception | None]:
        with self._slots:
            self._begin()
            self._pace.wait()
            done = outcome(self._limits.timeout, call, [dict(message) for message in asked])
        failure = done.exception()
        if failure is not None and not isinstance(failure, Exception):
            raise self._refusal(failure)  # such as a SystemExit: it must not end the program
        answer, error = (None, failure) if failure is not None else (done.result(), None)
        if error is None:
            self._paid(asked, answer)
        elif (text := unreadable_text(error)) is not None:  # the client could not read it, but it was answered
            self._paid(asked, text)
        return answer, error

    def _begin(self) -> None:
        with self._lock:
            most, budget = self._limits.max_calls, self._limits.budget
            if most is not None and self._begun >= most:
                reached = f"the budget of {most} calls (max_calls) is used up"
            elif budget is not None and self._spent.cost >= budget:
                reached = f"the budget of {budget:g} is spent"
            else:
                self._begun += 1
                return
        raise ModelError(
            f"{reached} for model {self._name!r}; what was answered is kept, so raise the limit and start again to go "
            "on from there",
            final=True,
        )

    def _refusal(self, error: BaseException) -> ModelError:
        status = status_of(error)
        what = type(error).__name__ + (f", HTTP {status}" if status else "")
        final = is_final(error)
        advice = (
            "check its key, its name and the account's credit"
            if final
            else "it does not accept this question; the model's own log says why"
        )
        # No cause is kept: a client's message may quote the question.
        if not final:
            self._count(failed=1)
        return ModelError(f"model {self._name!r} failed ({what}): {advice}", final=final)

    # Accounts

    def _digest(self, asked: list[dict[str, Any]], what: Mapping[str, Any]) -> str:
        question = json.dumps([self._name, asked, what], sort_keys=True, default=str)
        return hashlib.sha256(question.encode()).hexdigest()

    def _paid(self, asked: list[dict[str, Any]], answer: Any) -> None:
        message = answer["raw"] if isinstance(answer, dict) and "raw" in answer else answer
        usage = getattr(message, "usage_metadata", None) or {}
        read_, written = usage.get("input_tokens"), usage.get("output_tokens")
        if read_ is None:
            read_ = sum(estimate_tokens(_flat(message.get("content"))) for message in asked)
        if written is None:
            written = estimate_tokens(message if isinstance(message, str) else _text_of(message))
        cost = (read_ * self._limits.input_price + written * self._limits.output_price) / 1e6
        self._count(calls=1, input_tokens=read_, output_tokens=written, cost=cost)

    def _count(self, **more: Any) -> None:
        with self._lock:
            self._spent += Spent(**more)


class _Pace:
    """Lets calls begin at even distances. The first begins at once, unlike with LangChain's rate limiter."""

    def __init__(self, per_minute: float | None) -> None:
        self._distance = 60.0 / per_minute if per_minute else 0.0
        self._next, self._lock = 0.0, Lock()

    def wait(self) -> None:
        """Sleep until it is one's turn."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._distance
        if turn > now:
            time.sleep(turn - now)

    def pause(self, seconds: float) -> None:
        """Let nobody begin for some seconds."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def _correction(
    asked: list[dict[str, Any]], text: str, schema: type[BaseModel], document: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The conversation that asks for a better answer: what was said, and which fields are wrong with it."""
    if not text.strip():
        return asked  # nothing was said, so there is nothing to correct
    wrong = (
        f"This cannot be used ({problems(text, schema)}). Reply with the corrected answer only: one JSON object that "
        f"fits this JSON Schema, and nothing else.\n{json.dumps(document)}"
    )
    return [*asked, {"role": "assistant", "content": text[:_SHOWN]}, {"role": "user", "content": wrong}]


def _bound(runnable: Any) -> Any:
    """Return the model inside LangChain's structured-output runnable, bound to its schema, where it can be seen.

    Around it LangChain runs the call in a thread that keeps the interpreter from exiting, so that Ctrl-C would wait
    for a server that hangs; and its parser is not needed, since the answer is read here anyhow.
    """
    steps = getattr(getattr(runnable, "first", None), "steps__", None)
    return steps.get("raw", runnable) if isinstance(steps, dict) else runnable


def _text_of(answer: Any, schema: type[BaseModel] | None = None) -> str:
    """Return the text of whatever a model or a structured-output runnable gave back."""
    if isinstance(answer, dict) and "raw" in answer:
        text = _text_of(answer["raw"])
        parsed = answer.get("parsed")
        return text if parsed is None or (schema and _reads(text, schema)) else _text_of(parsed)
    if isinstance(answer, BaseModel) and not hasattr(answer, "content"):
        return answer.model_dump_json(by_alias=True)
    if isinstance(answer, dict):
        return json.dumps(answer, default=str)
    calls = [*(getattr(answer, "tool_calls", None) or ()), *(getattr(answer, "invalid_tool_calls", None) or ())]
    if calls:
        arguments = calls[0].get("args")
        return arguments if isinstance(arguments, str) else json.dumps(arguments, default=str)
    return _flat(getattr(answer, "content", answer))


def _reads(text: str, schema: type[BaseModel]) -> bool:
    return read(text, schema) is not None


def _flat(content: Any) -> str:
    """Return the text of a message's content, which may be a list of blocks."""
    if isinstance(content, list):
        return "".join(part if isinstance(part, str) else str(part.get("text") or "") for part in content)
    return content if isinstance(content, str) else ""
