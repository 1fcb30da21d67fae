"""Passes a request on, and its answer back: as it comes, byte for byte, and no faster than the caller reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx2
from opentelemetry.trace import Span
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from persona_integrations.server.errors import GatewayError, error_response
from persona_integrations.server.metrics import Metrics
from persona_integrations.server.ownership import Ownership
from persona_integrations.server.personal import Exchange, Personal
from persona_integrations.server.tracing import model_call, note_answer, note_failure
from persona_integrations.server.upstream import Upstream, response_headers
from persona_sdk.wire import Answer, AnswerReader

__all__ = ["Call", "Relay"]


class Call:
    """What a relay needs: the way upstream, what is done for persons, who owns answers, what is counted."""

    def __init__(self, upstream: Upstream, personal: Personal, ownership: Ownership, metrics: Metrics) -> None:
        self.upstream, self.personal, self.ownership, self.metrics = upstream, personal, ownership, metrics


class Relay(Response):
    """Answers a request with what the server behind answers it with."""

    def __init__(
        self, call: Call, exchange: Exchange, request: httpx2.Request, *, tenant: str, path: str, base: str
    ) -> None:
        super().__init__()
        self._call, self._exchange, self._request = call, exchange, request
        self._tenant, self._path, self._base = tenant, path, base
        self._reader: AnswerReader | None = None
        self._read: Answer | None = None
        self._told = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay until the answer is given, or the caller leaves: then the model need not go on either."""
        metrics = self._call.metrics
        metrics.in_flight.inc()
        work = asyncio.create_task(self._traced(scope, receive, send))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                metrics.broken.labels("client").inc()
                work.cancel()
            with suppress(asyncio.CancelledError):
                await work
        finally:
            gone.cancel()
            work.cancel()
            metrics.in_flight.dec()
        if self._read is None and self._reader is not None:  # somebody left: it is what they saw
            self._read = self._reader.finish()
        await self._call.personal.finish(self._exchange, None if self._told else self._read)

    async def _traced(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        carried: dict[str, str] = {}
        with model_call(self._exchange, self._path, self._base, headers, carried) as span:
            self._request.headers.update(carried)
            began = time.perf_counter()
            try:
                status = await self._relay(send, span)
            except GatewayError as error:
                status = error.status
                if status >= 500:
                    self._call.metrics.broken.labels("upstream").inc()
                await error_response(error)(scope, receive, send)
            self._call.metrics.upstream.observe(time.perf_counter() - began)
            self._call.metrics.requests.labels(self._path, str(status)).inc()
            if status >= 400:
                note_failure(span, str(status))
            if self._read is not None:
                note_answer(span, self._read)

    async def _relay(self, send: Send, span: Span) -> int:
        if self._exchange.n > 1:
            response, body = await self._best()
        else:
            response, body = await self._call.upstream.send(self._request), None
        ok = response.status_code < 300
        # An answer that has to be known to its end: then a break in it can still be told as what it is.
        streams = response.headers.get("content-type", "").startswith("text/event-stream")
        if body is None and not streams:
            body = await self._call.upstream.read(response)
        self._reader = self._exchange.reader(response.headers) if ok and self._read is None else None
        if body is not None and self._reader is not None:
            self._reader.feed(body)
            self._finish()
        if body is not None:
            await self._own()
            await send(self._start(response))
            await send({"type": "http.response.body", "body": body})
        elif not await self._stream(response, send):
            note_failure(span, "broken stream")
        return response.status_code

    def _start(self, response: httpx2.Response) -> dict[str, Any]:
        tailored = self._exchange.tailored
        extra = [(b"x-persona-call-id", tailored.call_id.encode())] if tailored is not None else []
        headers = response_headers(response, extra)
        return {"type": "http.response.start", "status": response.status_code, "headers": headers}

    async def _stream(self, response: httpx2.Response, send: Send) -> bool:
        """Pass events on as they come; false if they broke off, which the caller sees as a connection that did."""
        try:
            await send(self._start(response))
            async for chunk in response.aiter_raw():
                self._take_in(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except httpx2.TransportError:
            self._call.metrics.broken.labels("upstream").inc()
            self._reader = None  # nobody stopped it: whoever asks again wants the rest
            return False  # without the last part: an end that looks like one would be a lie
        finally:
            await response.aclose()
        self._finish()
        await self._own()
        await send({"type": "http.response.body", "body": b""})
        return True

    def _take_in(self, chunk: bytes) -> None:
        """Read a part of a stream. Feedback may come as soon as the last event did, so its answer is queued before."""
        if self._reader is None:
            return
        self._reader.feed(chunk)
        if self._reader.answer.complete and not self._told:
            self._told = self._call.personal.offer(self._exchange, self._reader.finish())

    def _finish(self) -> None:
        if self._reader is not None:
            self._read = replace(self._reader.finish(), complete=True)  # some servers do not say so

    async def _own(self) -> None:
        if self._read is not None and self._read.response_id and self._path == "/responses":
            await self._call.ownership.keep(self._tenant, self._read.response_id)

    async def _best(self) -> tuple[httpx2.Response, bytes]:
        """Ask for several answers, and return the one this person is expected to choose."""
        results = await asyncio.gather(*(self._whole() for _ in range(self._exchange.n)), return_exceptions=True)
        came = [r for r in results if isinstance(r, tuple)]
        good = [r for r in came if r[0].status_code < 300]
        if not came:
            raise next(r for r in results if isinstance(r, BaseException))
        if not good:
            return came[0]
        answers = [self._answer(*one) for one in good]
        texts = [i for i, answer in enumerate(answers) if answer.text] or [0]
        chosen = texts[await self._call.personal.choose(self._exchange, [answers[i] for i in texts])]
        self._read = answers[chosen]
        return good[chosen]

    async def _whole(self) -> tuple[httpx2.Response, bytes]:
        response = await self._call.upstream.send(self._request)
        return response, await self._call.upstream.read(response)

    def _answer(self, response: httpx2.Response, body: bytes) -> Answer:
        reader = self._exchange.reader(_named(response.headers))
        if reader is None:
            return Answer()
        reader.feed(body)
        return reader.finish()


def _named(headers: httpx2.Headers) -> Mapping[str, str]:
    return headers


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
