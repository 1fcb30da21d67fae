"""How much likelier a model finds a chosen answer than the rejected one (WikiPersonas, arXiv 2505.13257, metrics)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from persona_sdk.language import LikelihoodModel
from persona_sdk.tuning.rows import Row

__all__ = ["margins"]

#: Rows that are asked about at once.
_BATCH = 16


def margins(
    model: LikelihoodModel, rows: Sequence[Row], *, system: str = "", done: Callable[[int], None] = lambda _: None
) -> list[float]:
    """Return, for each pair, the mean log probability of a token of `chosen` less that of `rejected`, in nats.

    Positive where the model would rather say what was chosen. The mean over tokens makes long and short answers
    comparable; there is no reference model in it.
    """
    found: list[float] = []
    for start in range(0, len(rows), _BATCH):
        asked = []
        for row in rows[start : start + _BATCH]:
            conversation = row.conversation(system)
            asked += [(conversation, row.example.chosen or ""), (conversation, row.example.rejected or "")]
        means = [said.total / max(1, said.tokens) for said in model.log_likelihoods(asked)]
        found += [chosen - rejected for chosen, rejected in zip(means[::2], means[1::2], strict=True)]
        done(len(found))
    return found
