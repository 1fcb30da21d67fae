"""A gateway before any OpenAI-compatible server, which personalises apps without touching their code.

`create_app(GatewaySettings(upstream=…))` is an ASGI application; `persona serve` runs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from persona_sdk.errors import MissingExtraError

if TYPE_CHECKING:
    from persona_integrations.server.app import create_app
    from persona_integrations.server.keys import Key, KeyStore, Scope
    from persona_integrations.server.settings import GatewaySettings

__all__ = ["GatewaySettings", "Key", "KeyStore", "Scope", "create_app"]

_HOME = {"GatewaySettings": "settings", "Key": "keys", "KeyStore": "keys", "Scope": "keys", "create_app": "app"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - needed here only

    try:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("persona_"):
            raise
        raise MissingExtraError(
            f"the gateway needs {error.name}: pip install 'persona-sdk[server]'", plugin="server"
        ) from None
