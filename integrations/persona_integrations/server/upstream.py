"""The server behind the gateway: what is sent to it, and what goes wrong there."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import httpx2

from persona_integrations.server.errors import GatewayError
from persona_integrations.server.settings import GatewaySettings

__all__ = ["Upstream", "response_headers"]

#: Headers about one connection (RFC 9110, section 7.6.1), and those that are set anew.
_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding"
    b" upgrade http2-settings host content-length accept-encoding expect".split()
)
#: What is between the caller and the gateway.
_OURS = frozenset(
    b"cookie x-persona x-persona-user forwarded x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto"
    b" x-real-ip true-client-ip cf-connecting-ip".split()
)
_SECRETS = frozenset(b"authorization api-key x-api-key".split())
#: What the server behind says of itself: that it can be reached otherwise, say, which the gateway cannot.
_NOT_BACK = _HOP - {b"content-length"} | frozenset(b"set-cookie date server alt-svc strict-transport-security".split())

Headers = list[tuple[bytes, bytes]]


class Upstream:
    """Sends requests over a pool of connections. It keeps no cookies, and follows no redirects."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._url, self._base = httpx2.URL(settings.upstream), urlsplit(settings.upstream).path.encode()
        self._key = settings.upstream_key.get_secret_value() if settings.upstream_key else None
        limits = httpx2.Limits(max_connections=settings.max_connections, max_keepalive_connections=100)
        # Not a client: that keeps cookies, and one caller's would go out with the next one's request.
        self._transport = httpx2.AsyncHTTPTransport(limits=limits, retries=1)  # of connecting, nothing was sent yet
        timeout = httpx2.Timeout(settings.read_timeout, connect=settings.connect_timeout, pool=settings.connect_timeout)
        self._extensions = {"timeout": timeout.as_dict()}

    def request(
        self, method: str, path: bytes, query: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> httpx2.Request:
        """Return the request to send for one that came; `path` is what follows "/v1", as it came."""
        target = self._base + path + (b"?" + query if query else b"")
        extensions = {**self._extensions, "target": target}  # a URL would be written in the library's own way
        return httpx2.Request(method, self._url, headers=self._headers(headers), content=body, extensions=extensions)

    def _headers(self, given: Iterable[tuple[bytes, bytes]]) -> Headers:
        given = list(given)
        dropped = _HOP | _OURS | _named(given) | {self._settings.user_header.lower().encode()}
        if self._key is not None or self._settings.auth == "keys":
            dropped |= _SECRETS
        # Not compressed: what streams is to be read on its way, and passed on byte for byte.
        headers = [*((k, v.strip(b" \t")) for k, v in given if k not in dropped), (b"accept-encoding", b"identity")]
        if self._key is not None:
            headers.append((b"authorization", b"Bearer " + self._key.encode()))
        return headers

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        """Return the response, its body unread.

        Raises:
            GatewayError: 502 if the server cannot be reached or breaks off, 504 if it takes too long, 503 if all
                connections to it are in use; 400 if the request has a header that cannot be sent.
        """
        try:
            return await self._transport.handle_async_request(request)
        except httpx2.PoolTimeout:
            raise GatewayError(503, "all connections to the model are in use", headers={"retry-after": "1"}) from None
        except httpx2.TimeoutException as error:
            raise GatewayError(504, f"the model did not answer in time ({type(error).__name__})") from None
        except (httpx2.ConnectError, httpx2.UnsupportedProtocol) as error:
            raise GatewayError(502, f"the model cannot be reached ({type(error).__name__})") from None
        except httpx2.LocalProtocolError:
            raise GatewayError(400, "the request has a header that cannot be passed on") from None
        except httpx2.TransportError as error:
            raise GatewayError(502, f"the model broke off ({type(error).__name__})") from None

    async def read(self, response: httpx2.Response) -> bytes:
        """Return a response's whole body as it came, and release its connection; raises as `send` does."""
        try:
            return b"".join([chunk async for chunk in response.aiter_raw()])
        except httpx2.TimeoutException:
            raise GatewayError(504, "the model broke off, and did not go on in time") from None
        except httpx2.TransportError as error:
            raise GatewayError(502, f"the model broke off ({type(error).__name__})") from None
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


def response_headers(response: httpx2.Response, extra: Headers) -> Headers:
    """Return the headers to answer with: the response's own, but for those of its connection and its account."""
    given = [(k.lower(), v) for k, v in response.headers.raw]
    dropped = _NOT_BACK | _named(given)
    return [*((k, v) for k, v in given if k not in dropped), *extra]


def _named(headers: Headers) -> set[bytes]:
    """Return the headers that are about this connection only, as `connection` says."""
    return {name.strip().lower() for key, value in headers if key == b"connection" for name in value.split(b",")}
