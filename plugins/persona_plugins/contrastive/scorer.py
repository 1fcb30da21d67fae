"""Scores answers with a person's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from persona_plugins.contrastive.belief import utilities
from persona_plugins.contrastive.reading import Embedder, Reader, prior_of
from persona_sdk.inference import Population
from persona_sdk.scoring import Scorer

__all__ = ["ContrastiveScorer"]


class ContrastiveScorer(Scorer):
    """Reads the states of the `contrastive` inferrer."""

    name = "contrastive"

    def __init__(self, embedder: Embedder | None = None) -> None:
        self._reader = Reader(embedder)

    def score(
        self,
        state: Mapping[str, Any],
        population: Population | None,
        prompt: str,
        answers: Sequence[str],
        silent: frozenset[str] = frozenset(),
    ) -> list[float]:
        """Return the mean utility of each answer, in log-odds; the prompt is the same for all and adds nothing."""
        ignored = {f"s:{key[6:]}" if key.startswith("style:") else key.removeprefix("choice:") for key in silent}
        read = self._reader.read(answers)
        if ignored:
            read = [{name: value for name, value in f.items() if name not in ignored} for f in read]
        return utilities(prior_of(population), state, read)
