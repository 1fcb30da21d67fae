"""The `lora` plugin: a chat model with many adapters, and the tailor that names the one a person is given."""

from persona_sdk.hooks import Registry, hookimpl
from persona_sdk.language import ChatModel
from persona_sdk.settings import Settings
from persona_sdk.tailoring import Tailor


def _lora(settings: Settings) -> Tailor:
    from persona_plugins.lora.tailor import Lora  # noqa: PLC0415 - loaded when used

    return Lora(**settings.options.get("lora", {}))


def _tuned(adapters: str) -> ChatModel:
    from persona_plugins.lora.chat import TunedChat  # noqa: PLC0415 - imports LangChain

    return TunedChat(adapters or "adapters")


@hookimpl
def persona_register(registry: Registry) -> None:
    """Register the tailor, and the chat models "tuned" and "tuned:FOLDER" of adapters."""
    registry.add_tailor("lora", _lora)
    registry.add_chat_model("tuned", _tuned)
