"""The memory itself: every method of the interface, in terms of the tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

from sqlalchemy import Connection, Row, bindparam, case, delete, exists, func, select, update

from persona_plugins.sql_memory import answers as kept
from persona_plugins.sql_memory import codec, people, tables
from persona_plugins.sql_memory.cache import Personas
from persona_plugins.sql_memory.calls import Answering
from persona_plugins.sql_memory.leanings import Lending
from persona_plugins.sql_memory.store import Store
from persona_plugins.sql_memory.tables import (
    digest,
    names,
    notes,
    persons,
    populations,
    signals,
    tenants,
    verdicts,
    versions,
)
from persona_sdk.errors import NotFoundError, SettingsError
from persona_sdk.inference import Population
from persona_sdk.memory import Forgotten, Memory, Pending, Progress, Ruling, StoredSignal, Verdict
from persona_sdk.models import Persona
from persona_sdk.signals import Signal

__all__ = ["SqlMemory"]

_PAGE = 1000  # users read at a time
_MAX_VERSION = 2**31 - 1

_mine = persons.c.digest == bindparam("digest")
_CURRENT = (
    select(persons.c.current_row, persons.c.pinned, notes.c.note)
    .outerjoin(notes, notes.c.row == persons.c.note_row)
    .where(_mine)
)
_PROGRESS = (
    select(persons.c.last_seq, persons.c.learnt_through, notes.c.note)
    .outerjoin(notes, notes.c.row == persons.c.note_row)
    .where(_mine, persons.c.last_seq > 0)
)
_PERSONA = select(versions.c.persona).where(versions.c.row == bindparam("row"))
_SIGNALS = (
    select(signals.c.seq, signals.c.payload)
    .join(persons, persons.c.person == signals.c.person)
    .where(_mine)
    .order_by(signals.c.seq)
)
_VERSIONS = (
    select(versions.c.row, versions.c.persona, persons.c.current_row, persons.c.pinned)
    .join(persons, persons.c.person == versions.c.person)
    .where(_mine)
    .order_by(versions.c.version)
)
_STATE = (
    select(versions.c.state)
    .join(persons, persons.c.person == versions.c.person)
    .where(_mine, versions.c.version == bindparam("version"))
)
_VERDICTS = (
    select(verdicts.c.key, verdicts.c.ruling, verdicts.c.statement)
    .join(persons, persons.c.person == verdicts.c.person)
    .where(_mine)
    .order_by(verdicts.c.row)
)


class SqlMemory(Lending, Answering, Memory):
    """Memory in SQLite (one file, several processes) or PostgreSQL, through SQLAlchemy.

    `url` is an SQLAlchemy URL; `busy_timeout` is how many seconds to wait for another writer; `cached_personas` is
    how many parsed personas to keep, `kept_calls` how many answered calls of each person. On SQLite, `forget` leaves
    no byte of a person's text in the file or its log.
    On PostgreSQL the rows are gone for every reader at once; when the server's disk blocks, log and backups lose
    them is up to its VACUUM, log recycling and backup policy.
    """

    name: ClassVar[str] = "sql_memory"

    def __init__(
        self, url: str, *, busy_timeout: float = 5.0, cached_personas: int = 1024, kept_calls: int = 200
    ) -> None:
        self._store = Store(url, busy_timeout=busy_timeout)
        self._cache = Personas(cached_personas)
        self._kept_calls = int(kept_calls)

    def __repr__(self) -> str:
        return f"SqlMemory({self._store.url.render_as_string(hide_password=True)!r})"

    @classmethod
    def from_options(cls, url: str, options: Mapping[str, Any]) -> SqlMemory:
        """Build one from a settings file's options.

        Raises:
            SettingsError: naming the option that is unknown or impossible.
        """
        known = ("busy_timeout", "cached_personas", "kept_calls")
        for option, value in options.items():
            if option not in known:
                raise SettingsError(f"sql_memory: unknown option {option!r}; known are {', '.join(known)}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10**9:
                raise SettingsError(f"sql_memory: option {option!r} must be a number above 0")
        return cls(url, **options)

    def append(self, signals: Sequence[Signal]) -> list[bool]:
        """Append signals in one transaction; see `Memory.append`."""
        rows: dict[tuple[bytes, bytes], dict[str, Any]] = {}
        who_is: dict[bytes, tuple[str, str]] = {}
        keys: list[tuple[bytes, bytes]] = []
        for signal in signals:
            who = digest(signal.tenant, signal.user_id)
            key = (who, digest(signal.id))
            who_is[who] = (signal.tenant, signal.user_id)
            keys.append(key)
            if key not in rows:
                payload = codec.dump(signal, "signal")
                rows[key] = {"digest": key[1], "kind": signal.kind, "at": signal.at, "payload": payload}
        if not rows:
            return []
        with self._store.writing() as connection:
            numbers = people.enter(connection, self._store, who_is)
            new = people.add_signals(connection, self._store, rows, numbers)
        answers = []
        for key in keys:
            answers.append(key in new)
            new.discard(key)  # of several with one id in a batch, the first is the new one
        return answers

    def signals(self, tenant: str, user_id: str) -> list[StoredSignal]:
        """Return one person's signals in order; see `Memory.signals`."""
        with self._store.reading() as connection:
            rows = connection.execute(_SIGNALS, {"digest": digest(tenant, user_id)}).all()
        return [StoredSignal(seq, codec.load_signal(payload)) for seq, payload in rows]

    def users(self, tenant: str) -> Iterator[str]:
        """Iterate over people with signals in the order of their first appearance; see `Memory.users`."""
        page = (
            select(persons.c.person, names.c.user_id)
            .join(names, names.c.person == persons.c.person)
            .where(persons.c.scope == digest(tenant), persons.c.last_seq > 0)
            .where(persons.c.person > bindparam("after"))
            .order_by(persons.c.person)
            .limit(_PAGE)
        )
        after = 0
        while True:
            # A page at a time: an open cursor would keep `forget` from cutting the log.
            with self._store.reading() as connection:
                rows = connection.execute(page, {"after": after}).all()
            yield from (user_id for _, user_id in rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1].person

    def tenants(self) -> list[str]:
        """Return the tenants in which someone has signals, sorted; see `Memory.tenants`."""
        used = exists().where(persons.c.scope == tenants.c.scope, persons.c.last_seq > 0)
        with self._store.reading() as connection:
            return sorted(connection.scalars(select(tenants.c.name).where(used)))

    def pending(self, tenant: str, limit: int = 1000) -> list[Pending]:
        """Return who is to be learnt from, longest waiting first; see `Memory.pending`."""
        waiting = (
            select(names.c.user_id)
            .join(persons, names.c.person == persons.c.person)
            .where(persons.c.scope == digest(tenant), persons.c.last_seq > persons.c.learnt_through)
            .order_by(persons.c.last_seq)
            .limit(max(0, limit))
        )
        with self._store.reading() as connection:
            return [Pending(tenant, user_id) for user_id in connection.scalars(waiting)]

    def mark_learnt(self, tenant: str, user_id: str, through: int, note: str) -> None:
        """Record how far learning has read; see `Memory.mark_learnt`."""
        who = digest(tenant, user_id)
        through = min(through, people.MAX_SEQ)
        with self._store.writing() as connection:
            person = people.lock(connection, [who]).get(who)
            if person is None or not people.has_signal(connection, person):
                raise NotFoundError("this person has no signals; they may have been forgotten meanwhile")
            newest = connection.scalar(
                select(notes.c.note).join(persons, notes.c.row == persons.c.note_row).where(persons.c.person == person)
            )
            values: dict[str, Any] = {
                # A slower process that has read less does not turn the clock back.
                "learnt_through": case((persons.c.learnt_through < through, through), else_=persons.c.learnt_through)
            }
            if newest != note:
                connection.execute(self._store.erase(notes).where(notes.c.person == person))
                added = notes.insert().values(person=person, note=note).returning(notes.c.row)
                values["note_row"] = connection.scalar(added)
            connection.execute(update(persons).where(persons.c.person == person).values(values))

    def current(self, tenant: str, user_id: str) -> Persona | None:
        """Return the current version; see `Memory.current`."""
        with self._store.reading() as connection:
            return self._current(connection, tenant, user_id)

    def _current(self, connection: Connection, tenant: str, user_id: str) -> Persona | None:
        found = connection.execute(_CURRENT, {"digest": digest(tenant, user_id)}).first()
        if found is None or found[0] is None:
            return None
        row, pinned, note = found
        persona = self._cache.get(row)
        if persona is None:
            stored = connection.scalar(_PERSONA, {"row": row})
            if stored is None:
                return None  # forgotten between the two reads
            persona = codec.load_persona(stored)
        if persona.pinned != pinned or (note is not None and persona.note != note):
            persona = persona.model_copy(update={"pinned": pinned, "note": persona.note if note is None else note})
        self._cache.put(row, persona)
        return persona

    def progress(self, tenant: str, user_id: str) -> Progress | None:
        """Return how far learning has come, its note "" before it ever ran; see `Memory.progress`."""
        with self._store.reading() as connection:
            found = connection.execute(_PROGRESS, {"digest": digest(tenant, user_id)}).first()
        return None if found is None else Progress(found.last_seq, found.learnt_through, found.note or "")

    def state(self, tenant: str, user_id: str, version: int) -> Mapping[str, Any] | None:
        """Return the state stored with a version; see `Memory.state`."""
        if not 0 < version <= _MAX_VERSION:
            return None
        with self._store.reading() as connection:
            who = digest(tenant, user_id)
            return codec.load_state(connection.scalar(_STATE, {"digest": who, "version": version}))

    def other_state(self, tenant: str, user_id: str) -> Mapping[str, Any] | None:
        """Return the state of whoever comes next in the tenant, the first after the last; see `Memory.other_state`."""
        others = (
            select(versions.c.state)
            .join(persons, persons.c.state_row == versions.c.row)
            .where(persons.c.scope == digest(tenant), persons.c.state_row.is_not(None))
            .order_by(persons.c.person)
            .limit(1)
        )
        mine = select(persons.c.person).where(_mine)
        with self._store.reading() as connection:
            me = connection.scalar(mine, {"digest": digest(tenant, user_id)}) or 0
            found = connection.scalar(others.where(persons.c.person > me))
            if found is None:
                found = connection.scalar(others.where(persons.c.person < me))
        return codec.load_state(found)

    def remember(self, persona: Persona, state: Mapping[str, Any] | None, *, current: bool = True) -> Persona:
        """Store a new version; see `Memory.remember`."""
        encoded_state = codec.dump_state(state)
        codec.dump(persona, "persona")  # refuse what cannot be stored before anything is locked
        with self._store.writing() as connection:
            person = people.enter_one(connection, self._store, persona.tenant, persona.user_id)
            through = persona.lineage.through
            if through and not people.has_signal(connection, person, through):
                raise NotFoundError(
                    f"signal {through}, which this persona was learnt from, is not in the log (any more); the person "
                    "may have been forgotten meanwhile, so nothing was stored"
                )
            newest = connection.scalar(select(func.max(versions.c.version)).where(versions.c.person == person))
            stored = persona.model_copy(update={"version": (newest or 0) + 1, "pinned": False})
            row = connection.scalar(
                versions.insert()
                .values(
                    person=person,
                    version=stored.version,
                    at=stored.at,
                    persona=codec.dump(stored, "persona"),
                    state=encoded_state,
                )
                .returning(versions.c.row)
            )
            if current:
                connection.execute(
                    update(persons)
                    .where(persons.c.person == person, persons.c.pinned.is_(False))
                    .values(current_row=row, state_row=None if state is None else row)
                )
        return stored

    def versions(self, tenant: str, user_id: str) -> list[Persona]:
        """Return all versions, oldest first; see `Memory.versions`."""
        with self._store.reading() as connection:
            rows = connection.execute(_VERSIONS, {"digest": digest(tenant, user_id)}).all()
        return [_version(row) for row in rows]

    def set_current(self, tenant: str, user_id: str, version: int, *, pinned: bool) -> Persona:
        """Make a version the current one; see `Memory.set_current`."""
        who = digest(tenant, user_id)
        with self._store.writing() as connection:
            person = people.lock(connection, [who]).get(who)
            wanted = select(versions.c.row, versions.c.state.is_not(None).label("has_state")).where(
                versions.c.person == person, versions.c.version == version
            )
            possible = person is not None and 0 < version <= _MAX_VERSION
            found = connection.execute(wanted).first() if possible else None
            if found is None:
                raise NotFoundError(f"there is no version {version} of this persona; `versions` lists what there is")
            connection.execute(
                update(persons)
                .where(persons.c.person == person)
                .values(current_row=found.row, state_row=found.row if found.has_state else None, pinned=pinned)
            )
            return cast("Persona", self._current(connection, tenant, user_id))

    def verdicts(self, tenant: str, user_id: str) -> dict[str, Verdict]:
        """Return rulings by trait key; see `Memory.verdicts`."""
        with self._store.reading() as connection:
            rows = connection.execute(_VERDICTS, {"digest": digest(tenant, user_id)}).all()
        return {key: Verdict(key, ruling, statement) for key, ruling, statement in rows}

    def rule(self, tenant: str, user_id: str, key: str, ruling: Ruling | None, statement: str = "") -> None:
        """Record a ruling or take it back; see `Memory.rule`."""
        with self._store.writing() as connection:
            if ruling is None:
                person = people.lock(connection, [digest(tenant, user_id)]).get(digest(tenant, user_id))
            else:
                person = people.enter_one(connection, self._store, tenant, user_id)
            earlier = self._store.erase(verdicts).where(verdicts.c.person == person, verdicts.c.key == key)
            connection.execute(earlier)
            if ruling is not None:
                row = {"person": person, "key": key, "ruling": ruling, "statement": statement}
                connection.execute(verdicts.insert(), row)

    def population(self, tenant: str, inferrer: str) -> Population | None:
        """Return an inferrer's population; see `Memory.population`."""
        wanted = select(populations.c.population).where(populations.c.digest == digest(tenant, inferrer))
        with self._store.reading() as connection:
            stored = connection.scalar(wanted)
        return None if stored is None else codec.load_population(stored)

    def save_population(self, population: Population) -> None:
        """Replace an inferrer's population; see `Memory.save_population`."""
        key = digest(population.tenant, population.inferrer)
        statement = self._store.insert(populations)
        replace = statement.on_conflict_do_update(
            index_elements=["digest"], set_={"population": statement.excluded.population}
        )
        row = {"digest": key, "population": codec.dump(population, "population")}
        with self._store.writing() as connection:
            connection.execute(replace, row)

    def recalled(self, tenant: str, user_id: str, digests: Sequence[str]) -> dict[str, str]:
        """Return what models answered before; see `Memory.recalled`."""
        with self._store.reading() as connection:
            return kept.recalled(connection, digest(tenant, user_id), digests)

    def keep_answers(self, tenant: str, user_id: str, answers: Mapping[str, str]) -> None:
        """Keep what models answered, in one transaction; see `Memory.keep_answers`."""
        if answers:
            with self._store.writing() as connection:
                kept.keep(connection, self._store, digest(tenant, user_id), answers)

    def forget(self, tenant: str, user_id: str) -> Forgotten:
        """Erase everything about one person, from an SQLite file's free space and log too; see `Memory.forget`.

        Raises:
            StorageBusyError: the rows are erased, but readers of other processes hold the log; call it again.
        """
        who = digest(tenant, user_id)
        theirs = (signals, versions, verdicts, notes, names, tables.answers, tables.calls, tables.leanings)
        erased = dict.fromkeys((*theirs, tables.consents), 0)
        with self._store.writing() as connection:
            person = people.lock(connection, [who]).get(who)
            if person is not None:
                for table in erased:
                    statement = self._store.erase(table).where(table.c.person == person)
                    erased[table] = connection.execute(statement).rowcount
                connection.execute(delete(persons).where(persons.c.person == person))
        self._cache.clear()
        self._store.purge()
        return Forgotten(signals=erased[signals], versions=erased[versions])

    def close(self) -> None:
        """Release connections; see `Memory.close`."""
        self._cache.clear()
        self._store.close()


def _version(row: Row[Any, Any, Any, Any]) -> Persona:
    persona = codec.load_persona(row.persona)
    pinned = bool(row.pinned) and row.row == row.current_row
    return persona.model_copy(update={"pinned": True}) if pinned else persona
