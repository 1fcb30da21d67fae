"""Answered calls: the part of the memory that feedback by response id refers to."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from sqlalchemy import Delete, Update, bindparam, or_, select, union_all

from persona_plugins.sql_memory import codec
from persona_plugins.sql_memory.store import Store
from persona_plugins.sql_memory.tables import calls, digest, persons
from persona_sdk.calls import AnsweredCall

__all__ = ["Answering"]

# Not one query with OR: SQLite would answer it by reading all of the tenant's calls.
_THIS = select(calls.c.row, calls.c.payload).where(calls.c.person.is_not(None), calls.c.scope == bindparam("scope"))
_EITHER = union_all(
    _THIS.where(calls.c.response == bindparam("which")), _THIS.where(calls.c.call == bindparam("which"))
).subquery()
_BY_ID = select(_EITHER.c.payload).order_by(_EITHER.c.row.desc()).limit(1)
_RELATED = (
    select(calls.c.payload)
    .join(persons, persons.c.person == calls.c.person)
    .where(
        persons.c.digest == bindparam("digest"),
        or_(
            calls.c.conversation.in_(bindparam("conversations", expanding=True)),
            calls.c.before.in_(bindparam("befores", expanding=True)),
        ),
    )
    .order_by(calls.c.row.desc())
    .limit(bindparam("most"))
)


#: Somebody who has signals, their row locked until the transaction ends.
_WHO = select(persons.c.person).where(persons.c.digest == bindparam("digest"), persons.c.last_seq > 0).with_for_update()
_KEEP = calls.insert()


class Answering:
    """Mixed into the memory; every method is one of `Memory`'s."""

    _store: Store
    _kept_calls: int

    def keep_call(self, call: AnsweredCall) -> bool:
        """Keep an answered call, and drop the person's oldest ones; see `Memory.keep_call`."""
        who, payload = digest(call.tenant, call.user_id), codec.dump(call, "call")
        row = {
            "scope": digest(call.tenant),
            "response": digest(call.response_id),
            "call": digest(call.call_id),
            "conversation": bytes.fromhex(call.conversation),
            "before": bytes.fromhex(call.before),
            "payload": payload,
        }
        with self._store.writing() as connection:
            person = connection.scalar(_WHO, {"digest": who})
            if person is None:
                return False  # forgotten while being answered: nothing of them may come back
            connection.execute(self._superseded, {"whose": person, "which": row["response"]})
            connection.execute(_KEEP, {"person": person, **row})
        return True

    @functools.cached_property
    def _superseded(self) -> Update | Delete:
        """Erases a person's call of a response id, and all but the newest, so that there is room for one more."""
        mine, same = calls.c.person == bindparam("whose"), calls.c.response == bindparam("which")
        newest = select(calls.c.row).where(mine, ~same).order_by(calls.c.row.desc())
        last = newest.offset(self._kept_calls - 1).limit(1).scalar_subquery()
        return self._store.erase(calls).where(mine, or_(same, calls.c.row <= last))

    def kept_call(self, tenant: str, response_id: str) -> AnsweredCall | None:
        """Return an answered call by either of its ids; see `Memory.kept_call`."""
        with self._store.reading() as connection:
            found = connection.scalar(_BY_ID, {"scope": digest(tenant), "which": digest(response_id)})
        return None if found is None else codec.load_call(found)

    def related_calls(
        self, tenant: str, user_id: str, conversations: Sequence[str], befores: Sequence[str], limit: int = 16
    ) -> list[AnsweredCall]:
        """Return a person's calls by what was asked, or stood before it; see `Memory.related_calls`."""
        wanted = {
            "digest": digest(tenant, user_id),
            "conversations": [bytes.fromhex(one) for one in conversations],
            "befores": [bytes.fromhex(one) for one in befores],
            "most": max(0, limit),
        }
        with self._store.reading() as connection:
            return [codec.load_call(payload) for payload in connection.scalars(_RELATED, wanted)]
