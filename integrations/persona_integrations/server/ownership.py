"""Which tenant an answer that the server behind remembers belongs to: the tenants share one account there.

Without this, somebody who learns the id of another tenant's response could have their conversation continued.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from concurrent.futures import Executor

from sqlalchemy import Column, LargeBinary, MetaData, Table, select

from persona_integrations.server.database import Database
from persona_sdk.pipeline import contained

__all__ = ["Ownership"]

_log = logging.getLogger("persona_sdk")
_table = Table("persona_gateway_responses", MetaData(), Column("owner", LargeBinary, primary_key=True))
_RECENT = 10_000
#: Seconds to wait for a record to be durable.
_PATIENCE = 0.5


class Ownership:
    """Keeps a hash of tenant and response id, for as long as the database does."""

    def __init__(self, database: Database, threads: Executor) -> None:
        self._database, self._threads = database, threads
        self._recent: OrderedDict[bytes, None] = OrderedDict()

    async def keep(self, tenant: str, response_id: str) -> None:
        """Record that a response is a tenant's; where that fails, or takes long, this process knows it all the same."""
        owner = _owner(tenant, response_id)
        self._recent[owner] = None
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        written = asyncio.get_running_loop().run_in_executor(self._threads, self._keep, owner)
        await asyncio.wait({written}, timeout=_PATIENCE)  # the answer waits for this

    def _keep(self, owner: bytes) -> None:
        _, failure = contained(self._write, owner)
        if failure:
            _log.error("gateway: whose answer one is could not be recorded: %s", failure)

    def _write(self, owner: bytes) -> None:
        with self._database.writing(_table) as connection:
            connection.execute(self._database.insert_or_ignore(_table), {"owner": owner})

    async def has(self, tenant: str, response_id: str) -> bool:
        """Return whether a response is known as this tenant's."""
        owner = _owner(tenant, response_id)
        return owner in self._recent or await asyncio.get_running_loop().run_in_executor(
            self._threads, self._known, owner
        )

    def _known(self, owner: bytes) -> bool:
        with self._database.writing(_table) as connection:
            return connection.scalar(select(_table.c.owner).where(_table.c.owner == owner)) is not None


def _owner(tenant: str, response_id: str) -> bytes:
    encoded = [part.encode("utf-8", "surrogatepass") for part in (tenant, response_id)]
    return hashlib.sha256(b"".join(b"%d:" % len(part) + part for part in encoded)).digest()
