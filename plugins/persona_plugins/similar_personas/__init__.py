"""The `similar_personas` plugin: people who prefer alike, what they lend, and the index they are found with."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, cast

from persona_sdk.errors import SettingsError
from persona_sdk.hooks import Registry, hookimpl
from persona_sdk.settings import Settings
from persona_sdk.tailoring import Tailor

if TYPE_CHECKING:
    from persona_plugins.similar_personas.people import SimilarPersonas
    from persona_plugins.similar_personas.prompts import PromptIndex

_NAME = "similar_personas"
_EMBEDDER = "minilm"


def _similar(registry: Registry, settings: Settings) -> SimilarPersonas:
    from persona_plugins.similar_personas.options import Options  # noqa: PLC0415 - loaded when used
    from persona_plugins.similar_personas.people import SimilarPersonas, Source  # noqa: PLC0415 - imports numpy

    index = functools.partial(registry.index, settings.index)
    memory = registry.memory(settings.memory, settings)
    source = Source(
        memory=memory,
        inferrer=functools.partial(registry.inferrer, settings.inferrer, settings),
        index=index,
        embedder=lambda: registry.embedder(settings.embedder) if settings.embedder else None,
        prompts=_prompts(registry, settings) if "similar_prompt" in settings.tailors else None,
    )
    options = Options.of(settings.options.get(_NAME, {}))
    index()  # nothing is opened; what is wrong with its name shows here
    return SimilarPersonas(source, options, background=settings.learning == "background")


def _prompts(registry: Registry, settings: Settings) -> PromptIndex:
    """Return the index of prompts: the embedder named in the settings, or the one on this machine, finds them."""
    from persona_plugins.similar_personas.prompts import PromptIndex  # noqa: PLC0415 - imports numpy

    embedder = settings.embedder or _EMBEDDER
    memory = registry.memory(settings.memory, settings)
    index = functools.partial(registry.index, settings.index)
    return PromptIndex(memory, index, lambda: registry.embedder(embedder), space=embedder)


def _people(registry: Registry, settings: Settings, tailor: str) -> SimilarPersonas:
    """Return what the tailors share with the rest."""
    if settings.similar != _NAME:
        raise SettingsError(f'the tailor {tailor!r} needs similar="{_NAME}"')
    if tailor in settings.options:
        raise SettingsError(f"options of the tailor {tailor!r} are given under {_NAME!r}, which all of them share")
    return cast("SimilarPersonas", registry.similar(_NAME, settings))


def _cold_start(registry: Registry, settings: Settings) -> Tailor:
    from persona_plugins.similar_personas.cold_start import ColdStart  # noqa: PLC0415 - loaded when used

    return ColdStart(_people(registry, settings, "cold_start"))


def _similar_people(registry: Registry, settings: Settings) -> Tailor:
    from persona_plugins.similar_personas.similar_people import SimilarPeopleTailor  # noqa: PLC0415 - loaded when used

    return SimilarPeopleTailor(_people(registry, settings, "similar_people"))


def _similar_prompt(registry: Registry, settings: Settings) -> Tailor:
    from persona_plugins.similar_personas.similar_prompt import SimilarPrompt  # noqa: PLC0415 - loaded when used

    return SimilarPrompt(_people(registry, settings, "similar_prompt"), _prompts(registry, settings))


def _own_choices(registry: Registry, settings: Settings) -> Tailor:
    from persona_plugins.similar_personas.own_choices import OwnChoices  # noqa: PLC0415 - loaded when used

    people = _people(registry, settings, "own_choices")
    return OwnChoices(people, lambda: registry.embedder(settings.embedder) if settings.embedder else None)


@hookimpl
def persona_register(registry: Registry) -> None:
    """Register what finds similar people, and the tailors that use them, or one's own past choices."""
    registry.add_similar(_NAME, functools.partial(_similar, registry))
    registry.add_tailor("cold_start", functools.partial(_cold_start, registry))
    registry.add_tailor("similar_people", functools.partial(_similar_people, registry))
    registry.add_tailor("similar_prompt", functools.partial(_similar_prompt, registry))
    registry.add_tailor("own_choices", functools.partial(_own_choices, registry))
