"""Transports of an HTTP client that fail as the test says, and otherwise send."""

import ssl
from collections import deque

import httpx2

__all__ = ["Sometimes", "completion"]


class Sometimes(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Answers with these in turn, and then with what the server says.

    An answer is a response, a status, an exception to raise, or None for what the server says.
    """

    def __init__(self, *answers):
        self.answers, self.requests = deque(answers), []
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without certificates, which take long to read
        self._sync, self._async = httpx2.HTTPTransport(verify=tls), httpx2.AsyncHTTPTransport(verify=tls)

    def _next(self, request):
        self.requests.append(request)
        answer = self.answers.popleft() if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer) if isinstance(answer, int) else answer

    def handle_request(self, request):
        return self._next(request) or self._sync.handle_request(request)

    async def handle_async_request(self, request):
        return self._next(request) or await self._async.handle_async_request(request)

    def close(self):
        self._sync.close()

    async def aclose(self):
        await self._async.aclose()


def completion(text, **more):
    """A whole chat completion as a response."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return httpx2.Response(200, json=body | more)
