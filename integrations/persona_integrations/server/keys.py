"""API keys of the gateway: each belongs to one tenant and may do what its scopes say. Only hashes are stored."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, get_args

from sqlalchemy import Column, DateTime, LargeBinary, MetaData, Table, Text, select, update

from persona_integrations.server.database import Database
from persona_sdk.errors import InputError, NotFoundError, StorageError

__all__ = ["Key", "KeyStore", "Scope"]

#: What a key may do: ask for answers, say how they were, read and change personas.
Scope: TypeAlias = Literal["chat", "feedback", "admin"]

_FORM = re.compile(r"persona-([0-9a-f]{16})-([A-Za-z0-9_-]{43})")
#: Seconds for which a key that was looked up is not looked up again: how long one that was revoked may go on.
_AGE = 5.0
#: Seconds for which it is taken to hold if it cannot be looked up: a database that is away must not stop chats.
_GRACE = 3600.0
_CACHED = 10_000

_keys = Table(
    "persona_gateway_keys",
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
    Column("revoked", DateTime(timezone=True)),
)


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key. Its secret is not."""

    id: str
    tenant: str
    scopes: frozenset[Scope]
    label: str
    created: datetime
    revoked: bool


class KeyStore:
    """Makes, finds and revokes keys. Safe to share between threads.

    A secret has 256 random bits, so that a plain SHA-256 of it cannot be searched through.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: dict[str, tuple[float, Key, bytes]] = {}

    def create(self, tenant: str, scopes: Iterable[str], label: str = "") -> tuple[str, Key]:
        """Return a new key's secret text, which is never to be seen again, and what is known of it.

        Raises:
            InputError: a scope is unknown, or there is none.
            StorageError: it could not be stored.
        """
        wanted = sorted(set(scopes))
        unknown = [s for s in wanted if s not in get_args(Scope)]
        if unknown or not wanted:
            raise InputError(f"scopes: are {', '.join(get_args(Scope))}, not {', '.join(unknown) or 'none'}")
        if not tenant.strip():
            raise InputError("tenant: is empty", field="tenant")
        number, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        values = {"id": number, "tenant": tenant, "label": label, "created": datetime.now(UTC)}
        with self._database.writing(_keys) as connection:
            row = {**values, "hash": _hash(secret), "scopes": " ".join(wanted), "revoked": None}
            connection.execute(_keys.insert(), row)
        return f"persona-{number}-{secret}", _key({**values, "scopes": " ".join(wanted), "revoked": None})

    def find(self, text: str) -> Key | None:
        """Return the key that a text is, None if it is none, or was revoked.

        One that was found within the last hour holds while the database cannot be read.

        Raises:
            StorageError: the database cannot be read, and it was not.
        """
        parts = _FORM.fullmatch(text)
        if parts is None:
            return None
        try:
            found = self._read(parts[1])
        except StorageError:
            found = self._cache.get(parts[1])
            if found is None or time.monotonic() - found[0] > _GRACE:
                raise
        return _matching(found, parts[2])

    def known(self, text: str) -> Key | None:
        """Return the key that a text is, if it was found within the last seconds; reads no database."""
        parts = _FORM.fullmatch(text)
        known = self._cache.get(parts[1]) if parts else None
        if parts is None or known is None or time.monotonic() - known[0] > _AGE:
            return None
        return _matching(known, parts[2])

    def _read(self, number: str) -> tuple[float, Key, bytes] | None:
        with self._database.writing(_keys) as connection:
            row = connection.execute(select(_keys).where(_keys.c.id == number)).mappings().first()
        if row is None:
            self._cache.pop(number, None)
            return None
        if len(self._cache) >= _CACHED:
            self._cache.clear()
        known = (time.monotonic(), _key(row), bytes(row["hash"]))
        self._cache[number] = known
        return known

    def close(self) -> None:
        """Release the database; calling it twice is harmless."""
        self._database.close()

    def all(self) -> list[Key]:
        """Return all keys, the oldest first, revoked ones as well."""
        with self._database.writing(_keys) as connection:
            return [_key(row) for row in connection.execute(select(_keys).order_by(_keys.c.created)).mappings()]

    def revoke(self, number: str, tenant: str) -> None:
        """Have a tenant's key refused from now on; gateways that just used it learn of it within seconds.

        Raises:
            NotFoundError: the tenant has no such key.
        """
        with self._database.writing(_keys) as connection:
            now = datetime.now(UTC)
            changed = connection.execute(
                update(_keys).where(_keys.c.id == number, _keys.c.tenant == tenant).values(revoked=now)
            ).rowcount
        self._cache.pop(number, None)
        if not changed:
            raise NotFoundError("this tenant has no key with this id; `persona keys list` lists them")


def _matching(known: tuple[float, Key, bytes] | None, secret: str) -> Key | None:
    if known is None or known[1].revoked or not hmac.compare_digest(known[2], _hash(secret)):
        return None
    return known[1]


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _key(row: Any) -> Key:
    created = row["created"] if row["created"].tzinfo else row["created"].replace(tzinfo=UTC)  # SQLite keeps none
    scopes: Any = frozenset(row["scopes"].split())
    return Key(row["id"], row["tenant"], scopes, row["label"], created, row["revoked"] is not None)
