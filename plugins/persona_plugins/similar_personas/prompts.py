"""An index of what people asked: at most 20 vectors a person, the newest prompts of those who lend.

Like every index it is no more than a hint, of which memory is the truth: whose prompt is found is looked up in memory
at every call. It holds vectors and opaque keys, in fixed places a person, so that forgetting them needs no search.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np

from persona_plugins.similar_personas.closeness import MEANT_ALIKE, Closeness, by_meaning, clipped
from persona_sdk.errors import MissingExtraError
from persona_sdk.index import VectorIndex
from persona_sdk.language import Embedder
from persona_sdk.memory import Memory, person_key
from persona_sdk.signals import Utterance, prompt_text

__all__ = ["NEAREST", "PROMPTS", "Asker", "PromptIndex"]

#: A person's newest distinct prompts that are kept.
PROMPTS = 20
#: Nearest prompts of other people that are looked at.
NEAREST = 30
_PREFIX = "prompts"


class Asker(NamedTuple):
    """Who asked a similar prompt, by `person_key`, and the cosine of the nearest prompt of theirs."""

    key: str
    similarity: float


class PromptIndex:
    """Keeps the vectors of people's prompts and finds the nearest.

    `space` names the embedder: vectors of another one are not compared. Safe to call from several threads.
    """

    def __init__(
        self,
        memory: Memory,
        index: Callable[[], VectorIndex],
        embedder: Callable[[], Embedder | None],
        space: str = "minilm",
    ) -> None:
        self._memory = memory
        self._index = index
        self._embedder = embedder
        self._space = space

    def collection(self, tenant: str) -> str:
        """Return the name of a tenant's collection."""
        return f"{self.of(tenant)}{self._space}"

    @staticmethod
    def of(tenant: str) -> str:
        """Return what the names of a tenant's collections begin with, and no other tenant's."""
        return f"{_PREFIX}/{len(tenant)}:{tenant}/"

    def follow(self, tenant: str, user_id: str) -> int:
        """Bring one person's prompts up to date with memory; return how many are there now. Not part of a call.

        Raises:
            IndexUnavailableError: the index cannot be written now.
            MissingExtraError: there is no embedder.
        """
        key = person_key(tenant, user_id)
        prompts = self._newest(tenant, user_id) if key in self._memory.leanings(tenant, [key]) else {}
        places = self._places(key)
        if prompts:
            rows = np.array(self._model().embed_documents(list(prompts)), np.float32)
            self._index().put(self.collection(tenant), places[: len(prompts)], rows, list(prompts.values()))
        self._index().remove(self.collection(tenant), places[len(prompts) :])
        if prompts and key not in self._memory.leanings(tenant, [key]):  # forgotten, or opted out, meanwhile
            self.leave(tenant, user_id)
            return 0
        return len(prompts)

    def compare(self, tenant: str, lending: Collection[str]) -> list[str]:
        """Take out the prompts of whoever does not lend, by `person_key`; return those of whom there is none.

        Raises:
            IndexUnavailableError: the index cannot be read or written now.
        """
        there = {one.key: one.key.partition(":")[0] for one in self._index().stamped(self.collection(tenant))}
        gone = [place for place, key in there.items() if key not in lending]
        if gone:
            self._index().remove(self.collection(tenant), gone)
        found = set(there.values())
        return [key for key in lending if key not in found]

    def leave(self, tenant: str, user_id: str) -> None:
        """Take a person's prompts out.

        Raises:
            IndexUnavailableError: the index cannot be written now.
        """
        self._index().remove(self.collection(tenant), self._places(person_key(tenant, user_id)))

    def nearest(self, tenant: str, user_id: str, prompt: str) -> list[Asker]:
        """Return who else asked what is most like this prompt, the most similar first.

        Raises:
            IndexUnavailableError: the index cannot be read now.
            MissingExtraError: there is no embedder.
        """
        if not clipped(prompt).strip():
            return []
        vector = np.array(self._model().embed_documents([clipped(prompt)]), np.float32)
        found = self._index().nearest(self.collection(tenant), vector, NEAREST + PROMPTS)
        me = person_key(tenant, user_id)
        others = [(one.key.partition(":")[0], one.similarity) for one in found if one.similarity >= MEANT_ALIKE]
        askers: dict[str, float] = {}
        for key, similarity in [other for other in others if other[0] != me][:NEAREST]:
            askers.setdefault(key, similarity)
        return [Asker(key, similarity) for key, similarity in askers.items()]

    def closeness(self) -> Closeness:
        """Return how prompts are compared here.

        Raises:
            MissingExtraError: there is no embedder.
        """
        return by_meaning(self._model())

    def _newest(self, tenant: str, user_id: str) -> dict[str, int]:
        """Return the newest distinct prompts, the newest first, with the numbers of their signals."""
        newest: dict[str, int] = {}
        for stored in reversed(self._memory.signals(tenant, user_id)):
            prompt = "" if isinstance(stored.signal, Utterance) else clipped(prompt_text(stored.signal))
            if prompt.strip():
                newest.setdefault(prompt, stored.seq)
            if len(newest) == PROMPTS:
                break
        return newest

    @staticmethod
    def _places(key: str) -> list[str]:
        return [f"{key}:{place}" for place in range(PROMPTS)]

    def _model(self) -> Embedder:
        embedder = self._embedder()
        if embedder is None:
            needs = "similar_prompt: prompts are compared by an embedder, and there is none: pip install"
            raise MissingExtraError(f"{needs} 'persona-sdk[embeddings]', or name one in the setting embedder")
        return embedder
