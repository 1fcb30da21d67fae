"""`--model`: from what is typed to a LangChain chat model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from persona_integrations.cli.terminal import one_line
from persona_sdk.errors import InputError, MissingExtraError, ModelError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["HELP", "answer_error", "chat_model", "text_of"]

HELP = (
    "The model that answers: provider:name, such as openai:gpt-4.1-mini, or the URL of a server that speaks OpenAI's "
    "protocol, such as http://localhost:8080/v1, with #name where it has several."
)
_EXTRA = "pip install 'persona-sdk[openai]'"


def chat_model(given: str) -> BaseChatModel:
    """Return the chat model that `given` names.

    Raises:
        MissingExtraError: the package for it is not installed; the message names the extra.
        ModelError: there is no key, or the server does not answer.
        InputError: nobody can tell what is meant.
    """
    if given.startswith(("http://", "https://")):
        return _served(given)
    provider, colon, name = given.partition(":")
    if not colon or not provider or not name:
        raise InputError(f"--model {given!r}: write provider:name, or a URL that begins with http", field="--model")
    return _openai(name) if provider == "openai" else _named(given, provider)


def _served(given: str) -> BaseChatModel:
    url, _, name = given.partition("#")
    key = os.environ.get("OPENAI_API_KEY") or "not-needed"
    try:
        from langchain_openai import ChatOpenAI  # noqa: PLC0415 - an optional install
    except ImportError:
        raise MissingExtraError(f"--model with a URL needs the extra `openai`: {_EXTRA}", plugin="cli") from None
    return ChatOpenAI(base_url=url, model=name or _first_listed(url, key), api_key=lambda: key)


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


def _openai(name: str) -> BaseChatModel:
    try:
        from langchain_openai import ChatOpenAI  # noqa: PLC0415 - an optional install
    except ImportError:
        raise MissingExtraError(f"--model openai:… needs the extra `openai`: {_EXTRA}", plugin="cli") from None
    if not os.environ.get("OPENAI_API_KEY"):
        raise ModelError("--model openai:… needs a key: set OPENAI_API_KEY")
    return ChatOpenAI(model=name)


def _named(given: str, provider: str) -> BaseChatModel:
    package = f"pip install langchain langchain-{provider}"
    try:
        from langchain.chat_models import init_chat_model  # noqa: PLC0415 - an optional install

        model: BaseChatModel = init_chat_model(given)
    except ImportError:
        raise MissingExtraError(
            f"--model {given!r} needs LangChain and its provider: {package}", plugin="cli"
        ) from None
    except Exception as error:
        raise answer_error(error) from error
    return model


def answer_error(error: Exception) -> ModelError:
    """Return what to say when a model failed; `error` can be of any kind, there are as many as providers."""
    said = " ".join(str(error).split())
    return ModelError(f"the model failed ({type(error).__name__}): {one_line(said, 200)}")


def text_of(answer: Any) -> str:
    """Return the text of what a chat model answered."""
    content = getattr(answer, "content", answer)
    if isinstance(content, str):
        return content
    parts = (p.get("text", "") if isinstance(p, dict) else str(p) for p in content or ())
    return "".join(parts)
