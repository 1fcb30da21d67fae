"""One person's journal of what models answered about them, kept in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from persona_sdk.memory import Memory

__all__ = ["MemoryJournal", "Remembered"]


class MemoryJournal:
    """A `persona_sdk.language.Journal` whose entries stand in a memory beside the person's signals.

    They are forgotten with the person; of somebody who was forgotten meanwhile nothing is kept.
    """

    def __init__(self, memory: Memory, tenant: str, user_id: str) -> None:
        self._memory, self._tenant, self._user_id = memory, tenant, user_id

    def get(self, digests: Sequence[str]) -> dict[str, str]:
        """Return the answers known, by digest."""
        return self._memory.recalled(self._tenant, self._user_id, digests)

    def put(self, answers: Mapping[str, str]) -> None:
        """Keep answers by digest, durably; those known already are left as they are."""
        self._memory.keep_answers(self._tenant, self._user_id, answers)


class Remembered:
    """A journal that lasts as long as the object: for evaluations, which ask the same of several people's signals."""

    def __init__(self) -> None:
        self._answers: dict[str, str] = {}

    def get(self, digests: Sequence[str]) -> dict[str, str]:
        """Return the answers known, by digest."""
        return {digest: self._answers[digest] for digest in digests if digest in self._answers}

    def put(self, answers: Mapping[str, str]) -> None:
        """Keep answers by digest; those known already are left as they are."""
        self._answers.update({digest: text for digest, text in answers.items() if digest not in self._answers})
