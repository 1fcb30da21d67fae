"""Why an answer looks the way it does, and what changed between two versions of a persona."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from persona_sdk.models import Frozen, GateDecision, Lift, Persona, TailorStep, Trait
from persona_sdk.signals import Edit, Preference, Rating, Regeneration, Signal, Utterance, prompt_text
from persona_sdk.text import as_data

__all__ = ["Explanation", "PersonaDiff", "Reason", "diff", "explain"]


class Reason(Frozen):
    """One trait and its part in a call: whether it was used, why not if not, and the signals behind it in words."""

    trait: Trait
    used: bool
    why: str
    evidence: tuple[str, ...]


class Explanation(Frozen):
    """Why a call was tailored the way it was. `str()` gives it as text for people."""

    user_id: str
    version: int
    gate: str
    reasons: tuple[Reason, ...]
    steps: tuple[TailorStep, ...] = ()
    lift: Lift | None = None

    def __str__(self) -> str:
        lines = [f"{self.user_id}, persona version {self.version}: {self.gate}"]
        if self.lift:
            lines.append(f"  {self.lift}")
        for reason in self.reasons:
            mark = "+" if reason.used else "-"
            lines.append(f"  {mark} {reason.trait.statement}{'' if reason.used else f' [silent: {reason.why}]'}")
            lines.extend(f"      because {evidence}" for evidence in reason.evidence)
        for step in self.steps:
            did = (
                f"skipped: {step.skipped}"
                if step.skipped
                else f"{step.detail or 'applied'}, +{step.tokens_added} tokens"
            )
            lines.append(f"  {step.tailor}: {did}")
            lines.extend(
                f"      {loan.statement} [borrowed from {loan.people} similar people]" for loan in step.borrowed
            )
        return "\n".join(lines)


def explain(
    persona: Persona, gate: GateDecision, steps: Sequence[TailorStep], signals: Mapping[str, Signal]
) -> Explanation:
    """Put together which traits spoke, from which evidence, and why the others stayed silent."""
    used = {key for step in steps for key in step.traits}
    reasons = [
        Reason(
            trait=trait,
            used=trait.key in used,
            why="" if trait.key in used else gate.silent.get(trait.key, "no tailor had room or use for it"),
            evidence=tuple(_in_words(trait, signals)),
        )
        for trait in persona.traits
    ]
    reasons.sort(key=lambda r: not r.used)
    return Explanation(
        user_id=persona.user_id,
        version=persona.version,
        gate=gate.reason,
        reasons=tuple(reasons),
        steps=tuple(steps),
        lift=persona.lift,
    )


def _in_words(trait: Trait, signals: Mapping[str, Signal], most: int = 3) -> list[str]:
    said = []
    for evidence in trait.evidence[:most]:
        if evidence.quote:
            said.append(f"they said: '{as_data(evidence.quote, 120)}'")
        elif signal := signals.get(evidence.signal_id):
            said.append(f"{_signal_in_words(signal)} ({evidence.influence:+.2f})")
        else:
            said.append(f"signal {evidence.signal_id}, no longer stored")
    return said


def _signal_in_words(signal: Signal) -> str:
    match signal:
        case Preference():
            act, text, other = "they chose", signal.chosen, signal.rejected
        case Edit():
            act, text, other = "they rewrote it as", signal.edited, signal.original
        case Regeneration():
            act, text, other = "they stayed with", signal.kept or "another answer", signal.response
        case Rating():
            return f"they gave {signal.score:+.1f} to '{as_data(signal.response, 80)}'"
        case Utterance():
            return f"they said: '{as_data(signal.text, 80)}'"
    return f"asked '{as_data(prompt_text(signal), 40)}' {act} '{as_data(text, 60)}' over '{as_data(other, 60)}'"


class PersonaDiff(Frozen):
    """What changed from one version to another."""

    old: int
    new: int
    added: tuple[Trait, ...]
    removed: tuple[Trait, ...]
    changed: tuple[tuple[Trait, Trait], ...]

    def __str__(self) -> str:
        lines = [f"version {self.old} → {self.new}"]
        lines.extend(f"  + {t.statement}" for t in self.added)
        lines.extend(f"  - {t.statement}" for t in self.removed)
        lines.extend(f"  ~ {b.statement} ({a.weight:+.2f} → {b.weight:+.2f})" for a, b in self.changed)
        return "\n".join(lines if len(lines) > 1 else [*lines, "  nothing changed"])


def diff(old: Persona, new: Persona) -> PersonaDiff:
    """Compare two versions trait by trait; weights are compared to two decimals."""
    before = {t.id: t for t in old.traits}
    after = {t.id: t for t in new.traits}

    def seen(trait: Trait) -> tuple[str, float, str]:
        return trait.statement, round(trait.weight, 2), trait.status

    return PersonaDiff(
        old=old.version,
        new=new.version,
        added=tuple(t for i, t in after.items() if i not in before),
        removed=tuple(t for i, t in before.items() if i not in after),
        changed=tuple((before[i], t) for i, t in after.items() if i in before and seen(before[i]) != seen(t)),
    )
