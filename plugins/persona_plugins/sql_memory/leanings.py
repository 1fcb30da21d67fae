"""What people lean to, and whether it may be lent: the part of the memory that similar people are found with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, exists, select

from persona_plugins.sql_memory import codec, people
from persona_plugins.sql_memory.store import Store
from persona_plugins.sql_memory.tables import consents, digest, leanings, names, persons
from persona_sdk.memory import Consent, Leaning, Lent

__all__ = ["Lending"]

_IN = 500  # values in one IN list
_KEY = re.compile("[0-9a-f]{32}")
_COLUMNS = (
    names.c.user_id,
    leanings.c.weights,
    leanings.c.choices,
    leanings.c.through,
    leanings.c.inferrer,
    leanings.c.row,
)
_KEPT = (
    select(*_COLUMNS, persons.c.digest)
    .join(persons, persons.c.person == leanings.c.person)
    .join(names, names.c.person == leanings.c.person)
)
_REFUSED = exists().where(consents.c.person == persons.c.person, consents.c.lend.is_(False))
_LENDS = ~_REFUSED & (leanings.c.weights != "{}")
_OWN = _KEPT.where(persons.c.digest == bindparam("digest"))
# The tenant is compared afterwards: asked for in SQL, SQLite would read everybody of the tenant to find a dozen people.
_THEIRS = _KEPT.add_columns(persons.c.scope).where(persons.c.digest.in_(bindparam("digests", expanding=True)), _LENDS)
_LENT = (
    select(persons.c.digest, leanings.c.row)
    .join(persons, persons.c.person == leanings.c.person)
    .where(leanings.c.scope == bindparam("scope"), leanings.c.row > bindparam("after"), _LENDS)
    .order_by(leanings.c.row)
    .limit(bindparam("most"))
)
_CONSENT = (
    select(consents.c.lend, consents.c.borrow)
    .join(persons, persons.c.person == consents.c.person)
    .where(persons.c.digest == bindparam("digest"))
)


class Lending:
    """Mixed into the memory; every method is one of `Memory`'s."""

    _store: Store

    def lean(self, tenant: str, leaning: Leaning) -> None:
        """Keep a leaning in place of the one before; see `Memory.lean`."""
        who, weights = digest(tenant, leaning.user_id), codec.dump_state(leaning.weights) or "{}"
        with self._store.writing() as connection:
            person = people.lock(connection, [who]).get(who)
            if person is None or not people.has_signal(connection, person, leaning.through):
                return  # forgotten while being learnt from
            kept = connection.execute(
                select(leanings.c.weights, leanings.c.inferrer, leanings.c.choices).where(leanings.c.person == person)
            ).first()
            if kept is None or tuple(kept) != (weights, leaning.inferrer, leaning.choices):
                values = {"through": leaning.through, "choices": leaning.choices, "inferrer": leaning.inferrer}
                self._replace(connection, person, {**values, "weights": weights, "scope": digest(tenant)})

    def _replace(self, connection: Connection, person: int, values: dict[str, Any]) -> None:
        connection.execute(self._store.erase(leanings).where(leanings.c.person == person))
        connection.execute(leanings.insert(), {"person": person, **values})

    def leaning(self, tenant: str, user_id: str) -> Leaning | None:
        """Return a person's leaning; see `Memory.leaning`."""
        with self._store.reading() as connection:
            found = connection.execute(_OWN, {"digest": digest(tenant, user_id)}).first()
        return None if found is None else _leaning(found)

    def leanings(self, tenant: str, keys: Sequence[str]) -> dict[str, Leaning]:
        """Return lenders' leanings by person key; see `Memory.leanings`."""
        digests = [bytes.fromhex(key) for key in dict.fromkeys(keys) if _KEY.fullmatch(key)]  # others are nobody's
        found: dict[str, Leaning] = {}
        with self._store.reading() as connection:
            for start in range(0, len(digests), _IN):
                some = connection.execute(_THEIRS, {"digests": digests[start : start + _IN]})
                found.update({bytes(r.digest).hex(): _leaning(r) for r in some if bytes(r.scope) == digest(tenant)})
        return found

    def lent(self, tenant: str, after: int = 0, limit: int = 10_000) -> list[Lent]:
        """Return whose leanings may be lent, the oldest first; see `Memory.lent`."""
        wanted = {"scope": digest(tenant), "after": after, "most": max(0, limit)}
        with self._store.reading() as connection:
            return [Lent(bytes(who).hex(), row) for who, row in connection.execute(_LENT, wanted)]

    def consent(self, tenant: str, user_id: str) -> Consent:
        """Return what a person consents to; see `Memory.consent`."""
        with self._store.reading() as connection:
            found = connection.execute(_CONSENT, {"digest": digest(tenant, user_id)}).first()
        return Consent() if found is None else Consent(lend=found.lend, borrow=found.borrow)

    def set_consent(
        self, tenant: str, user_id: str, *, lend: bool | None = None, borrow: bool | None = None
    ) -> Consent:
        """Record what a person consents to; see `Memory.set_consent`."""
        with self._store.writing() as connection:
            person = people.enter_one(connection, self._store, tenant, user_id)
            found = connection.execute(_CONSENT, {"digest": digest(tenant, user_id)}).first()
            known = Consent() if found is None else Consent(lend=found.lend, borrow=found.borrow)
            consent = Consent(known.lend if lend is None else lend, known.borrow if borrow is None else borrow)
            connection.execute(self._store.erase(consents).where(consents.c.person == person))
            connection.execute(consents.insert(), {"person": person, "lend": consent.lend, "borrow": consent.borrow})
            columns = [c for c in leanings.c if c.name not in ("row", "person")]
            kept = connection.execute(select(*columns).where(leanings.c.person == person)).first()
            if kept is not None and consent.lend and not known.lend:
                self._replace(connection, person, dict(kept._mapping))  # a new number tells that they are here again
        return consent


def _leaning(row: Any) -> Leaning:
    weights = codec.load_state(row.weights) or {}
    return Leaning(row.user_id, weights, row.choices, row.through, row.inferrer, row.row)
