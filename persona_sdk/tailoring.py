"""The tailoring interface: what a persona changes in a call to a chat model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from persona_sdk.models import ChatCall, Message, Persona, TailorStep, Trait

__all__ = ["Tailor", "TailorContext", "TailorResult", "with_block"]

_SYSTEM_ROLES = ("system", "developer")


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
    #: Run only where the gate lets a trait of the person's own through. False: this tailor judges what is relevant.
    gated: ClassVar[bool] = True
    #: Names of tailors that must run before this one, if they are configured.
    after: ClassVar[tuple[str, ...]] = ()
    #: Names of tailors that must be configured for this one to work; they run before it.
    requires: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def tailor(self, call: ChatCall, context: TailorContext) -> TailorResult:
        """Return a changed copy of `call` (made with `call.override`) and what was done; `call` is never touched.

        Runs before the model is called, within the time budget, and does no slow I/O.
        """

    def utilities(self, call: ChatCall, answers: Sequence[str], context: TailorContext) -> Sequence[float]:
        """Return what to add to each answer's utility for this person, in log-odds; () for nothing, the default.

        Called whenever answers are scored, so it may not call `context.score`.
        """
        return ()

    def forget(self, tenant: str, user_id: str) -> None:  # noqa: B027
        """Erase what this tailor keeps of a person beside memory; the default keeps nothing. May take a while."""

    def choose(self, call: ChatCall, answers: Sequence[str], context: TailorContext) -> int | None:
        """Return the index of the answer to give, None to leave it to others. Called when `call.n` > 1."""
        return None


def with_block(messages: tuple[Message, ...], block: str) -> tuple[Message, ...]:
    """Append a block of text to the last of the leading system messages, or put a system message in front."""
    leading = 0
    while leading < len(messages) and messages[leading].role in _SYSTEM_ROLES:
        leading += 1
    if leading == 0:
        return (Message(role="system", content=block), *messages)
    system = messages[leading - 1]
    if isinstance(system.content, list):
        content: str | list[object] = [*system.content, {"type": "text", "text": block}]
    else:
        content = f"{system.content}\n\n{block}" if system.content else block
    changed = system.model_copy(update={"content": content})
    return (*messages[: leading - 1], changed, *messages[leading:])
