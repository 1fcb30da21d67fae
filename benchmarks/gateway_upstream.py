"""The server behind, for `bench_gateway.py`: it answers at once, so that what is measured is what stands before it.

Events of a stream come a few milliseconds apart, sooner than a model's tokens do, but not all at once.

Run as `python gateway_upstream.py PORT`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

PIECES = 20
PACE = 0.004
MODEL = "bench"


def _event(number: int, delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    event = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    return b"data: " + json.dumps({**event, "choices": [choice]}).encode() + b"\n\n"


def _whole(number: int) -> bytes:
    message = {"role": "assistant", "content": " ".join(["word"] * PIECES)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 50, "completion_tokens": PIECES, "total_tokens": 50 + PIECES}
    body = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1, "model": MODEL}
    return json.dumps({**body, "choices": [choice], "usage": usage}).encode()


class Upstream:
    """An ASGI application of the barest kind."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.asked += 1
        if b'"stream": true' in body or b'"stream":true' in body:
            await _send(send, b"text/event-stream", [*self._events(), b"data: [DONE]\n\n"], PACE)
        else:
            await _send(send, b"application/json", [_whole(self.asked)])

    def _events(self) -> list[bytes]:
        said = [_event(self.asked, {"content": "word "}) for _ in range(PIECES)]
        return [_event(self.asked, {"role": "assistant"}), *said, _event(self.asked, {}, "stop")]


async def _send(send: Any, kind: bytes, parts: list[bytes], pace: float = 0.0) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
        if pace:
            await asyncio.sleep(pace)
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(Upstream(), port=int(sys.argv[1]), log_level="error")
