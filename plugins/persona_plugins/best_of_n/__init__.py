"""The `best_of_n` plugin: ask for several answers and give the one the person is expected to choose."""

from persona_sdk.hooks import Registry, hookimpl
from persona_sdk.settings import Settings
from persona_sdk.tailoring import Tailor


def _best_of_n(settings: Settings) -> Tailor:
    from persona_plugins.best_of_n.tailor import BestOfN  # noqa: PLC0415 - loaded when used

    return BestOfN(**settings.options.get("best_of_n", {}))


@hookimpl
def persona_register(registry: Registry) -> None:
    """Register the tailor."""
    registry.add_tailor("best_of_n", _best_of_n)
