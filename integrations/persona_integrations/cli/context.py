"""What every command is given: the global options, and how they become a `Personalizer`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, cast

import typer

from persona_sdk.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from persona_sdk.engine import Personalizer
    from persona_sdk.settings import Settings

__all__ = ["Globals", "JsonOption", "UserArgument", "check_user", "given", "known"]

#: Seconds for recall and tailoring. A chat server cannot wait for a cold database; a terminal can.
_PATIENCE = 30.0

UserArgument: TypeAlias = Annotated[str, typer.Argument(metavar="USER", help="The person's id.", show_default=False)]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]


@dataclass(frozen=True, slots=True)
class Globals:
    """The options that stand before the command."""

    db: str | None = None
    tenant: str | None = None

    def settings(self, **more: Any) -> Settings:
        """Return the settings these options make, with `more` of them."""
        from persona_sdk.settings import Settings  # noqa: PLC0415 - loaded when used

        if "PERSONA_TIME_BUDGET" not in os.environ:
            more.setdefault("time_budget", _PATIENCE)
        # Commands learn when they say so: a thread beside them would do the same work twice.
        return Settings.load(**{"database_url": self.db, "tenant": self.tenant, "learning": "manual", **more})

    def export(self) -> None:
        """Have other processes of this command use the same database and tenant."""
        for name, value in (("PERSONA_DATABASE_URL", self.db), ("PERSONA_TENANT", self.tenant)):
            if value is not None:
                os.environ[name] = value

    def open(self, *, create: bool = False, plugins: Sequence[object] = (), **more: Any) -> Personalizer:
        """Open the database, with plugins of the command's own; one that does not exist only if it may `create` it.

        Raises:
            NotFoundError: there is no such database file.
        """
        from persona_sdk.engine import Personalizer  # noqa: PLC0415 - loaded when used

        settings = self.settings(**more)
        missing = None if create else _missing(settings)
        if missing:
            raise NotFoundError(
                f"there is no database {missing}: name another with --db, or make one with `persona infer FILE.jsonl`"
            )
        return Personalizer(settings=settings, plugins=plugins)


def given(ctx: typer.Context) -> Globals:
    """Return the global options of this call."""
    return cast("Globals", ctx.obj)


def _missing(settings: Settings) -> str | None:
    """Return the SQLite file the settings name if it does not exist: reading must not leave an empty one behind."""
    if settings.memory != "sql_memory":
        return None
    from sqlalchemy import make_url  # noqa: PLC0415 - loaded when used
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - loaded when used

    try:
        url = make_url(settings.database_url)
    except (ArgumentError, ValueError):
        return None  # the memory says what is wrong with it
    file = url.database or ""
    if not url.drivername.startswith("sqlite") or file in ("", ":memory:") or file.startswith("file:"):
        return None
    return None if Path(file).expanduser().exists() else file


def check_user(user: str) -> str:
    """Return a user id given on the command line, if it can be one at all.

    Raises:
        InputError: it is empty or not text.
    """
    if not user.strip():
        raise InputError("USER: is empty", field="USER")
    try:
        user.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError("USER: is not valid UTF-8", field="USER") from None
    return user


def known(personalizer: Personalizer, user: str) -> str:
    """Return the id of someone with signals.

    Raises:
        NotFoundError: there are none of this person.
    """
    if not personalizer.signals(check_user(user)):
        raise NotFoundError(
            f"nobody is called {user!r} in the tenant {personalizer.tenant!r}: ids are those of the imported rows, "
            "other tenants are reached with --tenant"
        )
    return user
