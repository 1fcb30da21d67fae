"""The inference interface: from one person's signals to traits that can be tested."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from persona_sdk.language import Journal, Spent
from persona_sdk.models import Frozen, HeldOutMethod, Trait, utc_now
from persona_sdk.signals import Choice, Signal

__all__ = [
    "HeldOutChoice",
    "History",
    "Inference",
    "InferenceRequest",
    "Inferrer",
    "PairPersonas",
    "Population",
]


@dataclass(frozen=True, slots=True)
class History:
    """One person's signals, in the order they were received, and their journal for inferrers that ask models."""

    user_id: str
    signals: Sequence[Signal]
    journal: Journal | None = None


class Population(Frozen):
    """What an inferrer learnt over a tenant's users: the starting point of every one of its personas.

    `data` is the inferrer's own, JSON-ready, and holds nothing that only one person said. `fingerprint` changes
    whenever `data` does.
    """

    tenant: str
    inferrer: str
    fingerprint: str
    users: int
    choices: int
    data: Mapping[str, Any]
    at: datetime = Field(default_factory=utc_now)


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """What an inferrer is given.

    `read_before` is how many of `signals` the current version had read; the rest are new to it. `other_state` is the
    `state` of some other person of the tenant, the control of every lift. `rejected` are the keys of traits that this
    person took back: they must not come back. `pinned` are keys to keep. `journal` is for inferrers that ask models.
    """

    tenant: str
    user_id: str
    signals: Sequence[Signal]
    population: Population | None = None
    read_before: int = 0
    other_state: Mapping[str, Any] | None = None
    rejected: frozenset[str] = frozenset()
    pinned: frozenset[str] = frozenset()
    journal: Journal | None = None


@dataclass(frozen=True, slots=True)
class HeldOutChoice:
    """Log probabilities, in nats, given to what was chosen by models that had not seen this choice."""

    signal_id: str
    with_persona: float
    without: float
    previous: float | None = None
    other: float | None = None


@dataclass(frozen=True, slots=True)
class Inference:
    """What an inferrer proposes; verification decides whether it is believed.

    `state` is what the inferrer's scorer needs to score new answers for this person, JSON-ready, None if it has none.
    """

    traits: tuple[Trait, ...]
    held_out: tuple[HeldOutChoice, ...] = ()
    method: HeldOutMethod = "leave-one-out"
    state: Mapping[str, Any] | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class PairPersonas:
    """Who would choose the chosen answer, and who the rejected one; None where the model gave nothing usable."""

    chosen: str | None
    rejected: str | None


class Inferrer(ABC):
    """Proposes traits for one person from their signals. Subclass it and register it to add a method.

    Implementations are called from several threads at once and keep no per-person state of their own. They treat
    people's text as data. They never raise for odd text; they raise `PersonaError` for what they cannot do at all.
    """

    #: The name it is registered, configured and recorded under.
    name: ClassVar[str]

    @abstractmethod
    def infer(self, request: InferenceRequest) -> Inference:
        """Propose traits and give held-out probabilities for this person's choices.

        `held_out` probabilities must come from models that had not seen the choice they predict. No choices, or too
        few: return no traits and say so in `note`.
        """

    def predict(self, request: InferenceRequest, asked: Sequence[Choice]) -> list[float]:
        """Return the probability that each `chosen` is taken over its `rejected`, given the request's signals only.

        With no signals it is what the population alone predicts. Evaluation needs it; chat does not.
        """
        raise NotImplementedError(f"{self.name} does not predict choices")

    def fit_population(self, tenant: str, histories: Iterable[History]) -> Population | None:
        """Learn what the tenant's users have in common; None if this method has no population. Runs offline."""
        return None

    def leaning(self, request: InferenceRequest) -> Mapping[str, float]:
        """Return what one person's choices and words lean to beyond everybody's, as weights by name; {} by default.

        Names and units are the same for everyone of the tenant, and a name holds nothing that only one person said:
        two people's leanings can be compared, and one can be lent to another. A name's part before ":" is its group.
        """
        return {}

    def contrast(self, population: Population | None, asked: Sequence[Choice]) -> list[Mapping[str, float]]:
        """Return, for each choice, what `chosen` has over `rejected`, in the names and units of `leaning`.

        The sum of weight times contrast is what a leaning adds to the log-odds of the choice. Asks no slow model.
        """
        return [{} for _ in asked]

    def abduce(self, choice: Choice, journal: Journal | None = None) -> PairPersonas:
        """Say in a sentence each who would choose either answer of one pair (paper: arXiv 2501.11549, section 3)."""
        raise NotImplementedError(f"{self.name} does not infer a persona from a single choice")

    def spent(self) -> Spent:
        """Return what this inferrer has asked of models since it was built."""
        return Spent()
