"""The part of OpenAI's API that the gateway stands before."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote, unquote_to_bytes

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from persona_integrations.server.access import Chat
from persona_integrations.server.errors import GatewayError
from persona_integrations.server.gateway import Gateway, gateway_of
from persona_integrations.server.personal import Exchange
from persona_integrations.server.relay import Relay
from persona_sdk.wire import wire_of

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["openai"])
_Gateway = Annotated[Gateway, Depends(gateway_of)]
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "What the server behind answered."},
    "default": {"description": "An error of the server behind, as it came, or of the gateway, in the same shape."},
}


def _body(required: str, **properties: Any) -> dict[str, Any]:
    """Describe a body that the server behind is to judge, not the gateway."""
    named = {"model": {"type": "string"}, "user": {"type": "string"}, "safety_identifier": {"type": "string"}}
    schema = {"type": "object", "properties": {**named, **properties}, "required": [required]}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_MESSAGES = {"type": "array", "items": {"type": "object"}}
_INPUT: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {}}]}
_STREAM = {"type": "boolean"}


@router.post(
    "/chat/completions",
    responses=_ANSWERS,
    response_class=Response,
    openapi_extra=_body("messages", messages=_MESSAGES, stream=_STREAM),
)
async def chat_completions(request: Request, gateway: _Gateway, tenant: Chat) -> Response:
    """Answer a conversation, tailored to the person it names."""
    return await _relayed(request, gateway, tenant, "/chat/completions")


@router.post(
    "/responses",
    responses=_ANSWERS,
    response_class=Response,
    openapi_extra=_body("input", input=_INPUT, instructions={"type": "string"}, stream=_STREAM),
)
async def responses(request: Request, gateway: _Gateway, tenant: Chat) -> Response:
    """Answer a conversation, tailored to the person it names.

    With keys, `previous_response_id` has to be of the same tenant, and `conversation` cannot be used.
    """
    return await _relayed(request, gateway, tenant, "/responses")


@router.post("/embeddings", responses=_ANSWERS, response_class=Response, openapi_extra=_body("input", input=_INPUT))
async def embeddings(request: Request, gateway: _Gateway, tenant: Chat) -> Response:
    """Embed texts; passes through as it is."""
    return await _relayed(request, gateway, tenant, "/embeddings")


@router.get("/models", responses=_ANSWERS, response_class=Response)
async def models(request: Request, gateway: _Gateway, tenant: Chat) -> Response:
    """List the models of the server behind."""
    return await _relayed(request, gateway, tenant, "/models")


@router.get("/models/{model:path}", responses=_ANSWERS, response_class=Response)
async def model(model: str, request: Request, gateway: _Gateway, tenant: Chat) -> Response:
    """Describe one model of the server behind."""
    return await _relayed(request, gateway, tenant, "/models/{model}")


async def _relayed(request: Request, gateway: Gateway, tenant: str, route: str) -> Response:
    scope = request.scope
    body = await request.body()
    if wire_of(route) is None:
        exchange = Exchange(body)
    else:
        if route == "/responses" and gateway.settings.auth != "none":
            await _check_owner(gateway, tenant, body)
        exchange = await gateway.personal.begin(tenant, route, request.headers, body)
    sent = gateway.upstream.request(
        request.method, _path(request, route), scope["query_string"], scope["headers"], exchange.body
    )
    return Relay(gateway.call, exchange, sent, tenant=tenant, path=route, base=gateway.settings.upstream)


def _path(request: Request, route: str) -> bytes:
    """Return what to ask the server behind for, which must not be anything else than what was asked of the gateway.

    Raises:
        GatewayError: 404, the path is written in a way that servers read differently.
    """
    if "{" not in route:
        return route.encode()
    first = f"{request.scope.get('root_path', '')}/v1/models/".encode()
    raw: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    whole = raw.partition(b"?")[0]
    parts = re.split(rb"[/\\]", unquote_to_bytes(whole.removeprefix(first)))
    if not whole.startswith(first) or any(part.partition(b";")[0] in (b"", b".", b"..") for part in parts):
        raise GatewayError(404, "there is no such model", kind="not_found_error")
    return b"/models/" + whole.removeprefix(first)


async def _check_owner(gateway: Gateway, tenant: str, body: bytes) -> None:
    """Refuse what would go on with another tenant's conversation: the server behind knows one account only.

    Raises:
        GatewayError: 404, as if there were no such response; 400, if the body can be read in several ways.
    """
    read = partial(_named, body, "previous_response_id", "conversation")
    named = await asyncio.get_running_loop().run_in_executor(gateway.lookups, read)  # a long body takes a while
    if named is None:
        raise GatewayError(400, "the body is no JSON object, or says twice what it goes on from")
    if named.get("conversation") is not None:
        raise GatewayError(400, "conversation: cannot be used through this gateway; send the messages themselves")
    previous = named.get("previous_response_id")
    if previous is not None and not await gateway.ownership.has(tenant, str(previous)):
        raise GatewayError(404, "previous_response_id: there is no such response", kind="not_found_error")


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all that it says, twice or not."""


def _named(body: bytes, *names: str) -> dict[str, Any] | None:
    """Return fields of a JSON object; None if it is none, or has one of them twice: who reads it takes either.

    Some servers do not tell "A" from "a".
    """
    try:
        read = json.loads(body, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, _Pairs):
        return None
    found = [(name.casefold(), value) for name, value in read if name.casefold() in names]
    return dict(found) if len(dict(found)) == len(found) else None
