"""The interface to similar people: who they are, and what may be borrowed from them for someone we hardly know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from persona_sdk.inference import History, InferenceRequest, Inferrer, Population
from persona_sdk.signals import Choice

__all__ = ["IndexStatus", "Neighbour", "SimilarPeople", "Study"]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Someone of the same tenant who prefers alike; `similarity` is the cosine of their preferences (0 … 1)."""

    user_id: str
    similarity: float


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """How the index of one tenant stands.

    `people` are those who can be found and `expected` those who should be; they differ while the index catches up.
    `problem` says why it cannot be used now, "" if it can. `verified` says, for each way of borrowing, whether it
    predicts held-out choices of this tenant's people better, and by how much, in a sentence.
    """

    people: int
    expected: int
    problem: str = ""
    verified: Mapping[str, str] | None = None


class Study(ABC):
    """What similar people would bring, worked out over given histories: no memory, no index, nothing kept.

    Evaluation asks it. Nobody is compared with their own history: whoever has the request's user id is left out.
    """

    #: Whether borrowing predicts left-out choices of these people better, and by how much, in a sentence.
    verified: str

    @abstractmethod
    def neighbours(self, request: InferenceRequest, limit: int | None = None) -> list[Neighbour]:
        """Return the people most similar to one whose signals these are, the most similar first; all by default.

        People who are not alike at all are in it, too, with a similarity of 0 or less.
        """

    @abstractmethod
    def adds(self, request: InferenceRequest, asked: Sequence[Choice]) -> list[float]:
        """Return what borrowing adds to the log-odds of each `chosen`, 0 where it was not verified to help."""


class SimilarPeople(ABC):
    """Finds similar people within a tenant. Subclass it and register it to add another way.

    What is borrowed from others is never stored as anybody's own. Every method is safe to call from several threads.
    """

    #: The name it is registered and configured under.
    name: ClassVar[str]

    @abstractmethod
    def neighbours(self, tenant: str, user_id: str, limit: int = 10) -> list[Neighbour]:
        """Return the people most similar to one person, the most similar first; [] for someone nothing is known of.

        Raises:
            IndexUnavailableError: the index cannot be read now.
        """

    @abstractmethod
    def follow(self, tenant: str) -> int:
        """Bring the index up to date with memory, now, and return how many vectors were changed.

        Raises:
            IndexUnavailableError: the index cannot be written now.
        """

    @abstractmethod
    def rebuild(self, tenant: str) -> IndexStatus:
        """Build a tenant's index anew from memory, and verify on held-out choices what may be borrowed.

        Raises:
            IndexUnavailableError: the index cannot be written now.
        """

    @abstractmethod
    def study(
        self, tenant: str, inferrer: Inferrer, population: Population | None, histories: Sequence[History]
    ) -> Study:
        """Work out what similar people bring to each other among these, for evaluation."""

    @abstractmethod
    def status(self, tenant: str) -> IndexStatus:
        """Return how the index of a tenant stands."""

    @abstractmethod
    def leave(self, tenant: str, user_id: str) -> None:
        """Take someone out of the index, who was forgotten or no longer lends."""

    def news(self, tenant: str) -> None:  # noqa: B027
        """Hear that somebody was learnt from. Returns at once: the index follows later."""

    def refitted(self, tenant: str) -> None:  # noqa: B027
        """Hear that what the tenant's people have in common was learnt anew, and with it what each leans to."""

    def close(self) -> None:  # noqa: B027
        """Stop following memory and release the index. Calling it twice is harmless."""
