"""The gateway as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response

from persona_integrations.server import routes_feedback, routes_openai, routes_personas
from persona_integrations.server.errors import BodyLimit, handle_errors
from persona_integrations.server.gateway import Gateway
from persona_integrations.server.settings import GatewaySettings
from persona_sdk import __version__
from persona_sdk.engine import Personalizer
from persona_sdk.pipeline import Guard

__all__ = ["create_app"]

_ABOUT = """
Stands before a server that speaks OpenAI's protocol, and answers each person in their way. Requests that name nobody
pass through as they are, and so does every answer.
"""

#: FastAPI's own traces and logs hold paths, which name people, and what exceptions say.
_UNTRACED: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)


def create_app(settings: GatewaySettings, personalizer: Personalizer | None = None) -> FastAPI:
    """Return a gateway as an ASGI application.

    `personalizer` is one made with `calls="memory"`, which the caller closes; without it, one is made from `PERSONA_*`
    environment variables. With `learning="manual"` the gateway sees to learning, with "background" the personalizer.

    Raises:
        SettingsError: a setting of the personalizer is impossible.
    """
    own = personalizer is None
    made = personalizer or Personalizer(calls="memory", learning="manual")
    gateway = Gateway(settings, made, own)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await gateway.start()
        try:
            yield
        finally:
            await gateway.close()

    app = FastAPI(
        title="persona gateway",
        version=__version__,
        description=_ABOUT,
        lifespan=lifespan,
        redirect_slashes=False,
        telemetry=_UNTRACED,
    )
    app.state.gateway = gateway
    handle_errors(app)
    app.add_middleware(BodyLimit, most=settings.max_body)
    app.include_router(routes_openai.router)
    app.include_router(routes_feedback.router)
    app.include_router(routes_personas.router)
    _add_operations(app, gateway)
    return app


def _add_operations(app: FastAPI, gateway: Gateway) -> None:
    """Add what those who run the gateway look at; it needs no key, and tells of nobody."""
    memory = Guard("memory")  # who looks often must not pile up threads while memory hangs

    @app.get("/healthz", tags=["operations"])
    async def healthz() -> dict[str, str]:
        """Tell whether the gateway answers, and whether memory does: without memory, chats go on untailored."""
        seconds = gateway.settings.personal_timeout
        _, failure = await asyncio.to_thread(memory.attempt, seconds, gateway.personalizer.pending)
        return {"status": "ok", "memory": "failing" if failure else "ok"}

    page: dict[int | str, Any] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

    @app.get("/metrics", tags=["operations"], response_class=Response, responses=page)
    async def metrics() -> Response:
        """Return counters in Prometheus' format."""
        return Response(gateway.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")
