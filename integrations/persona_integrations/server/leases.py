"""Who of several processes that share a database does what only one of them should."""

from __future__ import annotations

import secrets
import time

from sqlalchemy import Column, Float, MetaData, Table, Text, delete, or_, select, update

from persona_integrations.server.database import Database

__all__ = ["Leases"]

_table = Table(
    "persona_gateway_leases",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Float, nullable=False),
)


class Leases:
    """A lease that one holder has at a time, until it lets go or its time is over (by the clocks of the machines)."""

    def __init__(self, database: Database, name: str = "learning") -> None:
        self._database, self._name = database, name
        self._me = secrets.token_hex(8)

    def hold(self, seconds: float) -> bool:
        """Take the lease for so long, or renew it; false if somebody else has it."""
        now = time.time()
        free = or_(_table.c.holder == self._me, _table.c.until < now)
        values = {"holder": self._me, "until": now + seconds}
        with self._database.writing(_table) as connection:
            taken = connection.execute(update(_table).where(_table.c.name == self._name, free).values(values)).rowcount
            if taken:
                return True
            known = connection.scalar(select(_table.c.holder).where(_table.c.name == self._name))
            if known is None:
                connection.execute(self._database.insert_or_ignore(_table), {"name": self._name, **values})
                known = connection.scalar(select(_table.c.holder).where(_table.c.name == self._name))
            return known == self._me

    def release(self) -> None:
        """Let go of the lease, if this holder has it."""
        mine = (_table.c.name == self._name, _table.c.holder == self._me)
        with self._database.writing(_table) as connection:
            connection.execute(delete(_table).where(*mine))
