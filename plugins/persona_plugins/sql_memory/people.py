"""Who is who: people's numbers, the locks on them, and their signals, inside a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, bindparam, select, update

from persona_plugins.sql_memory.store import Store
from persona_plugins.sql_memory.tables import digest, names, persons, signals, tenants

__all__ = ["MAX_SEQ", "SignalKey", "add_signals", "enter", "enter_one", "has_signal", "lock"]

#: The largest number a database column holds.
MAX_SEQ = 2**63 - 1

_IN = 500  # values in one IN list

#: The digests of a person and of a signal's id.
SignalKey: TypeAlias = tuple[bytes, bytes]


def lock(connection: Connection, digests: Sequence[bytes]) -> dict[bytes, int]:
    """Return the numbers of those people who are known, their rows locked until the transaction ends."""
    found = connection.execute(
        select(persons.c.digest, persons.c.person)
        .where(persons.c.digest.in_(digests))
        .order_by(persons.c.digest)
        .with_for_update()  # SQLite ignores it: there, the transaction is the lock
    )
    return {bytes(who): person for who, person in found}


def enter(connection: Connection, store: Store, people: Mapping[bytes, tuple[str, str]]) -> dict[bytes, int]:
    """Return everyone's number, giving one to those who are new; `people` maps digests to tenant and user id.

    Rows are locked, in the order of the digests, so that two batches cannot wait for each other. The lock is also
    what makes sequence numbers of one person visible in their order.
    """
    known: dict[bytes, int] = {}
    digests = sorted(people)
    for start in range(0, len(digests), _IN):
        known.update(lock(connection, digests[start : start + _IN]))
    missing = [who for who in digests if who not in known]
    if missing:
        known.update(_add(connection, store, {who: people[who] for who in missing}))
    return known


def enter_one(connection: Connection, store: Store, tenant: str, user_id: str) -> int:
    """Return one person's number, giving them one if they are new."""
    who = digest(tenant, user_id)
    return enter(connection, store, {who: (tenant, user_id)})[who]


def has_signal(connection: Connection, person: int, seq: int | None = None) -> bool:
    """Return whether the person has the signal numbered `seq`, or any signal at all."""
    which = signals.c.person == person
    if seq is not None:
        if not 0 < seq <= MAX_SEQ:
            return False
        which &= signals.c.seq == seq
    return connection.scalar(select(signals.c.seq).where(which).limit(1)) is not None


def _add(connection: Connection, store: Store, people: Mapping[bytes, tuple[str, str]]) -> dict[bytes, int]:
    scopes = {digest(tenant): tenant for tenant, _ in people.values()}
    connection.execute(
        store.insert(tenants).on_conflict_do_nothing(),
        [{"scope": scope, "name": tenant} for scope, tenant in sorted(scopes.items())],
    )
    statement = store.insert(persons)
    added = connection.execute(
        # Another process may have entered them meanwhile: an update that changes nothing locks and returns.
        statement.on_conflict_do_update(
            index_elements=["digest"], set_={"digest": statement.excluded.digest}
        ).returning(persons.c.digest, persons.c.person),
        [{"digest": who, "scope": digest(tenant)} for who, (tenant, _) in people.items()],
    )
    numbers = {bytes(who): person for who, person in added}
    in_order = sorted(numbers, key=lambda who: numbers[who])  # `names` must grow at its end: see `tables`
    connection.execute(
        store.insert(names).on_conflict_do_nothing(),
        [{"person": numbers[who], "user_id": people[who][1]} for who in in_order],
    )
    return numbers


def add_signals(
    connection: Connection,
    store: Store,
    rows: Mapping[SignalKey, dict[str, Any]],
    numbers: Mapping[bytes, int],
) -> set[SignalKey]:
    """Add those signals whose ids are not known yet, and return the keys of these."""
    statement = (
        store.insert(signals).on_conflict_do_nothing().returning(signals.c.seq, signals.c.person, signals.c.digest)
    )
    values = [{"person": numbers[who], **row} for (who, _), row in rows.items()]
    stored = connection.execute(statement, values).all()
    newest: dict[int, int] = {}
    for seq, person, _ in stored:
        newest[person] = max(seq, newest.get(person, 0))
    if newest:
        connection.execute(
            update(persons).where(persons.c.person == bindparam("which")).values(last_seq=bindparam("newest")),
            [{"which": person, "newest": seq} for person, seq in newest.items()],
        )
    who_is = {person: who for who, person in numbers.items()}
    return {(who_is[person], bytes(key)) for _, person, key in stored}
