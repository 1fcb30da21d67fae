"""The `local_models` plugin: a chat model and an embedder that run in this process, without a key or a network."""

from persona_sdk.hooks import Registry, hookimpl
from persona_sdk.language import ChatModel, Embedder


def _chat(path: str) -> ChatModel:
    from persona_plugins.local_models.chat import ChatLocal  # noqa: PLC0415 - imports LangChain

    return ChatLocal(path)


def _minilm(path: str) -> Embedder:
    from persona_plugins.local_models.embedder import MiniLM  # noqa: PLC0415 - imports LangChain

    return MiniLM(path)


@hookimpl
def persona_register(registry: Registry) -> None:
    """Register the chat models "local" and "local:FILE.gguf", and the embedders "minilm" and "minilm:FOLDER"."""
    registry.add_chat_model("local", _chat)
    registry.add_embedder("minilm", _minilm)
