"""By meaning: an answer suits a sentence as far as their embeddings point the same way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from persona_sdk.language import Embedder, Journal
from persona_sdk.scoring import Offer, StatementScorer

__all__ = ["EmbeddingScorer"]


class EmbeddingScorer(StatementScorer):
    """Cosine similarity of sentence and answer: fast, good for what an answer is about, poor for how it is written."""

    name = "embedding"

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def score(
        self, offers: Sequence[Offer], statements: Sequence[str], journal: Journal | None = None
    ) -> list[list[list[float]]]:
        """Return cosine similarities; the journal is not used, embedding again is cheaper than looking up."""
        if not offers or not statements:
            return [[[0.0] * len(offer.answers) for _ in statements] for offer in offers]
        texts = list(dict.fromkeys(answer for offer in offers for answer in offer.answers))
        answers = dict(zip(texts, self._units(texts), strict=True))
        wanted = self._units(list(statements))
        return [(wanted @ np.array([answers[a] for a in offer.answers]).T).tolist() for offer in offers]

    def _units(self, texts: list[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        vectors = np.array(self._embedder.embed_documents(texts), dtype=np.float64)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        found: np.ndarray[tuple[int, int], np.dtype[np.float64]] = vectors / np.maximum(lengths, 1e-12)
        return found
