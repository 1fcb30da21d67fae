"""The `contrastive` plugin: traits from what was chosen over what, without a language model."""

from typing import Any

from persona_sdk.errors import SettingsError
from persona_sdk.hooks import Registry, hookimpl
from persona_sdk.inference import Inferrer
from persona_sdk.scoring import Scorer
from persona_sdk.settings import Settings

_OPTIONS = ("embedder", "keep_protected")


def _options(settings: Settings) -> dict[str, Any]:
    options = dict(settings.options.get("contrastive", {}))
    for name in options:
        if name not in _OPTIONS:
            raise SettingsError(f"contrastive: unknown option {name!r}; known are {', '.join(_OPTIONS)}")
    return options


def _inferrer(settings: Settings) -> Inferrer:
    from persona_plugins.contrastive.inferrer import Contrastive  # noqa: PLC0415 - imports numpy

    return Contrastive(**_options(settings))


def _scorer(settings: Settings) -> Scorer:
    from persona_plugins.contrastive.scorer import ContrastiveScorer  # noqa: PLC0415 - imports numpy

    return ContrastiveScorer(_options(settings).get("embedder"))


@hookimpl
def persona_register(registry: Registry) -> None:
    """Register the inferrer, and the scorer that reads its states."""
    registry.add_inferrer("contrastive", _inferrer)
    registry.add_scorer("contrastive", _scorer)
