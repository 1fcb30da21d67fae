"""Where versions of adapters were copied to, as `registry.db` keeps it: a row for each folder and version in it.

While a copy is replaced there are two, the old version's and the new one's: it is not known which is there.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from persona_sdk.tuning.registry import reading, writing

__all__ = ["known", "note", "settled", "undone"]


def note(db: sqlite3.Connection, path: Path, name: str, version: str) -> bool:
    """Record that a version is copied to a folder; return whether that is new."""
    where = (str(path.absolute()), version)
    there = db.execute("SELECT 1 FROM exported WHERE path = ? AND folder = ?", where).fetchone()
    db.execute("INSERT OR REPLACE INTO exported VALUES (?, ?, ?)", (where[0], name, version))
    return there is None


def settled(root: Path, path: Path, version: str) -> None:
    """Record that a version was copied to a folder, and what was there before is gone."""
    with writing(root) as db:
        db.execute("DELETE FROM exported WHERE path = ? AND folder != ?", (str(path.absolute()), version))


def undone(root: Path, path: Path, version: str) -> None:
    """Record that a version was not copied to a folder after all, or was taken back."""
    with writing(root) as db:
        db.execute("DELETE FROM exported WHERE path = ? AND folder = ?", (str(path.absolute()), version))


def known(root: Path) -> dict[Path, bool]:
    """Return the folders that versions were copied to, and whether all that may be there can be used."""
    with reading(root) as db:
        rows = (
            []
            if db is None
            else db.execute(
                "SELECT e.path, min(coalesce(v.state = 'usable', 0)) FROM exported e"
                " LEFT JOIN versions v ON v.folder = e.folder GROUP BY e.path"
            ).fetchall()
        )
    return {Path(path): bool(usable) for path, usable in rows}
