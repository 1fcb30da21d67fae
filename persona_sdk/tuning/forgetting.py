"""What becomes of adapters when somebody whose signals are in them is forgotten.

Everything here is a part of one transaction on `registry.db`.

"mark": stays in use, and is listed. "retrain": is given to nobody until it was trained anew without them, and is
listed. "drop": its files are deleted at once. In "retrain", the default, no answer ever comes from these weights again,
as in "drop"; what differs is that the request of one person does not destroy, beyond recall, what everybody else has,
along with the card that says how to train it again. The bytes at rest go when it is trained anew, or is dropped.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, TypeAlias, get_args

from persona_sdk.errors import InputError
from persona_sdk.models import Frozen
from persona_sdk.tuning.cards import Card, Rung
from persona_sdk.tuning.registry import State

__all__ = [
    "POLICIES", "Affected", "Policy", "admitted", "close_marks", "forget", "keys_of", "owner_of", "settle", "unfit",
]  # fmt: skip

#: What is done with adapters that hold a forgotten person's signals.
Policy: TypeAlias = Literal["mark", "retrain", "drop"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
_STATES: dict[Policy, State] = {"mark": "usable", "retrain": "withdrawn", "drop": "leaving"}
_BECAME: dict[State, Literal["marked", "withdrawn", "dropped"]] = {
    "usable": "marked",
    "withdrawn": "withdrawn",
    "leaving": "dropped",
}


class Affected(Frozen):
    """An adapter that holds, or held, the signals of somebody who was forgotten, and what became of it.

    "marked": in use. "withdrawn": given to nobody until trained anew. "dropped": deleted. `exports` are folders it was
    copied to, out of reach from here: servers that loaded it must be told.
    """

    name: str
    rung: Rung
    became: Literal["marked", "withdrawn", "dropped"]
    exports: tuple[str, ...] = ()


def keys_of(card: Card) -> set[str]:
    """Return the keys of everyone an adapter is made of: who is in its signals, or made its cluster what it is."""
    return {person.key for person in card.people} | set(card.cluster)


def owner_of(card: Card) -> str | None:
    """Return the key of the person that an own adapter is for: the only one of its `cluster`, or of its `people`."""
    if card.rung != "own":
        return None
    for keys in (set(card.cluster), {person.key for person in card.people}):
        if len(keys) == 1:
            return keys.pop()
    return None


def unfit(card: Card, tenant: str, rung: Rung, own: str | None) -> str:
    """Say why an adapter of a rung must not go on from another one's weights, "" if it may (see `check_parent`)."""
    if card.tenant != tenant:
        return "is another tenant's; name one of this tenant"
    if card.rung == "own" and (rung != "own" or own is None or own != owner_of(card)):
        return "is one person's own, and nobody else's can go on from it; name a shared adapter"
    if card.rung == "cluster" and rung == "shared":
        return "is a cluster's, and everybody's cannot go on from it; name a shared adapter, or none"
    return ""


def admitted(db: sqlite3.Connection, card: Card, since: float, returned: Collection[str] = ()) -> set[str]:
    """Return the keys of forgotten people whose signals a new adapter has from its parent, which is marked for them.

    `returned` are keys of people who were forgotten before the training began, and are known to have come back.

    Raises:
        InputError: it holds signals of somebody else who was forgotten, or its parent held some and was not kept in
            use.
    """
    forgotten = {key: at for key, at in db.execute("SELECT key, at FROM forgotten") if key in keys_of(card)}
    late = {key for key, at in forgotten.items() if at >= since}
    if late:
        raise InputError(
            f"{card.name}: {_people(len(late))} in its signals were forgotten after its training began, so it is not"
            " kept; train it anew",
            field="adapter",
        )
    inherited = _inherited(db, card, since)
    gone = forgotten.keys() - set(returned) - inherited - _had(db, card.parent)
    if gone:
        raise InputError(
            f"{card.name}: {_people(len(gone))} in its signals were forgotten before its training began, and are not"
            " known to have come back, so it is not kept; take them out of the file it was trained on, and train it"
            " anew",
            field="adapter",
        )
    return inherited


def _inherited(db: sqlite3.Connection, card: Card, since: float) -> set[str]:
    """Return the keys that an adapter's parent is marked for; raise if it held some and was not kept in use."""
    if card.parent is None:
        return set()
    # The parent may have been trained anew meanwhile: what counts is how it was when this training began.
    marks = db.execute(
        "SELECT key, until FROM marks WHERE name = ? AND (until IS NULL OR until > ?)", (card.parent, since)
    ).fetchall()
    state = db.execute(
        "SELECT state FROM versions WHERE name = ? AND state IN ('usable', 'withdrawn')", (card.parent,)
    ).fetchone()
    if marks and (state != ("usable",) or any(until is not None for _, until in marks)):
        raise InputError(
            f"{card.name}: it was trained on top of {card.parent} while that held signals of"
            f" {_people(len({key for key, _ in marks}))} who were forgotten; train {card.parent} anew, and then this",
            field="adapter",
        )
    return {key for key, _ in marks}


def _had(db: sqlite3.Connection, name: str | None) -> set[str]:
    """Return the keys of those who are in an adapter: whoever was forgotten and is not marked there, came back."""
    found = db.execute(
        "SELECT h.key FROM holds h JOIN versions v ON v.folder = h.folder WHERE v.name = ? AND v.state = 'usable'",
        (name,),
    )
    return {key for (key,) in found}


def forget(db: sqlite3.Connection, key: str, policy: Policy, now: float) -> list[Affected]:
    """Record that somebody was forgotten, drop what is theirs, and do to all else they are in as `policy` says."""
    db.execute("INSERT OR REPLACE INTO forgotten VALUES (?, ?)", (key, now))
    db.execute("DELETE FROM assigned WHERE whose = ?", (key,))
    found = _current(
        db, "(v.owner = ? OR EXISTS (SELECT 1 FROM holds h WHERE h.key = ? AND h.folder = v.folder))", (key, key)
    )
    seen = {folder for folder, *_ in found}
    for folder, *_ in found:  # it grows: children of children
        new = [one for one in _current(db, "v.parent = ?", (folder,)) if one[0] not in seen]
        seen |= {one[0] for one in new}
        found += new
    own = db.execute("SELECT folder FROM versions WHERE owner = ?", (key,))
    theirs = {folder for (folder,) in own}
    affected = []
    for folder, name, rung, state in found:
        become = _STATES["drop" if folder in theirs else policy]
        if become == "usable":
            become = state  # what was withdrawn for somebody else stays so
        db.execute("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, NULL)", (name, key, now))
        affected.append(_become(db, (folder, name, rung), become))
    return sorted(affected, key=lambda one: one.name)


def settle(db: sqlite3.Connection, policy: Policy, names: Iterable[str] | None) -> list[Affected]:
    """Do to adapters that are marked or withdrawn as `policy` says, in place of what was done before."""
    wanted = None if names is None else set(names)
    listed = _current(db, "EXISTS (SELECT 1 FROM marks m WHERE m.name = v.name AND m.until IS NULL)", ())
    return [
        _become(db, (folder, name, rung), _STATES[policy])
        for folder, name, rung, _ in listed
        if wanted is None or name in wanted
    ]


def close_marks(db: sqlite3.Connection, name: str, now: float) -> None:
    """Record that an adapter of this name was trained anew: what it was marked for is in the old version only."""
    db.execute("UPDATE marks SET until = ? WHERE name = ? AND until IS NULL", (now, name))


def _become(db: sqlite3.Connection, one: tuple[str, str, Rung], state: State) -> Affected:
    folder, name, rung = one
    db.execute("UPDATE versions SET state = ? WHERE folder = ?", (state, folder))
    exports = db.execute("SELECT path FROM exported WHERE folder = ? ORDER BY path", (folder,))
    return Affected(name=name, rung=rung, became=_BECAME[state], exports=tuple(path for (path,) in exports))


def _current(db: sqlite3.Connection, where: str, values: Sequence[str]) -> list[tuple[str, str, Rung, State]]:
    """Return folder, name, rung and state of current versions, by name. `where` is a constant of this file."""
    return db.execute(
        f"SELECT v.folder, v.name, v.rung, v.state FROM versions v"  # noqa: S608
        f" WHERE v.state IN ('usable', 'withdrawn') AND {where} ORDER BY v.name",
        values,
    ).fetchall()


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"
