"""Every hook. An implementation takes the arguments it wants, by these names, in any order; none is `async`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from persona_sdk.hooks.registry import Registry
    from persona_sdk.inference import Population
    from persona_sdk.models import Persona, Tailored
    from persona_sdk.signals import Signal

__all__ = ["hookimpl", "hookspec"]

#: Marks a hook's specification.
hookspec = pluggy.HookspecMarker("persona_sdk")
#: Marks a plugin's implementation of a hook.
hookimpl = pluggy.HookimplMarker("persona_sdk")


@hookspec
def persona_register(registry: Registry) -> None:
    """Add what the plugin brings to `registry`. Called once, when the plugin is loaded; import heavy things later."""


@hookspec
def persona_on_signal(signal: Signal) -> None:
    """Observe that `signal` was stored; it was not known before."""


@hookspec
def persona_on_persona(persona: Persona, accepted: bool, reason: str) -> None:
    """Observe the outcome of learning: `persona` was `accepted` as the current version or not, and why.

    A version that was chosen by hand (rollback, pin) is told of, too.
    """


@hookspec
def persona_on_population(population: Population) -> None:
    """Observe that `population`, what a tenant's people have in common, was learnt anew."""


@hookspec
def persona_on_tailored(tailored: Tailored) -> None:
    """Observe a tailored call, before the model is asked."""


@hookspec
def persona_on_answer(tailored: Tailored, answer: str) -> None:
    """Observe the `answer` that was given to a tailored call."""


@hookspec
def persona_on_skip(stage: str, plugin: str, reason: str) -> None:
    """Observe that `plugin` was left out at a `stage` ("recall", "tailor", "choose", "index", "forget"), and why.

    `reason` never contains people's text.
    """


@hookspec
def persona_on_forget(tenant: str, user_id: str) -> None:
    """Observe that everything about a person was erased: erase what you keep about them, too."""
