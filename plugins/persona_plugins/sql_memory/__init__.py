"""Memory in SQLite, or in PostgreSQL when outgrown: registration only, the store is beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persona_sdk.hooks import hookimpl

if TYPE_CHECKING:
    from persona_sdk.hooks import Registry
    from persona_sdk.memory import Memory
    from persona_sdk.settings import Settings


@hookimpl
def persona_register(registry: Registry) -> None:
    """Offer the memory named "sql_memory"."""
    registry.add_memory("sql_memory", _open)


def _open(settings: Settings) -> Memory:
    # Imported here, so that SQLAlchemy costs nothing to those who use another memory.
    from persona_plugins.sql_memory.memory import SqlMemory  # noqa: PLC0415

    return SqlMemory.from_options(settings.database_url, settings.options.get("sql_memory", {}))
