"""Listening to an answer on its way to the caller, who gets every byte as it came and when it came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import httpx2

from persona_integrations.openai.desk import Desk, Exchange
from persona_sdk.pipeline import contained
from persona_sdk.wire import Answer

__all__ = ["Heard", "HeardAsync", "Hearing", "streams"]

#: Longer bodies (in bytes, as they are sent) that are compressed are passed on, but not read.
_LONGEST = 8 * 2**20


def streams(response: httpx2.Response) -> bool:
    """Whether a response is a stream of events."""
    return str(response.headers.get("Content-Type", "")).lower().startswith("text/event-stream")


class Hearing:
    """Learns an answer from the bytes of its body, and tells the engine once.

    That is when it is complete, before its last piece goes out: nobody has to ask for one more. Of one that the caller
    stops listening to, what was said so far is the answer; one that broke is none.
    """

    def __init__(self, desk: Desk, exchange: Exchange, response: httpx2.Response) -> None:
        self._desk, self._exchange = desk, exchange
        self._reader = exchange.wire.reader(streaming=streams(response))
        self._coding = response.headers.get("Content-Encoding", "identity")
        self._coded: list[bytes] | None = [] if self._coding != "identity" else None
        self._size, self._told = 0, False
        self.broken = False

    def take(self, piece: bytes) -> bool:
        """Take in the next bytes; true when the answer is complete with them, and was not told yet."""
        self._size += len(piece)
        if self._coded is None:
            self._reader.feed(piece)
        elif self._size <= _LONGEST:
            self._coded.append(piece)
        return self._reader.answer.complete and not self._told

    def tell(self) -> None:
        """Tell what was heard, once."""
        if self._told:
            return
        self._told = True
        answer, _ = contained(self._answer)
        self._desk.tell(self._exchange, answer)

    def _answer(self) -> Answer | None:
        if self._coded is not None and self._size <= _LONGEST:
            # The library's own decoder, bit by bit: little can become very much.
            coded = httpx2.Response(200, headers={"Content-Encoding": self._coding}, content=iter(self._coded))
            for piece in coded.iter_bytes():
                self._reader.feed(piece)
        answer = self._reader.finish()
        stopped = answer.text and not self.broken and not answer.failed
        return answer if answer.complete or stopped else None


class Heard(httpx2.SyncByteStream):
    """The bytes of a response, while they are listened to."""

    def __init__(self, stream: httpx2.SyncByteStream, hearing: Hearing) -> None:
        self._stream, self._hearing = stream, hearing

    @property
    def elapsed(self) -> Any:
        """How long the response took, which its own stream knows."""
        return getattr(self._stream, "elapsed", None)

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._stream:
                if self._hearing.take(piece):
                    self._hearing.tell()
                yield piece
        except Exception:
            self._hearing.broken = True
            raise

    def close(self) -> None:
        """Close the stream, and tell what was heard."""
        try:
            self._stream.close()
        finally:
            self._hearing.tell()


class HeardAsync(httpx2.AsyncByteStream):
    """The bytes of a response, while they are listened to."""

    def __init__(self, stream: httpx2.AsyncByteStream, hearing: Hearing) -> None:
        self._stream, self._hearing = stream, hearing

    @property
    def elapsed(self) -> Any:
        """How long the response took, which its own stream knows."""
        return getattr(self._stream, "elapsed", None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = self._stream.__aiter__()
        try:
            async for piece in pieces:
                if self._hearing.take(piece):
                    await self._tell()
                yield piece
        except Exception:
            self._hearing.broken = True
            raise
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()

    async def aclose(self) -> None:
        """Close the stream, and tell what was heard."""
        try:
            await self._stream.aclose()
        finally:
            await self._tell()

    async def _tell(self) -> None:
        """Tell from a thread, to its end even if the caller is cancelled meanwhile."""
        await asyncio.shield(asyncio.to_thread(self._hearing.tell))
