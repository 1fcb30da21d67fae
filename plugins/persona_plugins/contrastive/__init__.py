"""The `contrastive` plugin: traits from what was chosen over what, without a language model."""

from persona_sdk.hooks import Registry, hookimpl
from persona_sdk.inference import Inferrer
from persona_sdk.scoring import Scorer
from persona_sdk.settings import Settings


def _inferrer(settings: Settings) -> Inferrer:
    from persona_plugins.contrastive.inferrer import Contrastive  # noqa: PLC0415 - imports numpy

    return Contrastive(**settings.options.get("contrastive", {}))


def _scorer(settings: Settings) -> Scorer:
    from persona_plugins.contrastive.scorer import ContrastiveScorer  # noqa: PLC0415 - imports numpy

    return ContrastiveScorer(**settings.options.get("contrastive", {}))


@hookimpl
def persona_register(registry: Registry) -> None:
    """Register the inferrer, and the scorer that reads its states."""
    registry.add_inferrer("contrastive", _inferrer)
    registry.add_scorer("contrastive", _scorer)
