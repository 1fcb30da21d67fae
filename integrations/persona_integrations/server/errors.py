"""What goes wrong, as OpenAI's clients expect to be told: a status, and a body of the shape `{"error": {…}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from persona_sdk.errors import InputError, NotFoundError, PersonaError, StorageBusyError, StorageError

__all__ = ["FAILURES", "BodyLimit", "GatewayError", "error_response", "handle_errors"]


class Told(BaseModel):
    """What went wrong; `param` is the field it is about."""

    message: str
    type: str
    param: str | None
    code: str | None


class Failure(BaseModel):
    """An error, as OpenAI's clients read it."""

    error: Told


_FAILED: dict[int | str, str] = {
    401: "A key of the gateway is needed.",
    403: "The key lacks the scope for this.",
    404: "There is no such thing, or it is another tenant's.",
    422: "The request cannot be used; nothing was changed.",
    503: "Memory cannot be used now.",
    "default": "The request failed.",
}
#: How routes of the gateway's own describe what can go wrong in them.
FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": description} for status, description in _FAILED.items()
}


class GatewayError(Exception):
    """An answer the gateway gives itself: an HTTP status, and what to tell the client."""

    def __init__(self, status: int, message: str, *, kind: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})
        self.kind = kind or ("invalid_request_error" if status < 500 else "gateway_error")


class BodyLimit:
    """Refuses a request once its body is longer than `most` bytes."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and as much of its body as may be."""
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._most:
                raise HTTPException(413, f"the request is longer than {self._most:,} bytes")
            return message

        await self._app(scope, limited if scope["type"] == "http" else receive, send)


def error_response(error: GatewayError, param: str | None = None) -> JSONResponse:
    """Return the response that tells a client."""
    body = {"error": {"message": error.message, "type": error.kind, "param": param, "code": None}}
    return JSONResponse(body, error.status, error.headers)


def handle_errors(app: FastAPI) -> None:
    """Have an app answer errors in this shape."""
    app.add_exception_handler(GatewayError, _gateway)
    app.add_exception_handler(PersonaError, _persona)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _left)


async def _gateway(request: Request, error: Any) -> JSONResponse:
    return error_response(error)


async def _persona(request: Request, error: Any) -> JSONResponse:
    param = error.field if isinstance(error, InputError) else None
    return error_response(_as_gateway(error), param)


def _as_gateway(error: PersonaError) -> GatewayError:
    match error:
        case InputError():
            return GatewayError(422, str(error))
        case NotFoundError():
            return GatewayError(404, str(error), kind="not_found_error")
        case StorageBusyError():
            return GatewayError(503, "memory is busy; try again", headers={"retry-after": "1"})
        case StorageError():
            return GatewayError(503, "memory cannot be used now", headers={"retry-after": "5"})
    return GatewayError(500, f"the request failed ({type(error).__name__}); the gateway's log says more")


async def _invalid(request: Request, error: Any) -> JSONResponse:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return error_response(GatewayError(422, f"{where}: {first['msg'].removeprefix('Value error, ')}"), where)


async def _http(request: Request, error: Any) -> JSONResponse:
    kind = "not_found_error" if error.status_code == 404 else ""
    return error_response(GatewayError(error.status_code, str(error.detail), kind=kind, headers=error.headers))


async def _left(request: Request, error: Any) -> JSONResponse:
    return error_response(GatewayError(400, "the request broke off"))  # for the log: nobody is there to read it
