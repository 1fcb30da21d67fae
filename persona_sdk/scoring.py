"""The scoring interfaces: how well does an answer suit a person, or someone of whom a sentence is true?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from persona_sdk.inference import Population
from persona_sdk.language import Journal, Spent

__all__ = ["Offer", "Scorer", "StatementScorer"]


class Scorer(ABC):
    """Scores candidate answers for one person. Subclass it and register it under its inferrer's name."""

    #: The name of the inferrer whose `state` it reads.
    name: ClassVar[str]

    @abstractmethod
    def score(
        self,
        state: Mapping[str, Any],
        population: Population | None,
        prompt: str,
        answers: Sequence[str],
        silent: frozenset[str] = frozenset(),
    ) -> list[float]:
        """Return one utility per answer, in log-odds: answer a is chosen over b with probability σ(u_a − u_b).

        `silent` are the keys of traits that have nothing to say here; what they are about does not count. An empty
        state is that of someone nothing was learnt of: what everybody prefers is all there is to score by.
        """


@dataclass(frozen=True, slots=True)
class Offer:
    """A prompt and the answers that were offered to it, two or more."""

    prompt: str
    answers: tuple[str, ...]


class StatementScorer(ABC):
    """Says how much better each answer suits someone of whom a sentence is true. Subclass it and register it.

    Implementations are called from several threads at once, treat people's text as data, and do not raise for odd text.
    """

    #: The name it is registered and chosen under.
    name: ClassVar[str]
    #: Whether it is fast and free enough to be used while somebody waits for a chat's answer.
    quick: ClassVar[bool] = True

    @abstractmethod
    def score(
        self, offers: Sequence[Offer], statements: Sequence[str], journal: Journal | None = None
    ) -> list[list[list[float]]]:
        """Return one value per offer, statement and answer. Only differences within an offer mean something.

        The unit is the scorer's own. A value that could not be had is 0 for all answers of that offer: it says nothing.
        """

    def spent(self) -> Spent:
        """Return what this scorer has asked of models since it was built."""
        return Spent()
