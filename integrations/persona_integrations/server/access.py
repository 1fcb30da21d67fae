"""Who may do what: the key of a request, its tenant and its scopes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import Response

from persona_integrations.server.errors import GatewayError
from persona_integrations.server.gateway import Gateway, gateway_of
from persona_integrations.server.keys import Key, Scope

__all__ = ["Admin", "Chat", "Feedback", "KeyFirst"]

_bearer = HTTPBearer(auto_error=False, description="A key of the gateway (`persona keys create`).")


async def _key_of(request: Request, gateway: Gateway) -> Key:
    """Return the key of a request.

    Raises:
        GatewayError: 401, there is none that holds.
        StorageError: keys cannot be looked up.
    """
    credentials = await _bearer(request)
    text = credentials.credentials if credentials else request.headers.get("api-key", "")
    key = gateway.keys.known(text)
    if key is None:
        key = await asyncio.get_running_loop().run_in_executor(gateway.lookups, gateway.keys.find, text)
    if key is None:
        wanted = {"www-authenticate": "Bearer"}
        message = "a key of this gateway is needed, as a bearer token; this one is missing, unknown or revoked"
        raise GatewayError(401, message, kind="authentication_error", headers=wanted)
    return key


class KeyFirst(APIRoute):
    """A route that looks at the key before it reads a body: who has none must not make the gateway read megabytes."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:  # noqa: D102 - as in APIRoute
        handler = super().get_route_handler()

        async def keyed(request: Request) -> Response:
            gateway = await gateway_of(request)
            if gateway.settings.auth == "keys":
                await _key_of(request, gateway)
            return await handler(request)

        return keyed


def _allows(scope: Scope) -> Callable[..., Awaitable[str]]:
    async def tenant_of(
        request: Request,
        gateway: Annotated[Gateway, Depends(gateway_of)],
        _described: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> str:
        if gateway.settings.auth == "none":
            return gateway.personalizer.tenant
        key = await _key_of(request, gateway)
        if scope not in key.scopes:
            raise GatewayError(403, f"this key may not do that: it lacks the scope {scope!r}", kind="permission_error")
        return key.tenant

    return tenant_of


#: The tenant of a key that may ask for answers, say how they were, or read and change personas.
Chat = Annotated[str, Depends(_allows("chat"))]
Feedback = Annotated[str, Depends(_allows("feedback"))]
Admin = Annotated[str, Depends(_allows("admin"))]
