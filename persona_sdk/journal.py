"""One person's journal of what models answered about them, kept in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from persona_sdk.memory import Memory

__all__ = ["MemoryJournal"]


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
