"""Held-out choices decide whether a persona is believed.

A persona that is merely plausible is worth nothing: it has to predict what this person chooses next. So an update
becomes current only if, on the person's own choices predicted by models that had not seen them, it gives what was
chosen a higher mean log probability than no persona does, and no lower one than the version before (its method, given
what it had read). Where neither of the two beats no persona any more, what had been believed is withdrawn. The idea of
keeping only hypotheses that predict held-out picks is SynthesizeMe's (arXiv 2506.05598); the rule is ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from persona_sdk.inference import HeldOutChoice, Inference
from persona_sdk.models import HeldOutMethod, Lift

__all__ = ["MINIMUM_CHOICES", "Verification", "lift_of", "verify"]

#: Fewer choices than this cannot support anything inferred, whatever they say.
MINIMUM_CHOICES = 3


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether what was inferred is believed, how well it predicts, and the reason in a sentence.

    `withdrawn`: not even what had been believed before predicts better than no persona any more.
    """

    accepted: bool
    reason: str
    lift: Lift | None = None
    withdrawn: bool = False


def verify(inference: Inference) -> Verification:
    """Decide whether the inferred traits of a proposal are believed. Traits a person stated are not at stake here."""
    choices = inference.held_out
    if len(choices) < MINIMUM_CHOICES:
        return Verification(
            False, f"too little evidence: {_count(len(choices))}, at least {MINIMUM_CHOICES} are needed"
        )
    lift = lift_of(choices, inference.method)
    before = [c for c in choices if c.previous is not None]
    old = _mean([c.previous for c in before if c.previous is not None])
    if lift.score_with <= lift.score_without:
        return Verification(
            False,
            f"not believed: held-out choices are predicted no better with the persona ({lift.score_with:.3f} nats "
            f"a choice) than without ({lift.score_without:.3f})",
            lift,
            withdrawn=not before or old <= _mean([c.without for c in before]),
        )
    new = _mean([c.with_persona for c in before])
    if before and new < old:
        return Verification(
            False,
            f"not believed: the version before predicts better ({old:.3f} against {new:.3f} nats a choice)",
            lift,
        )
    if not any(not t.stated for t in inference.traits):
        return Verification(True, "predicts better, but nothing in it is sure enough to be put in a sentence", lift)
    return Verification(True, f"believed: {lift}", lift)


def lift_of(choices: Sequence[HeldOutChoice], method: HeldOutMethod) -> Lift:
    """Summarise held-out predictions; `choices` must not be empty."""
    others = [c.other for c in choices if c.other is not None]
    return Lift(
        choices=len(choices),
        accuracy_with=_accuracy([c.with_persona for c in choices]),
        accuracy_without=_accuracy([c.without for c in choices]),
        accuracy_other=_accuracy(others) if others else None,
        score_with=_mean([c.with_persona for c in choices]),
        score_without=_mean([c.without for c in choices]),
        score_other=_mean(others) if others else None,
        method=method,
    )


def _accuracy(log_probabilities: Sequence[float]) -> float:
    """Share predicted right: what was chosen got more than one half, and a half counts half."""
    coin = math.log(0.5)
    right = sum(1.0 if p > coin + 1e-12 else 0.5 if p >= coin - 1e-12 else 0.0 for p in log_probabilities)
    return right / len(log_probabilities)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _count(choices: int) -> str:
    return "no choices" if choices == 0 else "1 choice" if choices == 1 else f"{choices} choices"
