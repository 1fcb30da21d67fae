"""The `hosted_models` plugin: chat models behind a network, by OpenAI's protocol or whatever LangChain knows."""

from collections.abc import Callable

from persona_sdk.hooks import Registry, hookimpl
from persona_sdk.language import ChatModel


def _openai(name: str) -> ChatModel:
    from persona_plugins.hosted_models.resolving import openai  # noqa: PLC0415 - loaded when used

    return openai(name)


def _served(scheme: str) -> Callable[[str], ChatModel]:
    def served(rest: str) -> ChatModel:
        from persona_plugins.hosted_models.resolving import served  # noqa: PLC0415 - loaded when used

        return served(f"{scheme}:{rest}")

    return served


def _named(spec: str) -> ChatModel:
    from persona_plugins.hosted_models.resolving import named  # noqa: PLC0415 - loaded when used

    return named(spec)


@hookimpl
def persona_register(registry: Registry) -> None:
    """Register "openai:NAME", URLs with "#NAME" behind, and for all other providers LangChain's `init_chat_model`."""
    registry.add_chat_model("openai", _openai)
    registry.add_chat_model("http", _served("http"))
    registry.add_chat_model("https", _served("https"))
    registry.add_chat_model("*", _named)
