"""The tables, shaped so that a person can be erased from an SQLite file without rewriting the file.

SQLite's secure delete zeroes what is deleted, but when a B-tree page is split or merged, copies of *neighbouring* rows
stay behind in the free space of the old page, out of reach of any later delete. Plain DELETE therefore leaves traces
of some people in the file. Three rules keep text out of rebalanced pages:

* tables that hold people's text (`names`, `notes`, `signals`, `versions`, `verdicts`, `answers`, `calls`, `leanings`)
  only ever grow at the end (their key is an ever larger integer), and a row, once written, never becomes longer: on
  SQLite it is erased by setting its columns to NULL, which leaves a stub of a few bytes;
* indexes hold no text: people, tenants and signal ids are found by a digest;
* what changes often (`persons`) holds no text either.

Texts are stored as JSON strings, because PostgreSQL refuses the NUL character that people's text may hold.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    text,
)

__all__ = [
    "EARLIER_VERSIONS",
    "SCHEMA_VERSION",
    "answers",
    "calls",
    "consents",
    "digest",
    "leanings",
    "meta",
    "metadata",
    "names",
    "notes",
    "persons",
    "populations",
    "signals",
    "tenants",
    "verdicts",
    "versions",
]

#: Raised when older code must not use the tables any more. 2 brought `answers`, 3 `leanings` and `consents`: older code
#: would not forget them; so it is with `calls`, which 4 brought.
SCHEMA_VERSION = 4
#: Schemas that become this one when the tables they lack are created.
EARLIER_VERSIONS = ("1", "2", "3")


def digest(*parts: str) -> bytes:
    """Return 16 bytes that stand for `parts` in an index: the same for the same parts, in the same places."""
    hashed = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        hashed.update(b"%d:" % len(encoded) + encoded)  # the length keeps ("a", "bc") apart from ("ab", "c")
    return hashed.digest()[:16]


class JsonString(TypeDecorator[str]):
    """Any Python string at all, kept as ASCII JSON."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Encode what is written."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> str | None:
        """Decode what is read."""
        return None if value is None else str(json.loads(value))


# SQLite counts upwards only in columns of type INTEGER.
_Key = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()


def _log(name: str, key: str, *columns: Column[Any]) -> Table:
    """A table that grows at its end only: keys are never used twice."""
    return Table(
        f"persona_{name}",
        metadata,
        Column(key, _Key, primary_key=True, autoincrement=True),
        *columns,
        sqlite_autoincrement=True,
    )


meta = Table(
    "persona_meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

tenants = Table(
    "persona_tenants",
    metadata,
    Column("scope", LargeBinary, primary_key=True),
    Column("name", JsonString, nullable=False),
)

#: One row per person. `current_row`, `state_row` and `note_row` point into the other tables; `state_row` is the
#: current version's row if that version has a state.
persons = _log(
    "persons",
    "person",
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("scope", LargeBinary, nullable=False),
    Column("last_seq", BigInteger, nullable=False, server_default="0"),
    Column("learnt_through", BigInteger, nullable=False, server_default="0"),
    Column("current_row", BigInteger),
    Column("state_row", BigInteger),
    Column("note_row", BigInteger),
    Column("pinned", Boolean, nullable=False, server_default=text("false")),
)

names = Table(
    "persona_names",
    metadata,
    Column("person", _Key, primary_key=True, autoincrement=False),
    Column("user_id", JsonString),
)

notes = _log(
    "notes",
    "row",
    Column("person", BigInteger),
    Column("note", JsonString),
)

#: `kind` and `at` repeat what the payload says, for those who look into the database with SQL.
signals = _log(
    "signals",
    "seq",
    Column("person", BigInteger),
    Column("digest", LargeBinary),
    Column("kind", Text),
    Column("at", DateTime(timezone=True)),
    Column("payload", Text),
)

versions = _log(
    "versions",
    "row",
    Column("person", BigInteger),
    Column("version", Integer),
    Column("at", DateTime(timezone=True)),
    Column("persona", Text),
    Column("state", Text),
)

verdicts = _log(
    "verdicts",
    "row",
    Column("person", BigInteger),
    Column("key", JsonString),
    Column("ruling", Text),
    Column("statement", JsonString),
)

#: What models answered about a person. `digest` stands for the question.
answers = _log(
    "answers",
    "row",
    Column("person", BigInteger),
    Column("digest", LargeBinary),
    Column("answer", JsonString),
)

#: Answered calls. `response` and `call` stand for their ids, `conversation` and `before` for what was asked.
calls = _log(
    "calls",
    "row",
    Column("person", BigInteger),
    Column("scope", LargeBinary),
    Column("response", LargeBinary),
    Column("call", LargeBinary),
    Column("conversation", LargeBinary),
    Column("before", LargeBinary),
    Column("payload", Text),
)

#: What people lean to beyond everybody of their tenant, as JSON: names of features, and weights.
leanings = _log(
    "leanings",
    "row",
    Column("person", BigInteger),
    Column("scope", LargeBinary),
    Column("through", BigInteger),
    Column("choices", Integer),
    Column("inferrer", JsonString),
    Column("weights", Text),
)

#: What people said of lending what they lean to, and of borrowing from others.
consents = _log(
    "consents",
    "row",
    Column("person", BigInteger),
    Column("lend", Boolean),
    Column("borrow", Boolean),
)

#: What was learnt over a tenant's users; it holds nothing that only one person said, and is replaced in place.
populations = Table(
    "persona_populations",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("population", Text, nullable=False),
)


def _partial(name: str, table: Table, *columns: str, where: str, unique: bool = False) -> None:
    clause = text(where)
    Index(
        f"persona_{name}",
        *(table.c[c] for c in columns),
        unique=unique,
        sqlite_where=clause,
        postgresql_where=clause,
    )


# Stubs of erased rows have no person and so no place in any index.
_partial("signals_ids", signals, "person", "digest", where="person IS NOT NULL", unique=True)
_partial("signals_order", signals, "person", "seq", where="person IS NOT NULL")
_partial("versions_order", versions, "person", "version", where="person IS NOT NULL", unique=True)
_partial("verdicts_person", verdicts, "person", where="person IS NOT NULL")
_partial("notes_person", notes, "person", where="person IS NOT NULL")
_partial("answers_digests", answers, "person", "digest", where="person IS NOT NULL", unique=True)
_partial("calls_person", calls, "person", "row", where="person IS NOT NULL")
_partial("calls_response", calls, "scope", "response", where="person IS NOT NULL")
_partial("calls_call", calls, "scope", "call", where="person IS NOT NULL")
_partial("leanings_person", leanings, "person", where="person IS NOT NULL", unique=True)
_partial("leanings_news", leanings, "scope", "row", where="person IS NOT NULL")
_partial("consents_person", consents, "person", where="person IS NOT NULL", unique=True)
_partial("persons_pending", persons, "scope", "last_seq", where="last_seq > learnt_through")
_partial("persons_states", persons, "scope", "person", where="state_row IS NOT NULL")
Index("persona_persons_scope", persons.c.scope, persons.c.person)
