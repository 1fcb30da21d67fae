"""What is reported of how well models prefer what people chose: by arm, by swap of prefixes, by person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from persona_sdk.evaluation._figures import rounded
from persona_sdk.evaluation._tailoring_figures import Mean

__all__ = ["GROUPS", "ArmFigures", "PersonFigures", "Swap", "TailoringReport"]

#: Whom a mean is over: everybody, those whose signals are in a tuned model, and those it has never seen.
GROUPS = ("all", "trained", "unseen")


@dataclass(frozen=True, slots=True)
class PersonFigures:
    """One person's choices that were asked about, and by arm the share of them predicted right.

    `trained` says whether signals of theirs are in a tuned model, None where nothing is tuned.
    """

    choices: int
    trained: bool | None
    accuracy: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """The figures of one arm; those by group are over `GROUPS`, the last two of which are empty where nothing is tuned.

    `worse` is the share of people whose gain is below 0. `matched` is over `matched_choices` pairs alike in length.
    `takes_longer` is the mean share of choices in which the longer answer is preferred. `without_prefix` is the share
    of choices about which there was nothing to say. The gain, `worse` and `equity` are None of the first arm.
    """

    model_name: str
    prefix: str
    accuracy: Mapping[str, Mean]
    gain: Mapping[str, Mean] | None
    worse: float | None
    equity: float | None
    controlled: Mean
    matched: Mean
    matched_choices: int
    takes_longer: Mean
    without_prefix: float


@dataclass(frozen=True, slots=True)
class Swap:
    """What saying somebody else's prefix instead of a person's own does to a model; see `evaluation.tailoring`.

    `against` is "shuffled" for anybody else's, "contrary" for that of somebody with contrary traits. Over the `choices`
    for which the two prefixes differ, of the people who have such.
    """

    model_name: str
    prefix: str
    against: str
    steer: Mean
    flips: Mean
    fits: Mean
    choices: int


@dataclass(frozen=True, slots=True)
class TailoringReport:
    """How well people's held-out choices are preferred, by arm, by swap, and by person (by their key).

    `reference` is the arm that others are compared with; `left_out` counts examples with one answer only.
    """

    reference: str
    choices: int
    left_out: int
    longer: Mean
    arms: Mapping[str, ArmFigures]
    swaps: tuple[Swap, ...]
    people: Mapping[str, PersonFigures]
    seconds: float

    def gains(self, arm: str) -> dict[str, float]:
        """Return what each person gains by an arm over the reference, by their key."""
        return {key: one.accuracy[arm] - one.accuracy[self.reference] for key, one in self.people.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return the report JSON-ready. It holds neither names nor text."""
        gains = {arm: self.gains(arm) for arm in self.arms if arm != self.reference}
        people = {
            key: {**asdict(one), "gain": {arm: gains[arm][key] for arm in gains}} for key, one in self.people.items()
        }
        report: dict[str, Any] = {
            "reference": self.reference,
            "choices": self.choices,
            "left_out": self.left_out,
            "longer": asdict(self.longer),
            "arms": {name: asdict(arm) for name, arm in self.arms.items()},
            "swaps": [asdict(swap) for swap in self.swaps],
            "people": people,
            "seconds": self.seconds,
        }
        return {name: rounded(value) for name, value in report.items()}
