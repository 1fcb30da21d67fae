"""persona-sdk in LangChain 1.x apps: a chat model, a middleware for agents, a retriever and a chat history.

`PersonaMiddleware` needs the extra `langchain`; the others need langchain-core, which the SDK brings. Names are
imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persona_integrations.langchain.history import PersonaChatMessageHistory
    from persona_integrations.langchain.middleware import PersonaMiddleware
    from persona_integrations.langchain.retriever import PersonaRetriever
    from persona_sdk.chat import CALL_ID, PersonalizedChat

__all__ = ["CALL_ID", "PersonaChatMessageHistory", "PersonaMiddleware", "PersonaRetriever", "PersonalizedChat"]

_MODULE_OF = {
    "CALL_ID": "persona_sdk.chat",
    "PersonaChatMessageHistory": f"{__name__}.history",
    "PersonaMiddleware": f"{__name__}.middleware",
    "PersonaRetriever": f"{__name__}.retriever",
    "PersonalizedChat": "persona_sdk.chat",
}


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives, once.

    Raises:
        MissingExtraError: it needs LangChain itself, which is not installed.
    """
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
