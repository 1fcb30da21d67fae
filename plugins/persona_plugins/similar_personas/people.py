"""`SimilarPersonas`: who is similar, and what they may lend, from memory and an index that follows it."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from persona_plugins.similar_personas.blending import NEIGHBOURS, Borrowing, Likeness
from persona_plugins.similar_personas.closeness import by_meaning, by_words
from persona_plugins.similar_personas.following import Basis, Following
from persona_plugins.similar_personas.options import Options
from persona_plugins.similar_personas.prompts import PromptIndex
from persona_plugins.similar_personas.sketch import sketch
from persona_plugins.similar_personas.verifying import Way, verify_own_choices, verify_similar_prompt
from persona_sdk.errors import IndexUnavailableError, MissingExtraError, PersonaError
from persona_sdk.index import VectorIndex
from persona_sdk.inference import History, Inferrer, Population
from persona_sdk.language import Embedder
from persona_sdk.learning import BackgroundLearner
from persona_sdk.memory import Leaning, Memory, person_key
from persona_sdk.similar import IndexStatus, Neighbour, SimilarPeople, Study

__all__ = ["Lender", "SimilarPersonas", "Source"]

_log = logging.getLogger("persona_sdk")

#: Most people that what may be borrowed is verified on.
_STUDIED = 2000
#: Seconds for which a population, or what was verified, is used before another process's is looked for.
_AGE = 30.0
#: Seconds between two lines in the log about an index that cannot be used.
_QUIET = 60.0
#: Seconds between two tries to open an index that cannot be read.
_AGAIN = 5.0
#: What is found beyond what was asked for: the person, and some who may not lend any more.
_SPARE = 4
#: So many are found to be compared exactly when lenders are looked for: sketches alone mistake who is a little alike.
_CANDIDATES = 3 * NEIGHBOURS


@dataclass(frozen=True, slots=True)
class Lender:
    """Someone who prefers alike, with what they lean to; `similarity` is above 0."""

    user_id: str
    similarity: float
    leaning: Leaning


@dataclass(frozen=True, slots=True)
class Source:
    """Where the rest comes from; each is asked for when it is first needed.

    `embedder` compares prompts by meaning, None if they are compared by their words; `prompts` finds those of others.
    """

    memory: Memory
    inferrer: Callable[[], Inferrer]
    index: Callable[[], VectorIndex]
    embedder: Callable[[], Embedder | None] = lambda: None
    prompts: PromptIndex | None = None


class SimilarPersonas(SimilarPeople):
    """Compares people by what they lean to, in the groups of names that were shown to predict.

    The index follows memory in a thread. Without `background`, whoever asks for neighbours waits until it has.
    """

    name = "similar_personas"

    def __init__(self, source: Source, options: Options, *, background: bool = True) -> None:
        self.memory = source.memory
        self.options = options
        self._source = source
        self._following = Following(source.memory, source.index, source.prompts)
        self._waits = not background
        self._background = BackgroundLearner(self._in_background)
        self._kept: dict[tuple[str, str], tuple[float, Population | None]] = {}
        self._problem: tuple[float, str] = (float("-inf"), "")
        self._ready = self._closed = False
        self._woken = float("-inf")

    # Who is similar

    def neighbours(self, tenant: str, user_id: str, limit: int = 10) -> list[Neighbour]:
        """Return the people most similar to one person, the most similar first."""
        if self._waits and tenant not in self.options.no_lending and self._following.due(tenant, self._basis(tenant)):
            self.follow(tenant)
        found = self._found(tenant, user_id, limit, limit + _SPARE)
        return [Neighbour(one.user_id, one.similarity) for one in found]

    def lenders(self, tenant: str, user_id: str) -> list[Lender]:
        """Return those similar people whom this person borrows from.

        There are none where they, or their tenant, do not borrow, and none while the index cannot be read.
        """
        if tenant in self.options.no_borrowing or not self.memory.consent(tenant, user_id).borrow:
            return []
        try:
            return self._found(tenant, user_id, NEIGHBOURS, _CANDIDATES)
        except IndexUnavailableError:
            return []

    def away(self, tenant: str) -> str:
        """Return why the index cannot be read in a chat now, "" if it can; the thread then sees to it.

        Opening an index takes longer than a chat may, and one that is away must not be waited for at every call.
        """
        if self._ready:
            return ""
        if time.monotonic() - self._woken > _AGAIN:
            self._woken = time.monotonic()
            self.news(tenant)
        return "the index cannot be read now" if self._problem[1] else "the index is being opened"

    def _found(self, tenant: str, user_id: str, limit: int, candidates: int) -> list[Lender]:
        """Return the most similar of so many candidates that the index names, compared exactly."""
        own = self.memory.leaning(tenant, user_id)
        basis = self._basis(tenant)
        if own is None or own.inferrer != basis.inferrer or tenant in self.options.no_lending or limit < 1:
            return []
        if self._following.old(tenant, basis):  # another process may have learnt
            self.news(tenant)
        vector = sketch(own.weights, basis.groups)
        found = self._read(basis.collection(tenant), vector, candidates)
        me = person_key(tenant, user_id)
        keys = [one.key for one in found if one.key != me]
        leanings = self.memory.leanings(tenant, keys)
        if len(leanings) < len(keys):  # forgotten, or not lending any more: the index will follow
            self._following.suspect(tenant)
            self.news(tenant)
        likeness = Likeness(own.weights, basis.groups)
        lenders = [
            Lender(leaning.user_id, likeness.to(leaning.weights), leaning)
            for leaning in leanings.values()
            if leaning.inferrer == own.inferrer
        ]
        alike = [one for one in lenders if one.similarity > 0]
        return sorted(alike, key=lambda one: (-one.similarity, one.leaning.row))[:limit]

    def _read(self, collection: str, vector: Any, limit: int) -> Sequence[Any]:
        try:
            found = self._source.index().nearest(collection, vector, limit)
        except PersonaError as error:
            self._complain(error)
            raise
        self._works()
        return found

    # What may be borrowed

    def borrowing(self, tenant: str) -> Borrowing | None:
        """Return what was verified on this tenant's people, None if nothing was yet, or not as things stand now."""
        found = self._verified(tenant)
        if found is None:
            return None
        borrowing = Borrowing.from_data(found.data["borrowing"])
        return borrowing if borrowing.agree == self.options.agree else None

    def way(self, tenant: str, name: str) -> Way | None:
        """Return what was verified of "own_choices" or "similar_prompt", None if nothing was yet."""
        kept = self._verified(tenant)
        data = {} if kept is None else kept.data["ways"]
        return Way.from_data(data[name]) if name in data else None

    def population(self, tenant: str) -> Population | None:
        """Return what the tenant's people have in common."""
        return self._population(tenant, self.inferrer().name)

    def inferrer(self) -> Inferrer:
        """Return the inferrer whose leanings are compared."""
        return self._source.inferrer()

    def _verified(self, tenant: str) -> Population | None:
        """Return what was verified, if that was on the population there is now: another has other names and units."""
        kept, population = self._population(tenant, self._verified_as()), self.population(tenant)
        return kept if kept is not None and kept.fingerprint == _fingerprint(population) else None

    def _verified_as(self) -> str:
        return f"{self.name}/{self.inferrer().name}"

    def _population(self, tenant: str, name: str) -> Population | None:
        kept = self._kept.get((tenant, name))
        if kept is None or time.monotonic() - kept[0] > _AGE:
            found = self.memory.population(tenant, name)
            kept = (time.monotonic(), found if found is not None and found.users else None)
            self._kept[tenant, name] = kept
        return kept[1]

    def _basis(self, tenant: str) -> Basis:
        kept = self._population(tenant, self._verified_as())  # people can be compared while it is verified anew
        groups = frozenset(kept.data["borrowing"]["groups"]) if kept is not None else None
        return Basis(self.inferrer().name, groups or None)

    # The index

    def follow(self, tenant: str) -> int:
        """Bring the index up to date with memory, now, and return how many vectors were changed."""
        if tenant in self.options.no_lending:
            return 0
        try:
            changed = self._following.follow(tenant, self._basis(tenant))
        except IndexUnavailableError as error:
            self._complain(error)
            raise
        self._works()
        return changed

    def rebuild(self, tenant: str) -> IndexStatus:
        """Verify what may be borrowed, and build the index from memory."""
        self.verify(tenant)
        self._following.drop_others(tenant, None)
        self._following.suspect(tenant)
        self.follow(tenant)
        return self.status(tenant)

    def verify(self, tenant: str) -> Borrowing:
        """Decide on held-out choices of the tenant's people what may be borrowed, and keep that."""
        from persona_plugins.similar_personas.fitting import fit  # noqa: PLC0415 - takes its time; loaded when used

        self._kept.clear()
        histories, population = self._histories(tenant), self.population(tenant)
        shared = tenant not in self.options.no_lending
        agree = self.options.agree
        borrowing = fit(self.inferrer(), population, histories, agree=agree) if shared else Borrowing(agree=agree)
        verified = Population(
            tenant=tenant,
            inferrer=self._verified_as(),
            fingerprint=_fingerprint(population),
            users=max(1, len(histories)),
            choices=borrowing.choices,
            data={"borrowing": borrowing.to_data(), "ways": self._ways(population, histories, shared=shared)},
        )
        self.memory.save_population(verified)
        self._kept.pop((tenant, self._verified_as()), None)
        return borrowing

    def _ways(
        self, population: Population | None, histories: Sequence[History], *, shared: bool
    ) -> dict[str, dict[str, Any]]:
        """Verify the ways that go by similar prompts; others' prompts only where they are compared at all."""
        embedder = self._source.embedder()
        closeness = by_words() if embedder is None else by_meaning(embedder)
        inferrer = self.inferrer()
        ways = [verify_own_choices(inferrer, population, histories, closeness, self.options.shots)]
        if self._source.prompts is not None and shared:
            try:
                nearest = self._source.prompts.closeness()
                ways.append(verify_similar_prompt(inferrer, population, histories, nearest))
            except MissingExtraError as error:
                _log.warning("whether similar prompts tell anything was not verified: %s", error)
        return {way.name: way.to_data() for way in ways}

    def _histories(self, tenant: str) -> list[History]:
        """Draw people at random, the same ones for the same people; those who do not lend are not studied."""
        rng = random.Random(0)  # noqa: S311 - a seeded draw
        drawn: list[str] = []
        for i, user_id in enumerate(self.memory.users(tenant)):
            place = i if i < _STUDIED else rng.randrange(i + 1)
            if place < _STUDIED:
                drawn[place : place + 1] = [user_id]
        lending = [user_id for user_id in sorted(drawn) if self.memory.consent(tenant, user_id).lend]
        return [History(u, [s.signal for s in self.memory.signals(tenant, u)]) for u in lending]

    def study(
        self, tenant: str, inferrer: Inferrer, population: Population | None, histories: Sequence[History]
    ) -> Study:
        """Work out what similar people bring to each other among these, for evaluation."""
        from persona_plugins.similar_personas.study import LeaningStudy  # noqa: PLC0415 - evaluation only

        return LeaningStudy(inferrer, population, histories, self.options.agree)

    def status(self, tenant: str) -> IndexStatus:
        """Return how the index of a tenant stands."""
        borrowing = self.borrowing(tenant)
        verified = {"borrowing": borrowing.verified} if borrowing else {}
        for name in ("own_choices", "similar_prompt"):
            way = self.way(tenant, name)
            verified |= {name: way.verified} if way else {}
        if tenant in self.options.no_lending:
            return IndexStatus(0, 0, "this tenant does not lend", verified)
        basis = self._basis(tenant)
        expected, people, problem = self._following.expected(tenant, basis), 0, self._problem[1]
        try:
            people = self._source.index().count(basis.collection(tenant))
        except IndexUnavailableError as error:
            problem = str(error)
        return IndexStatus(people, expected, problem, verified)

    def leave(self, tenant: str, user_id: str) -> None:
        """Take someone out of the index who does not lend (any more)."""
        try:
            self._following.leave(tenant, person_key(tenant, user_id))
            if self._source.prompts is not None:
                self._source.prompts.leave(tenant, user_id)
        except IndexUnavailableError as error:
            self._following.suspect(tenant)
            self._complain(error)

    # News

    def news(self, tenant: str) -> None:
        """Have the index follow soon: somebody was learnt from."""
        if tenant not in self.options.no_lending:
            self._background.submit(tenant, "follow")

    def refitted(self, tenant: str) -> None:
        """Verify again, and have the index follow: everybody's names and units are new."""
        if self._waits:
            self.verify(tenant)
            self.news(tenant)
        else:
            self._background.submit(tenant, "verify")

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the index has caught up; False if `timeout` seconds were not enough."""
        return self._background.flush(timeout)

    def _in_background(self, tenant: str, what: str) -> None:
        try:
            if what == "verify":
                self.verify(tenant)
            self.follow(tenant)
        except PersonaError as error:  # what the index could not be told is found when all is compared
            self._complain(error)

    def close(self) -> None:
        """Stop following memory. What is missing in the index is found when it is next opened."""
        self._closed = True
        self._background.close(timeout=2)

    def _works(self) -> None:
        if self._problem[1]:
            _log.warning("similar people can be found again")
        self._problem, self._ready = (self._problem[0], ""), True

    def _complain(self, error: PersonaError) -> None:
        """Tell the operator, once a minute, that people are not compared now."""
        self._ready = False
        if self._closed:
            return
        last, _ = self._problem
        now = time.monotonic()
        if now - last > _QUIET:
            _log.warning("similar people cannot be found now, chats go on without them: %s", error)
            last = now
        self._problem = (last, str(error))


def _fingerprint(population: Population | None) -> str:
    return population.fingerprint if population is not None else ""
