"""The tailoring interface: what a persona changes in a call to a chat model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from persona_sdk.models import ChatCall, Persona, TailorStep, Trait

__all__ = ["Tailor", "TailorContext", "TailorResult"]


@dataclass(frozen=True, slots=True)
class TailorContext:
    """What a tailor may use.

    `traits` are the ones the gate let through, the surest first. `score` gives one utility (log-odds) per candidate
    answer for this person and call, and an empty list when nothing can score them. `max_tokens` is the most that all
    tailors together may add to the prompt.
    """

    persona: Persona
    traits: tuple[Trait, ...]
    score: Callable[[ChatCall, Sequence[str]], Sequence[float]]
    max_tokens: int = 120


class TailorResult(NamedTuple):
    """The changed call, and what was done to it."""

    call: ChatCall
    step: TailorStep


class Tailor(ABC):
    """Changes a call for one person. Subclass it and register it to add a way of tailoring.

    A tailor that raises, answers late or returns something else is skipped for that call and observers are told;
    one that is `required` (a privacy filter, say) makes the call fail instead. Tailors run in the order they are
    configured, moved only as far as `after` demands.
    """

    #: The name it is registered, configured and reported under.
    name: ClassVar[str]
    #: Fail the call when this tailor fails.
    required: ClassVar[bool] = False
    #: Names of tailors that must run before this one, if they are configured.
    after: ClassVar[tuple[str, ...]] = ()
    #: Names of tailors that must be configured for this one to work; they run before it.
    requires: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def tailor(self, call: ChatCall, context: TailorContext) -> TailorResult:
        """Return a changed copy of `call` (made with `call.override`) and what was done; `call` is never touched.

        Runs before the model is called, within the time budget, and does no slow I/O.
        """

    def choose(self, call: ChatCall, answers: Sequence[str], context: TailorContext) -> int | None:
        """Return the index of the answer to give, None to leave it to others. Called when `call.n` > 1."""
        return None
