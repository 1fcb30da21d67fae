"""How alike prompts are: by the words they share, or by an embedder's vectors."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from persona_sdk.language import Embedder
from persona_sdk.laplace import Array
from persona_sdk.text import content_words

__all__ = ["MEANT_ALIKE", "WORDED_ALIKE", "Closeness", "by_meaning", "by_words", "clipped"]

#: Prompts that are less alike than this are about something else: cosines of sentence embeddings, and of words.
MEANT_ALIKE, WORDED_ALIKE = 0.3, 0.1
#: A prompt's beginning, in characters, is what it is compared by; what is pasted behind it may be a book.
_READ = 2000


@dataclass(frozen=True, slots=True)
class Closeness:
    """A way to compare prompts: `matrix` gives the similarity of each with each (n × n), 0 where below `floor`."""

    compare: Callable[[Sequence[str]], Array]
    floor: float

    def matrix(self, prompts: Sequence[str]) -> Array:
        """Return the similarity of each prompt with each (n × n); 0 where they have nothing to do with each other."""
        similarities = self.compare([clipped(prompt) for prompt in prompts])
        return np.where(similarities >= self.floor, similarities, 0.0)


def clipped(prompt: str) -> str:
    """Return as much of a prompt as is compared."""
    return prompt[:_READ]


def by_meaning(embedder: Embedder) -> Closeness:
    """Compare prompts by the cosine of their vectors."""

    def compare(prompts: Sequence[str]) -> Array:
        if not prompts:
            return np.zeros((0, 0))
        return _cosines(np.array(embedder.embed_documents(list(prompts)), float))

    return Closeness(compare, MEANT_ALIKE)


def by_words() -> Closeness:
    """Compare prompts by their content words; a word counts the more, the fewer of these prompts have it."""

    def compare(prompts: Sequence[str]) -> Array:
        said = [content_words(prompt) for prompt in prompts]
        having = Counter(word for one in said for word in one)
        column = {word: j for j, word in enumerate(having)}
        rows = np.zeros((len(prompts), len(column)))
        for row, one in zip(rows, said, strict=True):
            for word in one:
                row[column[word]] = math.log(1 + len(prompts) / having[word])
        return _cosines(rows)

    return Closeness(compare, WORDED_ALIKE)


def _cosines(rows: Array) -> Array:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    cosines: Array = (units @ units.T).round(6)  # equals stay equal, whatever the processor
    return cosines
