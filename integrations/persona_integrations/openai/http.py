"""The HTTP client that an OpenAI client sends with, tailoring requests and listening to their answers on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import httpx2

from persona_integrations.openai.desk import HEADER, Desk, Exchange
from persona_integrations.openai.hearing import Heard, HeardAsync, Hearing, streams
from persona_sdk.wire import Answer, wire_of

__all__ = ["PersonalHttp", "PersonalHttpAsync"]

Send: TypeAlias = Callable[[httpx2.Request], httpx2.Response]
SendAsync: TypeAlias = Callable[[httpx2.Request], Awaitable[httpx2.Response]]

#: Of a request that has it, the body is signed (AWS): it cannot be changed any more.
_SIGNED = "X-Amz-Content-SHA256"


class PersonalHttp(httpx2.Client):
    """An HTTP client that sends with another one, and is that other one in everything but what it sends."""

    __slots__ = ("desk", "inner")

    def __init__(self, inner: httpx2.Client, desk: Desk) -> None:
        # One state for both: settings, connections, cookies, hooks, and whether it is closed.
        self.__dict__ = inner.__dict__
        self.inner, self.desk = inner, desk

    def over(self, inner: httpx2.Client) -> PersonalHttp:
        """Return the same over another HTTP client."""
        return PersonalHttp(inner, self.desk)

    def for_user(self, user_id: str) -> PersonalHttp:
        """Return the same for one person."""
        return PersonalHttp(self.inner, self.desk.for_user(user_id))

    def build_request(self, *args: Any, **options: Any) -> httpx2.Request:
        """Build a request as the other one does."""
        return self.inner.build_request(*args, **options)

    def close(self) -> None:
        """Close the other one."""
        self.inner.close()

    def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send a request, tailored if it is a chat of somebody.

        Raises:
            PluginError: a tailor that is `required` failed.
            Exception: whatever the other client raises, unchanged.
        """

        def forward(sent: httpx2.Request) -> httpx2.Response:
            return self.inner.send(sent, stream=stream, **options)

        exchange = self.desk.begin(*_read(request)) if _is_chat(request) else None
        if exchange is None:
            return forward(_bare(request))
        body = exchange.body
        if exchange.n > 1 and not stream:
            return self._best(exchange, forward, request, body)
        response = forward(_bare(request, body))
        if response.is_success and stream and not response.is_stream_consumed:
            heard = response.stream
            assert isinstance(heard, httpx2.SyncByteStream)  # noqa: S101 - as the library itself takes for granted
            response.stream = Heard(heard, Hearing(self.desk, exchange, response))
        elif response.is_success:
            self.desk.tell(exchange, _said(exchange, response))
        return response

    def _best(self, exchange: Exchange, forward: Send, request: httpx2.Request, body: bytes) -> httpx2.Response:
        """Ask one time after the other. Failed answers are left out; a network that fails is not asked again."""
        responses: list[httpx2.Response] = []
        for _ in range(exchange.n):
            try:
                responses.append(forward(_bare(request, body)))
            except httpx2.RequestError:
                if not responses:
                    raise
                break
        response, answers, usable = _usable(exchange, responses)
        if len(usable) > 1:
            response = usable[self.desk.choose(exchange, answers)]
        if response.is_success:
            self.desk.tell(exchange, _said(exchange, response))
        return response


class PersonalHttpAsync(httpx2.AsyncClient):
    """The same as `PersonalHttp` for asyncio; what the engine does is done in threads."""

    __slots__ = ("desk", "inner")

    def __init__(self, inner: httpx2.AsyncClient, desk: Desk) -> None:
        # One state for both: settings, connections, cookies, hooks, and whether it is closed.
        self.__dict__ = inner.__dict__
        self.inner, self.desk = inner, desk

    def over(self, inner: httpx2.AsyncClient) -> PersonalHttpAsync:
        """Return the same over another HTTP client."""
        return PersonalHttpAsync(inner, self.desk)

    def for_user(self, user_id: str) -> PersonalHttpAsync:
        """Return the same for one person."""
        return PersonalHttpAsync(self.inner, self.desk.for_user(user_id))

    def build_request(self, *args: Any, **options: Any) -> httpx2.Request:
        """Build a request as the other one does."""
        return self.inner.build_request(*args, **options)

    async def aclose(self) -> None:
        """Close the other one."""
        await self.inner.aclose()

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send a request, tailored if it is a chat of somebody; see `PersonalHttp.send`."""

        async def forward(sent: httpx2.Request) -> httpx2.Response:
            return await self.inner.send(sent, stream=stream, **options)

        exchange = await asyncio.to_thread(self.desk.begin, *_read(request)) if _is_chat(request) else None
        if exchange is None:
            return await forward(_bare(request))
        body = exchange.body
        if exchange.n > 1 and not stream:
            return await self._best(exchange, forward, request, body)
        response = await forward(_bare(request, body))
        if response.is_success and stream and not response.is_stream_consumed:
            heard = response.stream
            assert isinstance(heard, httpx2.AsyncByteStream)  # noqa: S101 - as the library itself takes for granted
            response.stream = HeardAsync(heard, Hearing(self.desk, exchange, response))
        elif response.is_success:
            await asyncio.to_thread(self.desk.tell, exchange, _said(exchange, response))
        return response

    async def _best(
        self, exchange: Exchange, forward: SendAsync, request: httpx2.Request, body: bytes
    ) -> httpx2.Response:
        """Ask several times at once. Failed answers are left out."""
        asked = (forward(_bare(request, body)) for _ in range(exchange.n))
        results = await asyncio.gather(*asked, return_exceptions=True)
        responses = [r for r in results if isinstance(r, httpx2.Response)]
        if not responses:
            raise next(r for r in results if isinstance(r, BaseException))
        response, answers, usable = _usable(exchange, responses)
        if len(usable) > 1:
            response = usable[await asyncio.to_thread(self.desk.choose, exchange, answers)]
        if response.is_success:
            await asyncio.to_thread(self.desk.tell, exchange, _said(exchange, response))
        return response


def _is_chat(request: httpx2.Request) -> bool:
    """Whether a request may hold a conversation that can be changed."""
    whole = isinstance(request.stream, httpx2.ByteStream)  # no file that is read while it is sent
    return wire_of(request.url.path) is not None and whole and _SIGNED not in request.headers


def _read(request: httpx2.Request) -> tuple[str, bytes, str | None]:
    return request.url.path, request.content, request.headers.get(HEADER)


def _bare(request: httpx2.Request, body: bytes | None = None) -> httpx2.Request:
    """Return a request without the name of the person, and with another body; itself, where there is neither.

    The request that was given stays as it is: a client that is refused may send it again.
    """
    changed = body is not None and body is not request.content
    if HEADER not in request.headers and not changed:
        return request
    headers = request.headers.copy()
    headers.pop(HEADER, None)
    if body is not None and changed:
        headers["Content-Length"] = str(len(body))
    stream = httpx2.ByteStream(body) if body is not None and changed else request.stream
    sent = httpx2.Request(request.method, request.url, headers=headers, stream=stream, extensions=request.extensions)
    if isinstance(stream, httpx2.ByteStream):
        sent.read()  # so that it is as one that was built with its content
    return sent


def _said(exchange: Exchange, response: httpx2.Response) -> Answer | None:
    """Return the answer in a response that came at once, None if there is none."""
    answer = exchange.read(response.content, streaming=streams(response))
    return answer if answer.complete else None


def _usable(
    exchange: Exchange, responses: Sequence[httpx2.Response]
) -> tuple[httpx2.Response, list[Answer], list[httpx2.Response]]:
    """Return the response to give if there is no choice, and the answers there is a choice among with theirs.

    Choosing is between texts: something else that came first is taken as if it had been the only one asked for.
    """
    good = [r for r in responses if r.is_success]
    if not good:
        return responses[0], [], []
    said = [(_said(exchange, r) or Answer(), r) for r in good]
    texts = [(answer, r) for answer, r in said if answer.text]
    if not said[0][0].text:
        texts = texts[:0]
    return good[0], [answer for answer, _ in texts], [r for _, r in texts]
