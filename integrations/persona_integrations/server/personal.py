"""What the gateway does for the person of a request: tailor it in time, and write down what it showed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from persona_integrations.server.errors import GatewayError
from persona_integrations.server.metrics import Metrics
from persona_integrations.server.recorder import Recorder
from persona_integrations.server.settings import GatewaySettings
from persona_sdk.engine import Personalizer
from persona_sdk.errors import InputError, PluginError
from persona_sdk.models import Tailored
from persona_sdk.pipeline import contained
from persona_sdk.wire import Answer, AnswerReader, Wire, WireRequest, wire_of

__all__ = ["Exchange", "Personal"]

T = TypeVar("T")
#: Bodies of so many bytes are read in a thread: that can take seconds, in which nobody else would be answered.
_LONG = 2**18
#: How the gate's reason begins where a call went out untailored because memory failed.
_UNREADABLE = "memory could not be read"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as it goes upstream, and what is needed to make something of its answer.

    `tailored` is None for one that nobody is named in, or that goes as it came for another reason. `left` is what there
    was no room to write down before it was answered.
    """

    body: bytes
    wire: Wire | None = None
    request: WireRequest | None = None
    personalizer: Personalizer | None = None
    tailored: Tailored | None = None
    left: Callable[[], object] | None = None

    @property
    def n(self) -> int:
        """How many answers to ask for and choose among; 1 where there is nothing to choose."""
        if self.tailored is None or self.request is None or self.request.stream:
            return 1
        texts = not {"tools", "functions", "response_format", "text"} & self.request.body.keys()
        return self.tailored.call.n if texts and self.request.n == 1 else 1

    def reader(self, headers: Mapping[str, str]) -> AnswerReader | None:
        """Return what reads the answer, None if nobody needs to know it or nobody can read it."""
        if self.wire is None or headers.get("content-encoding", "identity") != "identity":
            return None
        return self.wire.reader(streaming=headers.get("content-type", "").startswith("text/event-stream"))


class Personal:
    """Personalises requests. Whatever goes wrong in that, or takes too long, a request goes upstream as it came."""

    def __init__(
        self, personalizer: Personalizer, settings: GatewaySettings, recorder: Recorder, metrics: Metrics
    ) -> None:
        self._personalizer, self._settings = personalizer, settings
        self._recorder, self._metrics = recorder, metrics
        self._threads = ThreadPoolExecutor(32, thread_name_prefix="persona-tailor")

    def close(self) -> None:
        """Release the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def begin(self, tenant: str, path: str, headers: Mapping[str, str], body: bytes) -> Exchange:
        """Return what to send upstream for a request.

        Raises:
            GatewayError: a tailor that is `required` failed, or was too late.
        """
        wire = wire_of(path)
        request = await self._aside(body, partial(wire.read, body)) if wire is not None else None
        if wire is None or request is None:
            return Exchange(body)
        user_id = _decoded(headers.get(self._settings.user_header, "")) or request.user_id
        wanted = headers.get("x-persona", "").lower()  # "off", or "no-learn"
        if not user_id or wanted == "off":
            self._metrics.personal.labels("nobody").inc()
            return Exchange(body, wire, request)
        personalizer = self._personalizer.for_tenant(tenant)
        tailored = await self._tailored(personalizer, user_id, request)
        if tailored is None:
            return Exchange(body, wire, request)
        learns = self._settings.learn and wanted != "no-learn"
        notice = partial(self._notice, personalizer, user_id, request)
        # Nobody waits for the queue before they are answered: what finds it full is written after the answer.
        left = notice if learns and not self._recorder.offer("notice", notice) else None
        sent = await self._aside(body, partial(wire.write, request, tailored.call))
        return Exchange(sent, wire, request, personalizer, tailored, left)

    async def _aside(self, body: bytes, work: Callable[[], T]) -> T:
        """Return what `work` on a body returns; others do not wait while it is done for a long one."""
        if len(body) < _LONG:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _tailored(self, personalizer: Personalizer, user_id: str, request: WireRequest) -> Tailored | None:
        """Return the tailored call, or the call as it came where that failed; None if the user id is unusable."""
        began = time.perf_counter()
        given: Any = {"model": request.model, "n": request.n}
        work = partial(personalizer.tailor, user_id, request.messages, **given)
        loop, outcome = asyncio.get_running_loop(), "late"
        tailored: Tailored | None = None
        try:
            async with asyncio.timeout(self._settings.personal_timeout):
                # Later than that, the thread goes on by itself, and what it returns is dropped.
                tailored, outcome = await loop.run_in_executor(self._threads, _outcome, work)
        except TimeoutError:
            pass
        except PluginError as error:
            outcome = "failed"
            raise GatewayError(500, str(error)) from None
        finally:
            self._metrics.added.observe(time.perf_counter() - began)
            self._metrics.personal.labels(outcome).inc()
        if tailored is not None or outcome == "nobody":
            return tailored
        if personalizer.required:
            raise GatewayError(503, f"required tailor {personalizer.required[0]!r} was {outcome}; try again")
        reason = f"tailoring was {outcome}"
        return contained(lambda: personalizer.untailored(user_id, request.messages, reason, **given))[0]

    def _notice(self, personalizer: Personalizer, user_id: str, request: WireRequest) -> None:
        for signal in personalizer.notice(user_id, request.messages, "gateway"):
            self._metrics.signals.labels(signal.kind).inc()

    async def choose(self, exchange: Exchange, answers: Sequence[Answer]) -> int:
        """Return which of several answers to give."""
        if exchange.personalizer is None or exchange.tailored is None:
            return 0
        work = partial(exchange.personalizer.choose, exchange.tailored, [a.text for a in answers])
        loop = asyncio.get_running_loop()
        index, _ = await loop.run_in_executor(self._threads, lambda: contained(work))
        return index or 0

    def offer(self, exchange: Exchange, answer: Answer) -> bool:
        """Have an answer written down if there is room; return whether that need not be done any more."""
        tell = _telling(exchange, answer)
        # What the request showed comes first: of somebody unknown no answer is kept.
        return tell is None or (exchange.left is None and self._recorder.offer("answer", tell))

    async def finish(self, exchange: Exchange, answer: Answer | None) -> None:
        """Write down what a request showed, and its answer, so that feedback can name it."""
        if exchange.left is not None:
            await self._recorder.add("notice", exchange.left)
        if (tell := _telling(exchange, answer)) is not None:
            await self._recorder.add("answer", tell)


def _telling(exchange: Exchange, answer: Answer | None) -> Callable[[], None] | None:
    if exchange.personalizer is None or exchange.tailored is None or answer is None or not answer.text or answer.failed:
        return None
    tell = exchange.personalizer.answered
    return partial(tell, exchange.tailored, answer.text, answer.response_id, complete=answer.complete)


def _decoded(header: str) -> str:
    """Return a header's text: UTF-8 if it can be, as in bodies and paths, else the Latin-1 that HTTP once was."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _outcome(work: Callable[[], Tailored]) -> tuple[Tailored | None, str]:
    """Return a tailored call, and what became of it.

    Raises:
        PluginError: it must not go untailored.
    """
    refused: list[PluginError] = []

    def tailor() -> tuple[Tailored | None, str]:
        try:
            tailored = work()
        except PluginError as error:
            refused.append(error)
            return None, "failed"
        except InputError:  # the user id cannot be one
            return None, "nobody"
        if tailored.gate.reason.startswith(_UNREADABLE):
            return tailored, "failed"
        return tailored, "tailored" if tailored.changed else "silent"

    outcome, failure = contained(tailor)
    if refused:
        raise refused[0]
    return outcome if outcome is not None and not failure else (None, "failed")
