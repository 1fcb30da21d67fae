"""What models answered about a person, by the digest of the question, inside a connection of the caller's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, select

from persona_plugins.sql_memory import people
from persona_plugins.sql_memory.store import Store
from persona_plugins.sql_memory.tables import answers, digest, persons

__all__ = ["keep", "recalled"]

_IN = 500  # values in one IN list


def recalled(connection: Connection, who: bytes, digests: Sequence[str]) -> dict[str, str]:
    """Return the answers that are known, by the digests they were asked for with."""
    # Digests are digested: whatever text somebody uses for one, an index holds 16 bytes of it.
    given = {digest(one): one for one in digests}
    keys, found = list(given), {}
    for start in range(0, len(keys), _IN):
        wanted = (
            select(answers.c.digest, answers.c.answer)
            .join(persons, persons.c.person == answers.c.person)
            .where(persons.c.digest == who, answers.c.digest.in_(keys[start : start + _IN]))
        )
        found.update({given[bytes(key)]: answer for key, answer in connection.execute(wanted)})
    return found


def keep(connection: Connection, store: Store, who: bytes, new: Mapping[str, str]) -> None:
    """Keep answers; those known stay as they are, and of somebody without signals nothing is kept."""
    person = people.lock(connection, [who]).get(who)
    if person is None or not people.has_signal(connection, person):
        return  # forgotten while a model was being asked: nothing of them may come back
    rows = [{"person": person, "digest": digest(one), "answer": answer} for one, answer in new.items()]
    connection.execute(store.insert(answers).on_conflict_do_nothing(), rows)
