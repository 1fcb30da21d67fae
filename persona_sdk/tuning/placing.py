"""Versions of adapters in the registry and on disk: put into place whole, found by name, and swept away."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from persona_sdk.errors import InputError, NotFoundError, StorageError
from persona_sdk.tuning import folders, forgetting, unfinished
from persona_sdk.tuning.cards import Card
from persona_sdk.tuning.registry import writing

__all__ = ["TAKEN", "Coming", "current", "names", "sweep"]

TAKEN = "{}: there is an adapter of this name already; replace it, or choose another name"


@dataclass(frozen=True, slots=True)
class Coming:
    """A freshly trained PEFT folder `made` with its card, that is to become the version `folder` under `root`.

    `since` is when the first of its signals was read, `returned` are keys of forgotten people who came back.
    """

    root: Path
    made: Path
    card: Card
    folder: str
    since: float
    returned: Collection[str] = ()
    replace: bool = False

    def take_in(self) -> bool:
        """Put the folder into place and make it the current version, in one transaction; False to try again.

        It is announced before, so that what a killed process leaves is known to be of no use.

        Raises:
            InputError: the name is taken, or it may not be used because of somebody who was forgotten.
        """
        name = self.card.name
        with writing(self.root) as db:
            db.execute(
                "INSERT OR REPLACE INTO versions (folder, name, state) VALUES (?, ?, 'coming')", (self.folder, name)
            )
        with writing(self.root) as db:
            if not db.execute("SELECT 1 FROM versions WHERE folder = ?", (self.folder,)).fetchone():
                return False  # another process took it for a dead one's, and swept it
            if name in names(db) and not self.replace:
                raise InputError(TAKEN.format(name), field="name")
            inherited = forgetting.admitted(db, self.card, self.since, self.returned)
            folders.place(self.made, self.root / self.folder, self.card)
            self._switch(db, inherited)
        return True

    def _switch(self, db: sqlite3.Connection, inherited: set[str]) -> None:
        """Make it the current version of its name; it is marked for the forgotten people it has from its parent."""
        name, now = self.card.name, time.time()
        db.execute("UPDATE versions SET state = 'leaving' WHERE name = ? AND state IN ('usable', 'withdrawn')", (name,))
        forgetting.close_marks(db, name, now)
        parent = db.execute(
            "SELECT folder FROM versions WHERE name = ? AND state IN ('usable', 'withdrawn')", (self.card.parent,)
        ).fetchone()
        db.execute(
            "UPDATE versions SET state = 'usable', rung = ?, parent = ?, owner = ? WHERE folder = ?",
            (self.card.rung, parent and parent[0], forgetting.owner_of(self.card), self.folder),
        )
        held = [(key, self.folder) for key in forgetting.keys_of(self.card)]
        db.executemany("INSERT INTO holds VALUES (?, ?)", held)
        db.executemany("INSERT INTO marks VALUES (?, ?, ?, NULL)", [(name, key, now) for key in inherited])


def sweep(root: Path, *, strict: bool = False) -> None:
    """Delete what nobody is to see any more: old versions, what killed processes left, runs that cannot be added.

    Raises:
        StorageError: something could not be deleted, if `strict`.
    """
    with writing(root) as db:
        old = [one for (one,) in db.execute("SELECT folder FROM versions WHERE state IN ('coming', 'leaving')")]
        gone = [(folder,) for folder in old if folders.remove(root / folder)]
        for table in ("versions", "holds", "assigned"):
            db.executemany(f"DELETE FROM {table} WHERE folder = ?", gone)  # noqa: S608 - names of this file
        forgotten = dict(db.execute("SELECT key, at FROM forgotten").fetchall())
    left = sorted(set(old) - {folder for (folder,) in gone}) + unfinished.discard_doomed(root, forgotten)
    if strict and left:
        raise StorageError(f"{root}: {', '.join(left)} cannot be deleted, but is not used any more; delete it")


def names(db: sqlite3.Connection) -> list[str]:
    """Return the names of all adapters, sorted."""
    found = db.execute("SELECT name FROM versions WHERE state IN ('usable', 'withdrawn') ORDER BY name")
    return [name for (name,) in found]


def current(db: sqlite3.Connection | None, root: Path, name: str) -> str:
    """Return the folder of the current version of an adapter.

    Raises:
        NotFoundError: there is none of this name.
    """
    found = None
    if db is not None:
        found = db.execute(
            "SELECT folder FROM versions WHERE name = ? AND state IN ('usable', 'withdrawn')", (name,)
        ).fetchone()
    if found is None:
        there = names(db) if db is not None else []
        say = f"there are {', '.join(there[:20])}{', …' if there[20:] else ''}" if there else "there are none yet"
        raise NotFoundError(f"no adapter is named {name!r} in {root}: {say}")
    return str(found[0])
