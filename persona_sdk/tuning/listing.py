"""How the adapters in a folder stand, and what is wrong there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from persona_sdk.errors import InputError
from persona_sdk.tuning import folders, unfinished
from persona_sdk.tuning.assignments import used
from persona_sdk.tuning.cards import Card, Rung, read_card
from persona_sdk.tuning.registry import REGISTRY, reading

__all__ = ["Listed", "listed", "problems", "readable"]


@dataclass(frozen=True, slots=True)
class Listed:
    """How an adapter stands: `card` is None where the folder is damaged.

    `forgotten` people's signals are in it; `usable` says whether it may still be given to anybody; `used_by` so many
    people it is given to by name, those who get a tenant's default not counted; `exports` are copies of this version.
    """

    name: str
    rung: Rung
    card: Card | None
    usable: bool
    forgotten: int
    used_by: int
    exports: tuple[str, ...] = ()


def listed(folder: Path) -> list[Listed]:
    """Return how every adapter in a folder stands, by name."""
    with reading(folder) as db:
        if db is None:
            return []
        found = db.execute(
            "SELECT v.name, v.rung, v.folder, v.state, (SELECT count(DISTINCT m.key) FROM marks m WHERE"
            " m.name = v.name AND m.until IS NULL) FROM versions v WHERE v.state IN ('usable', 'withdrawn')"
            " ORDER BY v.name"
        ).fetchall()
        people = used(db)
        exports: dict[str, list[str]] = {}
        for version, path in db.execute("SELECT folder, path FROM exported ORDER BY path"):
            exports.setdefault(version, []).append(path)
    return [
        Listed(
            name=name,
            rung=rung,
            card=readable(folder / version),
            usable=state == "usable",
            forgotten=forgotten,
            used_by=people.get(version, 0),
            exports=tuple(exports.get(version, ())),
        )
        for name, rung, version, state, forgotten in found
    ]


def problems(folder: Path) -> list[str]:
    """Return what is wrong in a folder of adapters, a sentence each."""
    with reading(folder) as db:
        versions = [] if db is None else db.execute("SELECT folder, name, state FROM versions").fetchall()
        stale = (
            []
            if db is None
            else db.execute(
                "SELECT DISTINCT e.path FROM exported e LEFT JOIN versions v ON v.folder = e.folder"
                " WHERE v.state IS NULL OR v.state != 'usable' ORDER BY e.path"
            ).fetchall()
        )
    found = []
    for version, name, state in versions:
        if state in ("usable", "withdrawn"):
            found += folders.damage(folder / version, name)
        elif state == "leaving" and (folder / version).exists():
            found.append(f"{folder / version}: could not be deleted; delete it")
    known = {version for version, *_ in versions}
    found += [
        f"{stray.parent}: {REGISTRY} does not know this adapter, so nobody is given it; add it, or delete it"
        for stray in sorted(folder.glob(f"*/{folders.CONFIG}"))
        if stray.parent.name not in known
    ]
    found += unfinished.leftovers(folder)
    return found + [
        f"{path}: is the export of an adapter that is no longer used; unload it in the server, and delete it"
        for (path,) in stale
        if Path(path).exists()
    ]


def readable(folder: Path) -> Card | None:
    """Return the card in an adapter's folder, None if it is damaged."""
    try:
        return read_card(folder)
    except InputError:
        return None
