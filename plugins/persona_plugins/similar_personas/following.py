"""The index follows memory: what is in memory is found, and what is not is taken out.

Memory is the truth. Every leaning it keeps has a number that grows, so news are read from the last number on; whatever
that misses (a crash between the two, a person forgotten by another process, an index put back from a backup) is found
by comparing all numbers with the stamps in the index, once in each process and every ten minutes. Until then a vector
that is out of date does no harm: whoever reads the index looks up in memory what was found.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from persona_plugins.similar_personas.prompts import PromptIndex
from persona_plugins.similar_personas.sketch import DIMENSIONS, sketch
from persona_sdk.errors import MissingExtraError
from persona_sdk.index import VectorIndex
from persona_sdk.memory import Lent, Memory

__all__ = ["Basis", "Following"]

_log = logging.getLogger("persona_sdk")

#: People whose vectors are put at once.
_BATCH = 1000
#: Seconds after which everything is compared again, and after which it is worth asking for news of other processes.
_COMPARED = 600.0
_OLD = 10.0
_PREFIX = "personas"


@dataclass(frozen=True, slots=True)
class Basis:
    """What vectors are made of: the leanings of one inferrer, in some groups of names (None: in all)."""

    inferrer: str
    groups: frozenset[str] | None = None

    def collection(self, tenant: str) -> str:
        """Return the name of a tenant's collection; another basis has another."""
        groups = "*" if self.groups is None else "+".join(sorted(self.groups))
        return f"{self.of(tenant)}{self.inferrer}/{groups}"

    @staticmethod
    def of(tenant: str) -> str:
        """Return what the names of all of a tenant's collections begin with, and no other tenant's."""
        return f"{_PREFIX}/{len(tenant)}:{tenant}/"


@dataclass(slots=True)
class _Progress:
    """How far the index of one tenant has come: the last number read, and who has no vector in this basis."""

    basis: Basis
    read: int = 0
    followed: float = float("-inf")
    compared: float = float("-inf")
    count: int = 0
    blank: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Following:
    """Brings collections up to date with memory. Safe to use from several threads; one process writes an index.

    With `prompts`, what people asked is followed, too.
    """

    def __init__(
        self,
        memory: Memory,
        index: Callable[[], VectorIndex],
        prompts: PromptIndex | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory = memory
        self._index = index
        self._prompts = prompts
        self._clock = clock
        self._progress: dict[str, _Progress] = {}
        self._lock = threading.Lock()

    def follow(self, tenant: str, basis: Basis) -> int:
        """Read the news of a tenant, everything where that is due, and return how many vectors were changed.

        Raises:
            IndexUnavailableError: the index cannot be written now; what is missing is made up for the next time.
        """
        progress = self._of(tenant, basis)
        with progress.lock:
            progress.followed = self._clock()
            collection = progress.basis.collection(tenant)
            if self._clock() - progress.compared > _COMPARED or self._index().count(collection) < progress.count:
                changed = self._compare(tenant, progress)  # due, or somebody has emptied it under us
                progress.count = self._index().count(collection)
                return changed
            news = list(self._lent(tenant, progress.read))
            changed = self._put(tenant, progress, news)
            progress.read = max((lent.row for lent in news), default=progress.read)
            progress.count = self._index().count(collection)
            return changed

    def suspect(self, tenant: str) -> None:
        """Compare everything the next time: something was found that memory does not know."""
        progress = self._progress.get(tenant)
        if progress is not None:
            progress.compared = float("-inf")

    def old(self, tenant: str, basis: Basis) -> bool:
        """Return whether the index was last brought up to date some time ago, or never; asks nobody."""
        progress = self._progress.get(tenant)
        return progress is None or progress.basis != basis or self._clock() - progress.followed > _OLD

    def due(self, tenant: str, basis: Basis) -> bool:
        """Return whether there is something to be done."""
        progress = self._progress.get(tenant)
        if progress is None or progress.basis != basis or self._clock() - progress.compared > _COMPARED:
            return True
        return bool(self._memory.lent(tenant, progress.read, 1))

    def expected(self, tenant: str, basis: Basis) -> int:
        """Return how many people the index should hold."""
        progress = self._progress.get(tenant)
        blank = progress.blank if progress is not None and progress.basis == basis else set()
        return sum(lent.key not in blank for lent in self._lent(tenant, 0))

    def drop_others(self, tenant: str, basis: Basis | None) -> None:
        """Remove a tenant's collections of every other basis; with None all of them, and those of prompts."""
        kept = basis.collection(tenant) if basis else None
        ours = (Basis.of(tenant),) if basis else (Basis.of(tenant), PromptIndex.of(tenant))
        for name in self._index().collections():
            if name.startswith(ours) and name != kept:
                self._index().drop(name)

    def leave(self, tenant: str, key: str) -> None:
        """Take somebody out of all of a tenant's collections."""
        for name in self._index().collections():
            if name.startswith(Basis.of(tenant)):
                self._index().remove(name, [key])
        progress = self._progress.get(tenant)
        if progress is not None:
            progress.count = max(0, progress.count - 1)

    def _of(self, tenant: str, basis: Basis) -> _Progress:
        with self._lock:
            known = self._progress.get(tenant)
            if known is None or known.basis != basis:
                known = self._progress[tenant] = _Progress(basis)
            return known

    def _lent(self, tenant: str, after: int) -> Iterator[Lent]:
        while page := self._memory.lent(tenant, after):
            yield from page
            after = page[-1].row

    def _compare(self, tenant: str, progress: _Progress) -> int:
        collection, index = progress.basis.collection(tenant), self._index()
        there = {found.key: found.stamp for found in index.stamped(collection)}
        lent = {one.key: one.row for one in self._lent(tenant, 0)}
        gone = [key for key in there if key not in lent]
        if gone:
            index.remove(collection, gone)
        progress.blank.clear()
        missing = [Lent(key, row) for key, row in lent.items() if there.get(key) != row]
        changed = self._put(tenant, progress, missing)
        self._ask_for(functools.partial(self._compare_prompts, tenant, lent))
        self.drop_others(tenant, progress.basis)  # of an earlier basis: who was forgotten since is still in it
        progress.read = max(lent.values(), default=0)
        progress.compared = self._clock()
        return changed + len(gone)

    def _put(self, tenant: str, progress: _Progress, news: Iterable[Lent]) -> int:
        collection, index = progress.basis.collection(tenant), self._index()
        keys = list(dict.fromkeys(one.key for one in news))
        changed = 0
        for start in range(0, len(keys), _BATCH):
            leanings = self._memory.leanings(tenant, keys[start : start + _BATCH])
            vectors = {
                key: sketch(leaning.weights, progress.basis.groups)
                for key, leaning in leanings.items()
                if leaning.inferrer == progress.basis.inferrer
            }
            blank = [key for key in keys[start : start + _BATCH] if not np.any(vectors.get(key, 0))]
            there = [key for key in vectors if np.any(vectors[key])]
            if blank:  # of somebody who was forgotten, or stopped lending, meanwhile, too
                index.remove(collection, blank)
            # Before the stamps: whoever is killed in between finds these people missing, and does both again.
            self._ask_for(functools.partial(self._follow_prompts, tenant, there))
            if there:
                rows = np.array([vectors[key] for key in there], np.float32).reshape(-1, DIMENSIONS)
                index.put(collection, there, rows, [leanings[key].row for key in there])
                still = self._memory.leanings(tenant, there)
                if gone := [key for key in there if key not in still]:  # forgotten, or opted out, meanwhile
                    index.remove(collection, gone)
            progress.blank.difference_update(there)
            progress.blank.update(blank)
            changed += len(there)
        return changed

    def _follow_prompts(self, tenant: str, keys: Sequence[str], prompts: PromptIndex) -> None:
        for start in range(0, len(keys), _BATCH):
            for leaning in self._memory.leanings(tenant, keys[start : start + _BATCH]).values():
                prompts.follow(tenant, leaning.user_id)

    def _compare_prompts(self, tenant: str, lending: Collection[str], prompts: PromptIndex) -> None:
        self._follow_prompts(tenant, prompts.compare(tenant, lending), prompts)

    def _ask_for(self, work: Callable[[PromptIndex], None]) -> None:
        """Do something about prompts; where nothing can embed them, people are compared without."""
        if self._prompts is None:
            return
        try:
            work(self._prompts)
        except MissingExtraError as error:
            self._prompts = None
            _log.warning("what people asked is not compared: %s", error)
