"""Keeping what people lean to, from their signals: what similar people are found with."""

from __future__ import annotations

from persona_sdk.inference import InferenceRequest, Inferrer, Population
from persona_sdk.memory import Leaning, Memory
from persona_sdk.signals import choices_of

__all__ = ["lean"]


def lean(memory: Memory, inferrer: Inferrer, population: Population | None, tenant: str, user_id: str) -> None:
    """Learn what a person leans to from their signals, and keep it.

    Of someone whose version was pinned, or taken back to an earlier one, only what that version had read counts.
    """
    stored = memory.signals(tenant, user_id)
    if not stored:
        return
    newest, current = stored[-1].seq, memory.current(tenant, user_id)
    if current is not None:
        read = max((v.lineage.through for v in memory.versions(tenant, user_id)), default=0)
        if current.pinned or current.lineage.through < read:
            stored = [s for s in stored if s.seq <= current.lineage.through]
    rejected = frozenset(k for k, v in memory.verdicts(tenant, user_id).items() if v.ruling == "rejected")
    signals = [s.signal for s in stored]
    weights = (
        inferrer.leaning(InferenceRequest(tenant, user_id, signals, population, rejected=rejected)) if stored else {}
    )
    through = stored[-1].seq if stored else newest
    memory.lean(tenant, Leaning(user_id, dict(weights), len(choices_of(signals)), through, inferrer.name))
