"""Keeps web pages out of a gateway that wants no keys: a browser on this machine can reach it, too."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from persona_integrations.server.errors import GatewayError, error_response
from persona_integrations.server.serving import is_loopback

__all__ = ["LocalOnly"]


class LocalOnly:
    """Refuses requests under another machine's name (DNS rebinding), and from pages of another origin."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 403."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        origin, host = headers.get(b"origin"), headers.get(b"host", "")
        if _is_here(f"//{host}") and (origin is None or _is_here(origin)):
            await self._app(scope, receive, send)
            return
        message = "without keys, this gateway is for programs on this machine, not for web pages or other names of it"
        await error_response(GatewayError(403, message, kind="permission_error"))(scope, receive, send)


def _is_here(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False
