"""The nearest of many questions, by the words they share or by an embedder's vectors.

Paper 1 (arXiv 2501.11549, section 4) takes the nearest training prompt whatever it is about; here one that has nothing
to do with the question is none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from persona_sdk.language import Embedder
from persona_sdk.laplace import Array
from persona_sdk.text import content_words

__all__ = ["MEANT_ALIKE", "WORDED_ALIKE", "Nearest"]

#: Questions less alike than this are about something else: cosines of sentence embeddings, and of words.
MEANT_ALIKE, WORDED_ALIKE = 0.3, 0.1
#: A question's beginning, in characters, is what it is compared by; what is pasted behind it may be a book.
_READ = 2000


class Nearest:
    """Ranks texts by how close they are to another one: by cosine of their words, the rarer ones counting more.

    With an `embedder` the cosine of its vectors counts. Texts are read once, when this is made.
    """

    def __init__(self, texts: Sequence[str], embedder: Embedder | None = None) -> None:
        self._size = len(texts)
        self._embedder = embedder
        clipped = [text[:_READ] for text in texts]
        if embedder is not None:
            self._vectors = _units(np.array(embedder.embed_documents(clipped), float)) if clipped else np.zeros((0, 1))
            self._vector = dict(zip(clipped, self._vectors, strict=True))
            return
        said = [content_words(text) for text in clipped]
        having = Counter(word for one in said for word in one)
        self._weights = {word: math.log(1 + len(texts) / count) for word, count in having.items()}
        self._lengths = [math.sqrt(sum(self._weights[word] ** 2 for word in one)) for one in said]
        self._places: dict[str, list[int]] = {}
        for place, one in enumerate(said):
            for word in one:
                self._places.setdefault(word, []).append(place)

    def ranked(self, text: str) -> list[tuple[int, float]]:
        """Return the places of texts with a cosine above 0 and their cosines, nearest first, the later of equals."""
        cosines = self._by_words(text[:_READ]) if self._embedder is None else self._by_meaning(text[:_READ])
        return sorted(((place, c) for place, c in cosines.items() if c > 0), key=lambda found: (-found[1], -found[0]))

    @property
    def floor(self) -> float:
        """The cosine below which a text is about something else."""
        return WORDED_ALIKE if self._embedder is None else MEANT_ALIKE

    def _by_words(self, text: str) -> dict[int, float]:
        asked = content_words(text)
        rare = math.log(1 + self._size)  # a word that none of the texts has is as rare as can be
        length = math.sqrt(sum(self._weights.get(word, rare) ** 2 for word in asked))
        shared: dict[int, float] = {}
        for word in sorted(asked):  # the same sum, to the last digit, each time
            for place in self._places.get(word, ()):
                shared[place] = shared.get(place, 0.0) + self._weights[word] ** 2
        return {place: round(both / (length * self._lengths[place]), 6) for place, both in shared.items()}

    def _by_meaning(self, text: str) -> dict[int, float]:
        assert self._embedder is not None  # noqa: S101 - who calls has seen to it
        if not self._size:
            return {}
        vector = self._vector.get(text)
        if vector is None:
            vector = self._vector[text] = _units(np.array(self._embedder.embed_documents([text]), float))[0]
        return dict(enumerate((self._vectors @ vector).round(6).tolist()))


def _units(rows: Array) -> Array:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units: Array = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return units
