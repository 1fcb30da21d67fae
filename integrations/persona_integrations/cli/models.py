"""`--model`: from what is typed to a chat model."""

from __future__ import annotations

from typing import Any

from persona_integrations.cli.terminal import one_line
from persona_sdk.errors import MissingExtraError, ModelError, PersonaError, SettingsError

__all__ = ["HELP", "answer_error", "chat_model", "local_if_installed", "text_of"]

HELP = (
    "The model that answers: local, a small one on this machine, or local:FILE.gguf; provider:name, such as "
    "openai:gpt-4.1-mini; or the URL of a server that speaks OpenAI's protocol, such as http://localhost:8080/v1, with "
    "#name where it has several."
)


def chat_model(given: str) -> Any:
    """Return the chat model that `given` names.

    Raises:
        MissingExtraError: the package for it is not installed; the message says how to install it.
        ModelError: there is no key, or the server does not answer.
        InputError: nobody can tell what is meant.
    """
    from persona_sdk.hooks import PluginHost  # noqa: PLC0415 - `persona --help` does without it
    from persona_sdk.settings import Settings  # noqa: PLC0415 - `persona --help` does without it

    try:
        return PluginHost(Settings.load()).registry.chat_model(given)
    except PersonaError:
        raise
    except Exception as error:  # of kinds that only the provider's package knows
        raise answer_error(error) from error


def local_if_installed() -> tuple[Any, str]:
    """Return the model on this machine, or None and how to install it."""
    try:
        return chat_model("local"), ""
    except (MissingExtraError, SettingsError) as error:
        return None, str(error)


def answer_error(error: Exception) -> ModelError:
    """Return what to say when a model failed; `error` can be of any kind, there are as many as providers."""
    if isinstance(error, ModelError):
        return error
    said = " ".join(str(error).split())
    return ModelError(f"the model failed ({type(error).__name__}): {one_line(said, 200)}")


def text_of(answer: Any) -> str:
    """Return the text of what a chat model answered."""
    content = getattr(answer, "content", answer)
    if isinstance(content, str):
        return content
    parts = (p.get("text", "") if isinstance(p, dict) else str(p) for p in content or ())
    return "".join(parts)
