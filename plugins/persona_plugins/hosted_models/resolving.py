"""From a specification to LangChain's chat model for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from persona_sdk.errors import InputError, MissingExtraError, ModelError, SettingsError

if TYPE_CHECKING:
    from persona_sdk.language import ChatModel

__all__ = ["named", "openai", "served"]

_EXTRA = "pip install 'persona-sdk[openai]'"


def openai(name: str) -> ChatModel:
    """Return OpenAI's model of this name.

    Raises:
        InputError: there is no name.
        MissingExtraError: the extra `openai` is not installed.
        ModelError: there is no key.
    """
    if not name:
        raise _unreadable("openai:")
    try:
        from langchain_openai import ChatOpenAI  # noqa: PLC0415 - an optional install
    except ImportError:
        raise MissingExtraError(f"openai:… needs the extra `openai`: {_EXTRA}", plugin="hosted_models") from None
    if not os.environ.get("OPENAI_API_KEY"):
        raise ModelError("openai:… needs a key: set OPENAI_API_KEY")
    return cast("ChatModel", ChatOpenAI(model=name, max_retries=0))  # who asks much retries, and counts it


def served(url: str) -> ChatModel:
    """Return the model at a URL that speaks OpenAI's protocol; what stands behind "#" is its name there.

    Raises:
        MissingExtraError: the extra `openai` is not installed.
        ModelError: no server answers.
    """
    url, _, name = url.partition("#")
    key = os.environ.get("OPENAI_API_KEY") or "not-needed"
    try:
        from langchain_openai import ChatOpenAI  # noqa: PLC0415 - an optional install
    except ImportError:
        raise MissingExtraError(f"a URL needs the extra `openai`: {_EXTRA}", plugin="hosted_models") from None
    model = ChatOpenAI(base_url=url, model=name or _first_listed(url, key), api_key=lambda: key, max_retries=0)
    return cast("ChatModel", model)


def _first_listed(url: str, key: str) -> str:
    """Return the first model a server offers: some serve one only, but all want to be told its name."""
    from openai import APIConnectionError, OpenAI, OpenAIError  # noqa: PLC0415 - an optional install

    try:
        listed = [model.id for model in OpenAI(base_url=url, api_key=key, timeout=10, max_retries=0).models.list()]
    except APIConnectionError:
        raise ModelError(f"{url}: no server answers there; start it, or check the URL") from None
    except OpenAIError:
        return "default"  # a server without such a list may still answer
    return listed[0] if listed else "default"


def named(spec: str) -> ChatModel:
    """Return the model that LangChain knows as "provider:name".

    Raises:
        InputError: this is no "provider:name".
        MissingExtraError: LangChain, or its package for the provider, is not installed.
        SettingsError: LangChain does not know the provider, or its package has no key.

    Whatever else the provider's package raises goes through.
    """
    provider, _, name = spec.partition(":")
    if not provider or not name:
        raise _unreadable(spec)
    package = f"pip install langchain langchain-{provider}"
    try:
        from langchain.chat_models import init_chat_model  # noqa: PLC0415 - an optional install

        return cast("ChatModel", init_chat_model(spec))
    except ImportError:
        message = f"{spec!r} needs LangChain and its provider: {package}"
        raise MissingExtraError(message, plugin="hosted_models") from None
    except ValueError as error:  # a provider it does not know, or a package that misses its key; it may quote either
        raise SettingsError(
            f"model {spec!r}: LangChain cannot make it ({type(error).__name__}): check the provider's name and its key"
        ) from None


def _unreadable(spec: str) -> InputError:
    return InputError(f"model {spec!r}: write local, provider:name, or a URL that begins with http", field="model")
