"""The scoring interface: how well does an answer suit a person?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from persona_sdk.inference import Population

__all__ = ["Scorer"]


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

        `silent` are the keys of traits that have nothing to say here; what they are about does not count.
        """
