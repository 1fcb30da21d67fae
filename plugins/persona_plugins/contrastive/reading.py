"""From texts to features, remembered: the same answers come again at every update of a person."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from persona_plugins.contrastive.features import features
from persona_plugins.contrastive.population import Prior, UserPairs
from persona_plugins.contrastive.space import Features, Pair
from persona_sdk.inference import Population
from persona_sdk.signals import Choice

__all__ = ["Embedder", "Reader", "prior_of"]


class Embedder(Protocol):
    """Anything with LangChain's `Embeddings.embed_documents`."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per text."""
        ...


#: Longer texts are read anew each time: remembering them would cost more memory than it saves time.
_REMEMBERED = 4000


@lru_cache(maxsize=16_384)
def _features(text: str) -> Features:
    return features(text)


class Reader:
    """Turns texts into features; with an embedder, the embedding's dimensions are features too."""

    def __init__(self, embedder: Embedder | None = None) -> None:
        self._embedder = embedder

    def read(self, texts: Sequence[str]) -> list[Features]:
        """Return the features of each text. They are shared between callers, so they are not to be changed."""
        found = [_features(text) if len(text) <= _REMEMBERED else features(text) for text in texts]
        if self._embedder is None or not texts:
            return found
        vectors = self._embedder.embed_documents(list(texts))
        return [
            {**own, **{f"e:{i}": float(x) for i, x in enumerate(vector)}}
            for own, vector in zip(found, vectors, strict=True)
        ]

    def pairs(self, choices: Sequence[Choice]) -> list[Pair]:
        """Return the features of chosen and rejected for each choice."""
        read = self.read([text for c in choices for text in (c.chosen, c.rejected)])
        return list(zip(read[::2], read[1::2], strict=True))

    def user_pairs(self, user_id: str, choices: Sequence[Choice]) -> UserPairs:
        """Return one person's choices as the population is fitted on them."""
        return UserPairs(user_id, self.pairs(choices), prompt_groups(choices))


def prompt_groups(choices: Sequence[Choice]) -> list[int]:
    """Number the prompts of choices: equal prompts alike, whoever answered them."""
    return [zlib.crc32(c.prompt.encode("utf-8", "replace")) for c in choices]


@lru_cache(maxsize=8)
def _prior(population: _Held) -> Prior:
    return Prior.from_data(population.held.data)


class _Held:
    """A population as a cache key: its fingerprint says whether it is the same."""

    def __init__(self, held: Population) -> None:
        self.held = held

    def __hash__(self) -> int:
        return hash(self.held.fingerprint)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and other.held.fingerprint == self.held.fingerprint


def prior_of(population: Population | None) -> Prior:
    """Return the prior that a population stands for; the default one without a population."""
    return Prior.default() if population is None else _prior(_Held(population))
