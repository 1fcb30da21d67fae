"""The `prompt_prefix` plugin: relevant traits as a short block behind the app's own system prompt."""

from persona_sdk.hooks import Registry, hookimpl
from persona_sdk.settings import Settings
from persona_sdk.tailoring import Tailor


def _prompt_prefix(settings: Settings) -> Tailor:
    from persona_plugins.prompt_prefix.tailor import PromptPrefix  # noqa: PLC0415 - loaded when used

    return PromptPrefix()


@hookimpl
def persona_register(registry: Registry) -> None:
    """Register the tailor."""
    registry.add_tailor("prompt_prefix", _prompt_prefix)
