"""What every tailor here asks first: may this person borrow, was it verified, and has the call a use for it?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from persona_plugins.similar_personas.blending import Borrowing
from persona_plugins.similar_personas.lending import Lendable
from persona_sdk.gating import gate
from persona_sdk.models import ChatCall, Persona, TailorStep, Trait
from persona_sdk.tailoring import TailorResult

if TYPE_CHECKING:
    from persona_plugins.similar_personas.people import SimilarPersonas
    from persona_plugins.similar_personas.verifying import Way

__all__ = ["NOT_VERIFIED", "does_not_borrow", "no_use", "refused", "relevant", "silent_styles", "skipped", "unproven"]

NOT_VERIFIED = "it has not been verified here: `persona similar rebuild` does"


def skipped(name: str, call: ChatCall, why: str) -> TailorResult:
    """Return the call as it is."""
    return TailorResult(call, TailorStep(tailor=name, skipped=why))


def does_not_borrow(people: SimilarPersonas, tenant: str, user_id: str) -> str:
    """Return why a person borrows nothing, "" if they do; asked anew at every call."""
    if tenant in people.options.no_borrowing or tenant in people.options.no_lending:
        return "this tenant does not borrow"
    return "" if people.memory.consent(tenant, user_id).borrow else "this person does not borrow"


def refused(borrowing: Borrowing | None) -> str:
    """Return why what was verified of borrowing does not allow it, "" if it does."""
    if borrowing is None:
        return NOT_VERIFIED
    return "" if borrowing.strength > 0 else f"refused: {borrowing.verified.removesuffix('; refused')}"


def unproven(way: Way | None) -> str:
    """Return why what was verified of a way does not allow it, "" if it does."""
    if way is None:
        return f"{NOT_VERIFIED}, with this tailor among the tailors of the settings"
    return "" if way.helps else f"refused: {way.verified}"


def _probe(key: str) -> Trait:
    return Trait(key=key, statement="Style.", kind="style", weight=1.0, interval=(1.0, 1.0), status="verified")


def no_use(call: ChatCall) -> str:
    """Return why nothing can be tailored here, "" if it can: no question, or one for a rendering of given text.

    A style that the question cannot have asked for is silent only then, so the gate is asked about one.
    """
    probe = _probe("style:probe")
    decision = gate(_persona(call, [probe]), call)
    return "" if decision.open else decision.silent.get(probe.key, decision.reason)


def silent_styles(call: ChatCall, dimensions: Iterable[str]) -> frozenset[str]:
    """Return the dimensions of style that the question itself says what it wants of."""
    probes = [_probe(f"style:{dimension}") for dimension in dimensions]
    return frozenset(key.removeprefix("style:") for key in gate(_persona(call, probes), call).silent)


def relevant(call: ChatCall, offered: Sequence[Lendable]) -> list[Lendable]:
    """Return what has something to say about this call, by the same gate as a person's own traits."""
    spoken = {trait.key for trait in gate(_persona(call, [one.trait for one in offered]), call).traits}
    return [one for one in offered if one.trait.key in spoken]


def _persona(call: ChatCall, traits: Sequence[Trait]) -> Persona:
    return Persona(tenant=call.tenant, user_id=call.user_id, traits=tuple(traits))
