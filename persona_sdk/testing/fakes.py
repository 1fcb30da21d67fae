"""Small honest stand-ins: a memory in a dict, and traits, personas and contexts with sensible defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import RLock
from typing import Any

from persona_sdk.calls import AnsweredCall
from persona_sdk.errors import NotFoundError
from persona_sdk.inference import Population
from persona_sdk.memory import (
    Consent,
    Forgotten,
    Leaning,
    Lent,
    Memory,
    Pending,
    Progress,
    Ruling,
    StoredSignal,
    Verdict,
    person_key,
)
from persona_sdk.models import ChatCall, Persona, Trait
from persona_sdk.signals import Signal
from persona_sdk.tailoring import TailorContext

__all__ = ["FakeMemory", "make_context", "make_persona", "make_trait"]

#: The moment at which everything made here happens, so that tests do not depend on the clock.
NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


def make_trait(key: str = "style:length", statement: str = "Prefers short answers.", **changes: Any) -> Trait:
    """Return a verified trait that is surely positive, with `changes`."""
    values = {"weight": 1.0, "interval": (0.5, 1.5), "status": "verified", "inferrer": "fake"} | changes
    return Trait(key=key, statement=statement, **values)


def make_persona(*traits: Trait, user_id: str = "ann", **changes: Any) -> Persona:
    """Return version 1 of a persona with these traits (version 0 without any), with `changes`."""
    values = {"version": 1 if traits else 0, "at": NOON} | changes
    return Persona(user_id=user_id, traits=traits, **values)


def make_context(
    *traits: Trait, max_tokens: int = 120, score: Callable[[ChatCall, Sequence[str]], Sequence[float]] | None = None
) -> TailorContext:
    """Return the context of a call in which all of these traits are relevant; without `score` nothing can score."""
    return TailorContext(
        persona=make_persona(*traits), traits=traits, score=score or _cannot_score, max_tokens=max_tokens
    )


def _cannot_score(_call: ChatCall, _answers: Sequence[str]) -> list[float]:
    return []


@dataclass
class _Person:
    signals: list[StoredSignal] = field(default_factory=list)
    learnt: int = 0
    note: str = ""
    versions: list[Persona] = field(default_factory=list)
    states: dict[int, Any] = field(default_factory=dict)
    current: int = 0
    pinned: bool = False
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    calls: list[AnsweredCall] = field(default_factory=list)
    leaning: Leaning | None = None
    consent: Consent = field(default_factory=Consent)


class FakeMemory(Memory):
    """A memory in a dict, for tests: it keeps every promise of the interface but surviving the process."""

    name = "fake"

    def __init__(self) -> None:
        self._lock = RLock()
        self._seq = self._rows = 0
        self._people: dict[tuple[str, str], _Person] = {}
        self._populations: dict[tuple[str, str], Population] = {}

    def _person(self, tenant: str, user_id: str) -> _Person:
        return self._people.get((tenant, user_id), _Person())

    def append(self, signals: Sequence[Signal]) -> list[bool]:
        """Append signals; return for each whether it was new."""
        places = [(signal.tenant, signal.user_id) for signal in signals]  # what is no signal fails here: all or none
        with self._lock:
            return [self._append(place, signal) for place, signal in zip(places, signals, strict=True)]

    def _append(self, place: tuple[str, str], signal: Signal) -> bool:
        person = self._people.setdefault(place, _Person())
        if any(stored.signal.id == signal.id for stored in person.signals):
            return False
        self._seq += 1
        person.signals.append(StoredSignal(self._seq, signal))
        return True

    def signals(self, tenant: str, user_id: str) -> list[StoredSignal]:
        """Return one person's signals in the order they were appended."""
        return list(self._person(tenant, user_id).signals)

    def users(self, tenant: str) -> Iterator[str]:
        """Iterate over everyone in the tenant who has signals."""
        with self._lock:
            return iter(sorted(user for (of, user), person in self._people.items() if of == tenant and person.signals))

    def tenants(self) -> list[str]:
        """Return the tenants that have users."""
        with self._lock:
            return sorted({tenant for (tenant, _), person in self._people.items() if person.signals})

    def pending(self, tenant: str, limit: int = 1000) -> list[Pending]:
        """Return people whose newest signal has not been learnt from yet."""
        with self._lock:
            waiting = [Pending(tenant, user) for user in self.users(tenant) if self._progress(tenant, user).pending]
        return waiting[:limit]

    def mark_learnt(self, tenant: str, user_id: str, through: int, note: str) -> None:
        """Record how far learning has come and what it said."""
        with self._lock:
            person = self._person(tenant, user_id)
            if not person.signals:
                raise NotFoundError("this person has no signals")
            person.learnt, person.note = max(person.learnt, through), note

    def current(self, tenant: str, user_id: str) -> Persona | None:
        """Return the current persona version."""
        person = self._person(tenant, user_id)
        return self._current(person, person.current) if person.current else None

    def _current(self, person: _Person, version: int) -> Persona:
        persona = person.versions[version - 1]
        return persona.model_copy(update={"note": person.note or persona.note, "pinned": person.pinned})

    def progress(self, tenant: str, user_id: str) -> Progress | None:
        """Return how far learning has come with one person."""
        return self._progress(tenant, user_id) if self._person(tenant, user_id).signals else None

    def _progress(self, tenant: str, user_id: str) -> Progress:
        person = self._person(tenant, user_id)
        return Progress(last=person.signals[-1].seq, learnt=person.learnt, note=person.note)

    def state(self, tenant: str, user_id: str, version: int) -> Mapping[str, Any] | None:
        """Return the inferrer's state stored with a version."""
        state: Mapping[str, Any] | None = deepcopy(self._person(tenant, user_id).states.get(version))
        return state

    def other_state(self, tenant: str, user_id: str) -> Mapping[str, Any] | None:
        """Return the state of the first other person who has one."""
        with self._lock:
            for (of, other), person in sorted(self._people.items(), key=lambda item: item[0]):
                if of == tenant and other != user_id and person.states.get(person.current) is not None:
                    return self.state(tenant, other, person.current)
        return None

    def remember(self, persona: Persona, state: Mapping[str, Any] | None, *, current: bool = True) -> Persona:
        """Store a new version and return it with its number."""
        with self._lock:
            key, through = (persona.tenant, persona.user_id), persona.lineage.through
            if through and all(stored.seq != through for stored in self._person(*key).signals):
                raise NotFoundError("the signal this version was learnt from is not there any more")
            person = self._people.setdefault(key, _Person())
            stored = persona.model_copy(update={"version": len(person.versions) + 1})
            person.versions.append(stored)
            person.states[stored.version] = deepcopy(state)
            if current and not person.pinned:
                person.current = stored.version
            return stored

    def versions(self, tenant: str, user_id: str) -> list[Persona]:
        """Return all versions, oldest first."""
        person = self._person(tenant, user_id)
        pinned = person.current if person.pinned else 0
        return [version.model_copy(update={"pinned": version.version == pinned}) for version in person.versions]

    def set_current(self, tenant: str, user_id: str, version: int, *, pinned: bool) -> Persona:
        """Make a version the current one, and pin it or not."""
        with self._lock:
            person = self._person(tenant, user_id)
            if not 1 <= version <= len(person.versions):
                raise NotFoundError(f"there is no version {version} of this persona")
            person.current, person.pinned = version, pinned
            return self._current(person, version)

    def verdicts(self, tenant: str, user_id: str) -> dict[str, Verdict]:
        """Return this person's rulings on traits."""
        return dict(self._person(tenant, user_id).verdicts)

    def rule(self, tenant: str, user_id: str, key: str, ruling: Ruling | None, statement: str = "") -> None:
        """Record a ruling on a trait; None takes the earlier ruling back."""
        with self._lock:
            person = self._people.setdefault((tenant, user_id), _Person())
            person.verdicts.pop(key, None)
            if ruling is not None:
                person.verdicts[key] = Verdict(key, ruling, statement)

    def population(self, tenant: str, inferrer: str) -> Population | None:
        """Return the tenant's population for an inferrer."""
        return self._populations.get((tenant, inferrer))

    def save_population(self, population: Population) -> None:
        """Replace the tenant's population for its inferrer."""
        self._populations[population.tenant, population.inferrer] = population

    def recalled(self, tenant: str, user_id: str, digests: Sequence[str]) -> dict[str, str]:
        """Return the answers known."""
        answers = self._person(tenant, user_id).answers
        return {digest: answers[digest] for digest in digests if digest in answers}

    def keep_answers(self, tenant: str, user_id: str, answers: Mapping[str, str]) -> None:
        """Keep answers, those known as they are; nothing of somebody without signals."""
        with self._lock:
            person = self._person(tenant, user_id)
            if person.signals:
                person.answers = {**answers, **person.answers}

    def keep_call(self, call: AnsweredCall) -> bool:
        """Keep an answered call; nothing of somebody without signals."""
        with self._lock:
            person = self._person(call.tenant, call.user_id)
            if person.signals:
                person.calls = [call, *(c for c in person.calls if c.response_id != call.response_id)]
            return bool(person.signals)

    def kept_call(self, tenant: str, response_id: str) -> AnsweredCall | None:
        """Return an answered call by either of its ids."""
        with self._lock:
            people = [person for (of, _), person in self._people.items() if of == tenant]
        return next((c for p in people for c in p.calls if response_id in (c.response_id, c.call_id)), None)

    def related_calls(
        self, tenant: str, user_id: str, conversations: Sequence[str], befores: Sequence[str], limit: int = 16
    ) -> list[AnsweredCall]:
        """Return a person's calls by what was asked, or stood before it."""
        known = self._person(tenant, user_id).calls
        return [c for c in known if c.conversation in conversations or c.before in befores][:limit]

    def lean(self, tenant: str, leaning: Leaning) -> None:
        """Keep what a person leans to; nothing of somebody who was forgotten."""
        with self._lock:
            person = self._person(tenant, leaning.user_id)
            kept = person.leaning
            same = kept is not None and replace(kept, row=0, through=0) == replace(leaning, row=0, through=0)
            if not same and any(stored.seq == leaning.through for stored in person.signals):
                self._rows += 1
                person.leaning = replace(leaning, weights=dict(leaning.weights), row=self._rows)

    def leaning(self, tenant: str, user_id: str) -> Leaning | None:
        """Return what a person leans to."""
        return self._person(tenant, user_id).leaning

    def leanings(self, tenant: str, keys: Sequence[str]) -> dict[str, Leaning]:
        """Return lenders' leanings by person key."""
        wanted = set(keys)
        return {key: leaning for key, leaning in self._lenders(tenant) if key in wanted}

    def lent(self, tenant: str, after: int = 0, limit: int = 10_000) -> list[Lent]:
        """Return whose leanings may be lent, in the order of their numbers."""
        lent = sorted((Lent(key, leaning.row) for key, leaning in self._lenders(tenant)), key=lambda one: one.row)
        return [one for one in lent if one.row > after][:limit]

    def _lenders(self, tenant: str) -> list[tuple[str, Leaning]]:
        with self._lock:
            people = [(user, p) for (of, user), p in self._people.items() if of == tenant and p.consent.lend]
            return [(person_key(tenant, user), p.leaning) for user, p in people if p.leaning and p.leaning.weights]

    def consent(self, tenant: str, user_id: str) -> Consent:
        """Return what a person consents to."""
        return self._person(tenant, user_id).consent

    def set_consent(
        self, tenant: str, user_id: str, *, lend: bool | None = None, borrow: bool | None = None
    ) -> Consent:
        """Record what a person consents to, None for as it was."""
        with self._lock:
            person = self._people.setdefault((tenant, user_id), _Person())
            known = person.consent
            consent = Consent(known.lend if lend is None else lend, known.borrow if borrow is None else borrow)
            person.consent = consent
            if person.leaning is not None and consent.lend and not known.lend:
                self._rows += 1
                person.leaning = replace(person.leaning, row=self._rows)
            return consent

    def forget(self, tenant: str, user_id: str) -> Forgotten:
        """Erase everything about one person."""
        with self._lock:
            person = self._people.pop((tenant, user_id), _Person())
            return Forgotten(signals=len(person.signals), versions=len(person.versions))

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
