"""The memory interface: signals are appended, persona versions are kept, people are forgotten."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from persona_sdk.calls import AnsweredCall
from persona_sdk.inference import Population
from persona_sdk.models import Persona
from persona_sdk.signals import Signal

__all__ = [
    "Consent", "Forgotten", "Leaning", "Lent", "Memory", "Pending", "Progress", "Ruling", "StoredSignal", "Verdict",
    "person_key",
]  # fmt: skip

#: What a person decided about a trait: "rejected" is a tombstone that later inference respects.
Ruling: TypeAlias = Literal["rejected", "pinned"]


@dataclass(frozen=True, slots=True)
class StoredSignal:
    """A signal with its place in the log. `seq` grows with every append and never repeats, whatever clocks say."""

    seq: int
    signal: Signal


@dataclass(frozen=True, slots=True)
class Verdict:
    """A person's ruling on one trait, with the statement it was about."""

    key: str
    ruling: Ruling
    statement: str


@dataclass(frozen=True, slots=True)
class Pending:
    """Someone whose newest signal has not been learnt from yet."""

    tenant: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far learning has come with one person: the last signal's number, the last one read, and what it said."""

    last: int
    learnt: int
    note: str

    @property
    def pending(self) -> bool:
        """Whether there are signals that have not been learnt from."""
        return self.last > self.learnt


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How much was erased."""

    signals: int
    versions: int


@dataclass(frozen=True, slots=True)
class Consent:
    """Whether what someone prefers may help others, in general words only, and whether others' may help them."""

    lend: bool = True
    borrow: bool = True


@dataclass(frozen=True, slots=True)
class Leaning:
    """What one person leans to beyond everybody of the tenant, as weights by name (see `Inferrer.leaning`).

    It was learnt by `inferrer` from the signals up to number `through`, `choices` of them choices. `row` is the number
    memory gave it: it grows with every leaning that is kept, and never repeats.
    """

    user_id: str
    weights: Mapping[str, float]
    choices: int
    through: int
    inferrer: str
    row: int = 0


class Lent(NamedTuple):
    """Whose leaning may be lent, by `person_key`, and which one that is."""

    key: str
    row: int


def person_key(tenant: str, user_id: str) -> str:
    """Return 32 hexadecimal digits that stand for a person wherever their name must not be: in an index, say."""
    hashed = hashlib.sha256()
    for part in (tenant, user_id):
        encoded = part.encode("utf-8", "surrogatepass")
        hashed.update(b"%d:" % len(encoded) + encoded)  # the length keeps ("a", "bc") apart from ("ab", "c")
    return hashed.hexdigest()[:32]


class Memory(ABC):
    """Keeps signals and personas. Subclass it and register it to add a store.

    Every method is safe to call from several threads, and several processes may share one store. Every method that
    takes a tenant sees that tenant only. What a writing method has acknowledged by returning survives a crash.
    Failures raise `StorageError` (or a subclass) and leave everything as it was.
    """

    #: The name it is registered and configured under.
    name: ClassVar[str]

    @abstractmethod
    def append(self, signals: Sequence[Signal]) -> list[bool]:
        """Append signals, all or none, durably. Return for each whether it was new (False: its id is known).

        Ids are unique per tenant and user; appending a known id again changes nothing.
        """

    @abstractmethod
    def signals(self, tenant: str, user_id: str) -> list[StoredSignal]:
        """Return one person's signals in the order they were appended."""

    @abstractmethod
    def users(self, tenant: str) -> Iterator[str]:
        """Iterate over the ids of everyone in the tenant who has signals, in a stable order."""

    @abstractmethod
    def tenants(self) -> list[str]:
        """Return the tenants that have users, sorted."""

    @abstractmethod
    def pending(self, tenant: str, limit: int = 1000) -> list[Pending]:
        """Return people whose newest signal has not been learnt from yet, at most `limit`."""

    @abstractmethod
    def mark_learnt(self, tenant: str, user_id: str, through: int, note: str) -> None:
        """Record that learning has read this person's signals up to sequence number `through`, and what it said.

        Raises:
            NotFoundError: this person has no signals (any more).
        """

    @abstractmethod
    def current(self, tenant: str, user_id: str) -> Persona | None:
        """Return the current persona version; None for someone who has none. One indexed read.

        Its `note` is that of the latest `mark_learnt`, its `pinned` tells whether the version is pinned.
        """

    @abstractmethod
    def progress(self, tenant: str, user_id: str) -> Progress | None:
        """Return how far learning has come with one person; None for someone without signals."""

    @abstractmethod
    def state(self, tenant: str, user_id: str, version: int) -> Mapping[str, Any] | None:
        """Return the inferrer's state stored with a version, None if there is none."""

    @abstractmethod
    def other_state(self, tenant: str, user_id: str) -> Mapping[str, Any] | None:
        """Return the state of someone else's current version in the tenant: always the same one until data change."""

    @abstractmethod
    def remember(self, persona: Persona, state: Mapping[str, Any] | None, *, current: bool = True) -> Persona:
        """Store a new version; the number it was given is in the persona returned.

        It becomes the current one if `current`, unless a version is pinned.

        Raises:
            NotFoundError: the log no longer holds the signal `persona.lineage.through` of this person (they were
                forgotten while being learnt from), so nothing derived from it may come back. Through 0 is not checked.
        """

    @abstractmethod
    def versions(self, tenant: str, user_id: str) -> list[Persona]:
        """Return all versions, oldest first."""

    @abstractmethod
    def set_current(self, tenant: str, user_id: str, version: int, *, pinned: bool) -> Persona:
        """Make a version the current one, and pin it or not.

        Raises:
            NotFoundError: this person has no such version.
        """

    @abstractmethod
    def verdicts(self, tenant: str, user_id: str) -> dict[str, Verdict]:
        """Return this person's rulings on traits, by trait key."""

    @abstractmethod
    def rule(self, tenant: str, user_id: str, key: str, ruling: Ruling | None, statement: str = "") -> None:
        """Record a ruling on a trait; None takes the earlier ruling back."""

    @abstractmethod
    def population(self, tenant: str, inferrer: str) -> Population | None:
        """Return the tenant's population for an inferrer, None if it was never fitted."""

    @abstractmethod
    def save_population(self, population: Population) -> None:
        """Replace the tenant's population for its inferrer."""

    def recalled(self, tenant: str, user_id: str, digests: Sequence[str]) -> dict[str, str]:
        """Return what models answered about a person before, by the digest of the question; those known only."""
        return {}

    def keep_answers(self, tenant: str, user_id: str, answers: Mapping[str, str]) -> None:  # noqa: B027
        """Keep what models answered about a person, durably; known digests are left as they are.

        A memory that keeps none makes a run that was killed ask, and pay, again.
        """

    def keep_call(self, call: AnsweredCall) -> bool:
        """Keep an answered call, durably, in place of one of the same response id; the oldest may be dropped for it.

        Return whether it was kept: of somebody without signals nothing is. A memory that keeps no calls leaves it to
        the process to know what it answered.
        """
        return False

    def kept_call(self, tenant: str, response_id: str) -> AnsweredCall | None:
        """Return the answered call that is known by a response id or a call id, None if it is not kept (any more)."""
        return None

    def related_calls(
        self, tenant: str, user_id: str, conversations: Sequence[str], befores: Sequence[str], limit: int = 16
    ) -> list[AnsweredCall]:
        """Return a person's calls of one of these conversations, or with one of these before them, the newest first."""
        return []

    def lean(self, tenant: str, leaning: Leaning) -> None:  # noqa: B027
        """Keep what a person leans to, in place of what was kept before; equal weights change nothing.

        Of somebody whose signal `through` is not in the log (any more) nothing is kept. A memory that keeps no leanings
        has no similar people.
        """

    def leaning(self, tenant: str, user_id: str) -> Leaning | None:
        """Return what a person leans to, None if nothing is kept."""
        return None

    def leanings(self, tenant: str, keys: Sequence[str]) -> dict[str, Leaning]:
        """Return leanings by `person_key`, of those people of this tenant who lend, and lean to anything."""
        return {}

    def lent(self, tenant: str, after: int = 0, limit: int = 10_000) -> list[Lent]:
        """Return whose leanings may be lent, in the order of their numbers, from those above `after`.

        Whoever consents to lending anew is given a new number, so that reading on from the last one shows all news but
        who was forgotten or stopped lending. Where several processes write, a number may appear after a later one.
        """
        return []

    def consent(self, tenant: str, user_id: str) -> Consent:
        """Return what a person consents to; whoever never said anything, to both."""
        return Consent()

    def set_consent(
        self, tenant: str, user_id: str, *, lend: bool | None = None, borrow: bool | None = None
    ) -> Consent:
        """Record what a person consents to, None for as it was; return the whole. It holds from the next call on.

        Raises:
            NotImplementedError: this memory keeps no consents, and so must keep no leanings either.
        """
        raise NotImplementedError(f"the memory {self.name} keeps no consents")

    @abstractmethod
    def forget(self, tenant: str, user_id: str) -> Forgotten:
        """Erase everything about one person; no byte of their text stays in the store's files."""

    @abstractmethod
    def close(self) -> None:
        """Release connections. Calling it twice is harmless."""
