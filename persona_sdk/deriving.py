"""From what memory holds of one person to their next persona: infer, verify, settle. No memory, so it runs anywhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from persona_sdk.errors import PluginTypeError
from persona_sdk.inference import Inference, InferenceRequest, Inferrer
from persona_sdk.language import Journal
from persona_sdk.memory import Verdict
from persona_sdk.models import Lineage, Persona, Trait
from persona_sdk.pipeline import contained
from persona_sdk.signals import Utterance
from persona_sdk.verification import Verification, verify

__all__ = ["Outcome", "Work", "derive", "owned", "settle", "under_rulings"]

_log = logging.getLogger("persona_sdk")

#: Under this key a state says who wrote it.
_BY = "inferrer"


@dataclass(frozen=True, slots=True)
class Work:
    """All that is needed to learn from one person, in plain values that can be pickled.

    `request` has no journal: `derive` is given it. `through` is the number of the newest signal in it. `said` is what
    the person has said since learning last read them, where they had taken something back before. `leans`: what they
    lean to is wanted, too.
    """

    request: InferenceRequest
    current: Persona | None
    verdicts: Mapping[str, Verdict]
    through: int
    said: tuple[Utterance, ...] = ()
    leans: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What learning from one person came to; `Learner.remember` writes it down.

    `state` goes with the `proposal`, or with `keeps_state` that of the version before. `again` are traits the person
    had taken back and has said anew since. `leaning` is what they lean to beyond everybody, None if it was not wanted.
    """

    proposal: Persona
    state: Mapping[str, Any] | None
    verification: Verification
    keeps_state: bool = False
    again: frozenset[str] = frozenset()
    leaning: Mapping[str, float] | None = None


def derive(work: Work, inferrer: Inferrer, journal: Journal | None = None) -> Outcome:
    """Infer, verify and settle what is known of one person, without looking at or changing anything else."""
    request, current, population = work.request, work.current, work.request.population
    again = _said_again(work, inferrer, journal)
    request = replace(request, rejected=request.rejected - again, journal=journal)
    leaning = _leaning(inferrer, request) if work.leans else None
    verdicts = {key: verdict for key, verdict in work.verdicts.items() if key not in again}
    inference = _infer(inferrer, request)
    verification = verify(inference)
    traits = settle(inference, verification, current, verdicts)
    # What was measured of the version before says nothing of this one once a ruling or their word changed it.
    kept = current if current and _inferred(current.traits) == _inferred(traits) else None
    proposal = Persona(
        tenant=request.tenant,
        user_id=request.user_id,
        traits=traits,
        summary=" ".join(t.statement for t in traits),
        lift=verification.lift if verification.accepted else kept.lift if kept else None,
        lineage=Lineage(
            inferrer=inferrer.name,
            population=population.fingerprint if population else "",
            through=work.through,
            signals=len(request.signals),
            parent=current.version if current else None,
            worded=_worded(current, traits),
            reason=verification.reason,
        ),
        note=inference.note if verification.accepted else verification.reason,
    )
    if not verification.accepted or inference.state is None:
        return Outcome(proposal, None, verification, not verification.accepted and kept is not None, again, leaning)
    return Outcome(proposal, {**inference.state, _BY: inferrer.name}, verification, False, again, leaning)


def owned(state: Mapping[str, Any] | None, inferrer: str) -> Mapping[str, Any] | None:
    """Return a state if this inferrer wrote it: another's means nothing to it, after a change of the setting."""
    if state is None or state.get(_BY) != inferrer:
        return None
    return {key: value for key, value in state.items() if key != _BY}


def _infer(inferrer: Inferrer, request: InferenceRequest) -> Inference:
    inference = inferrer.infer(request)
    if not isinstance(inference, Inference):
        name, kind = inferrer.name, type(inference).__name__
        raise PluginTypeError(f"infer() of inferrer {name!r} must return an Inference, not {kind}", plugin=name)
    return inference


def _leaning(inferrer: Inferrer, request: InferenceRequest) -> Mapping[str, float] | None:
    """Return what the person leans to; a fault in that must not keep them from being learnt from."""
    leaning, failure = contained(lambda: dict(inferrer.leaning(request)))
    if failure:
        _log.warning("what a person leans to could not be learnt by %r: %s", inferrer.name, failure)
    return leaning


def _said_again(work: Work, inferrer: Inferrer, journal: Journal | None) -> frozenset[str]:
    """Return the traits a person took back and has said anew since; a ruling is always followed by learning."""
    if not work.said or not work.request.rejected:
        return frozenset()
    tenant, user_id = work.request.tenant, work.request.user_id
    only = InferenceRequest(tenant=tenant, user_id=user_id, signals=work.said, journal=journal)
    return work.request.rejected & {t.id for t in _infer(inferrer, only).traits if t.stated}


def settle(
    inference: Inference, verification: Verification, current: Persona | None, verdicts: Mapping[str, Verdict]
) -> tuple[Trait, ...]:
    """Decide which traits stand.

    What the person said stands on their word. What was inferred stands if it was believed, otherwise what had been
    believed before stays unless it was withdrawn. What the person rejected is out, what they pinned is in and its
    contrary out, and their word on a subject silences what was inferred about it.
    """
    ruled = {key: verdict.ruling for key, verdict in verdicts.items()}
    said = [t for t in inference.traits if t.stated and ruled.get(t.id) != "rejected"]
    stated = [t.model_copy(update={"status": "pinned"}) for t in said]
    before = [t for t in (current.traits if current else ()) if not t.stated]
    if verification.accepted:
        inferred = [t.model_copy(update={"status": "verified"}) for t in inference.traits if not t.stated]
        proposed = {t.id for t in inferred}
        inferred += [t for t in before if ruled.get(t.id) == "pinned" and t.id not in proposed]
    else:
        inferred = [t for t in before if not verification.withdrawn or ruled.get(t.id) == "pinned"]
    spoken_of = {t.key for t in stated if not t.scope}
    kept_against = {t.key: t.id for t in inferred if ruled.get(t.id) == "pinned"}
    inferred = [t for t in inferred if kept_against.get(t.key, t.id) == t.id]
    kept = [*stated, *(t for t in inferred if t.key not in spoken_of)]
    return under_rulings(kept, verdicts)


def _worded(current: Persona | None, traits: Sequence[Trait]) -> int:
    """Return the version since which the traits have read as they do, 0 if they read differently now."""
    if current is None or [(t.id, t.statement) for t in current.traits] != [(t.id, t.statement) for t in traits]:
        return 0
    return current.lineage.worded or current.version


def _inferred(traits: Sequence[Trait]) -> list[Trait]:
    return [t.model_copy(update={"status": "verified"}) for t in traits if not t.stated]


def under_rulings(traits: Sequence[Trait], verdicts: Mapping[str, Verdict]) -> tuple[Trait, ...]:
    """Leave out the traits a person rejected and mark those they pinned."""
    ruled = {key: verdict.ruling for key, verdict in verdicts.items()}
    return tuple(
        t.model_copy(update={"status": "pinned"}) if ruled.get(t.id) == "pinned" else t
        for t in traits
        if ruled.get(t.id) != "rejected"
    )
