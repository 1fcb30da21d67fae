"""The adapters that were trained: their folders, their cards, who is given which, and what forgetting does to them.

    adapters/
        registry.db        what is current, who is given what, who was forgotten (see `registry`)
        NAME@1f0c9a2e/     one version of an adapter: a PEFT folder with its card; never changed, replaced by another
        .runs/NAME/        what a run that is not finished needs to go on (see `unfinished`)
        base.json          the base that was trained on last (see `base_record`)

A version counts from the moment that `registry.db` says so, and no longer than that: whoever is killed while adding or
replacing leaves the old one or the new one, whole. What is left over is removed by the next who writes.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from persona_sdk.errors import InputError, NotFoundError, StorageError
from persona_sdk.memory import person_key
from persona_sdk.tuning import exports, folders, forgetting, unfinished
from persona_sdk.tuning.assignments import Assignment, given, keep
from persona_sdk.tuning.cards import Card, Rung, read_card
from persona_sdk.tuning.forgetting import POLICIES, Affected, Policy
from persona_sdk.tuning.listing import Listed, listed, problems, readable
from persona_sdk.tuning.placing import TAKEN, Coming, current, names, sweep
from persona_sdk.tuning.registry import REGISTRY, reading, writing

__all__ = ["NAME", "Adapters"]

#: What an adapter may be called: safe as a folder's name, in a shell, and as a model's name in a server.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
#: Names that mean a device on Windows, whatever comes behind the dot.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
#: Names that mean the base model where an adapter is asked for, here or by people who type it.
_RESERVED = ("base", "default")


class Adapters:
    """The adapters in a folder. Any number of threads and processes may share it; nothing is made by reading.

    Every method raises `StorageError` where the folder or its registry cannot be read or written.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def check(self, name: str, *, replace: bool = False) -> None:
        """Raise what `add` would for a name, before hours are spent on an adapter of it.

        Raises:
            InputError: the name cannot be used, or is taken and not to be replaced.
        """
        if _named(name) in self.names() and not replace:
            raise InputError(TAKEN.format(name), field="name")

    def begin(self) -> datetime:
        """Return the present moment, to be passed to `add` as `since`; call it before signals to train on are read.

        From now on forgetting is recorded here, even while there are no adapters yet.
        """
        with writing(self.folder):
            return datetime.now(UTC)

    def check_parent(self, name: str, tenant: str, rung: Rung, own: str | None = None) -> Card:
        """Return the card of an adapter to go on from; `own` is the key of the person an own adapter is for.

        Raises:
            NotFoundError: there is no adapter of this name.
            InputError: its card is damaged, it is withdrawn or of another tenant, or it is for fewer people than the
                new one: somebody's own is gone on from for them alone, and a cluster's not for everybody.
        """
        card = self.card(name)
        why = forgetting.unfit(card, tenant, rung, own)
        if not self.usable(name):
            why = "was withdrawn, for it holds signals of somebody who was forgotten; train it anew first"
        if why:
            raise InputError(f"parent: {name} {why}", field="parent")
        return card

    def add(
        self,
        made: Path,
        card: Card,
        *,
        replace: bool = False,
        since: datetime | None = None,
        returned: Collection[str] = (),
    ) -> Path:
        """Take in a freshly trained PEFT folder, with its card, under the card's name; return where it is now.

        All of it or nothing; then `made` is removed. With `replace` it takes the place of an adapter of that name,
        whose assignments end: what was measured of the old one says nothing of the new one. It is usable then, and no
        longer listed as holding forgotten people's signals, unless its parent is. `since` is when the first of its
        signals was read (see `begin`), the card's `at` less its `seconds` if None. `returned` are keys of people who
        were forgotten before that and are known to have come back, as those whom memory has signals of have.

        Raises:
            InputError: the name cannot be used or is taken, the folder is no complete PEFT adapter, it holds signals of
                somebody who was forgotten, be it before `since` (unless they `returned`) or after, or its parent did
                and was not kept in use. `made` stays then.
        """
        name = _named(card.name)
        if since is not None and since.tzinfo is None:
            raise InputError("since: has no time zone; `begin` returns one that has", field="since")
        folders.config_of(made)
        folders.tensors_of(made)
        start = since.timestamp() if since else card.at.timestamp() - card.seconds
        folder = f"{name}@{secrets.token_hex(4)}"
        try:
            while not Coming(self.folder, made, card, folder, start, returned, replace).take_in():
                pass
        finally:
            sweep(self.folder)
        folders.remove(made)
        return self.folder / folder

    def remove(self, name: str) -> None:
        """Delete an adapter; people it was given to fall back to what was found good for them below it.

        Raises:
            NotFoundError: there is none of this name.
        """
        with writing(self.folder) as db:
            folder = current(db, self.folder, name)
            db.execute("UPDATE versions SET state = 'leaving' WHERE folder = ?", (folder,))
        sweep(self.folder)

    def names(self) -> list[str]:
        """Return the names of all adapters, sorted."""
        with reading(self.folder) as db:
            return [] if db is None else names(db)

    def path(self, name: str) -> Path:
        """Return the folder of an adapter, usable or not. Once it is replaced or dropped the folder is gone.

        Raises:
            NotFoundError: there is none of this name; the message says which there are.
        """
        with reading(self.folder) as db:
            return self.folder / current(db, self.folder, name)

    def card(self, name: str) -> Card:
        """Return the card of an adapter, usable or not.

        Raises:
            NotFoundError: there is none of this name.
            InputError: its card is damaged.
        """
        return read_card(self.path(name))

    def cards(self) -> list[Card]:
        """Return the cards of all adapters whose folders are in order, by name."""
        return [one.card for one in self.listed() if one.card is not None]

    def usable(self, name: str) -> bool:
        """Return whether there is an adapter of this name that may be given to people."""
        with reading(self.folder) as db:
            return (
                db is not None
                and db.execute("SELECT 1 FROM versions WHERE name = ? AND state = 'usable'", (name,)).fetchone()
                is not None
            )

    def listed(self) -> list[Listed]:
        """Return how every adapter stands, by name."""
        return listed(self.folder)

    def problems(self) -> list[str]:
        """Return what is wrong, a sentence each: damage, stray folders, unfinished runs, stale exports."""
        return problems(self.folder)

    def assign(self, tenant: str, user_id: str, assignment: Assignment, *, since: datetime | None = None) -> bool:
        """Record what a person is given, in place of what was recorded before; return whether it was.

        It was not if the person was forgotten after `since`, when the choices it was measured on were read.

        Raises:
            NotFoundError: there is no such adapter; nothing was written.
        """
        return self.assign_all(tenant, {user_id: assignment}, since=since) == 1

    def assign_all(self, tenant: str, assignments: Mapping[str, Assignment], *, since: datetime | None = None) -> int:
        """Record what people are given, all at once (see `assign`); return how many it was recorded of."""
        with writing(self.folder) as db:
            late = set()
            if since is not None:
                late = {key for (key,) in db.execute("SELECT key FROM forgotten WHERE at >= ?", (since.timestamp(),))}
            keyed = {person_key(tenant, user_id): one for user_id, one in assignments.items()}
            kept = {key: one for key, one in keyed.items() if key not in late}
            self._keep(db, kept)
        return len(kept)

    def unassign(self, tenant: str, user_id: str) -> None:
        """Forget what a person is given: the tenant's default from now on."""
        with writing(self.folder) as db:
            db.execute("DELETE FROM assigned WHERE whose = ?", (person_key(tenant, user_id),))

    def set_default(self, tenant: str, assignment: Assignment | None) -> None:
        """Record what is given to those of a tenant of whom nothing is recorded; None takes it back.

        Raises:
            NotFoundError: there is no such adapter; nothing was written.
        """
        with writing(self.folder) as db:
            if assignment is None:
                db.execute("DELETE FROM assigned WHERE whose = ?", (_default(tenant),))
            else:
                self._keep(db, {_default(tenant): assignment})

    def assigned(self, tenant: str, user_id: str) -> Assignment | None:
        """Return what was found best for a person among what can still be used.

        An adapter that is gone, replaced or withdrawn gives way to the next one below it that was found good for them;
        None where there is none, or nothing is recorded of this person. One indexed read.
        """
        return self._given(person_key(tenant, user_id))

    def default(self, tenant: str) -> Assignment | None:
        """Return what is given to those of a tenant of whom nothing is recorded, None for nothing. One indexed read."""
        return self._given(_default(tenant))

    def given(self, tenant: str, user_id: str) -> Assignment | None:
        """Return what a person is to be given: what is assigned to them, the tenant's default otherwise. One read."""
        return self._given(person_key(tenant, user_id), _default(tenant))

    def policy(self) -> Policy:
        """Return what forgetting does unless it is told otherwise: "retrain" until it was set."""
        with reading(self.folder) as db:
            return _policy(db)

    def set_policy(self, policy: Policy) -> None:
        """Set what forgetting does, for all who use this folder.

        Raises:
            InputError: there is no such policy.
        """
        _checked(policy)
        with writing(self.folder) as db:
            db.execute("INSERT OR REPLACE INTO settings VALUES ('policy', ?)", (policy,))

    def trained_on(self, tenant: str, user_id: str) -> list[Card]:
        """Return the cards of the adapters that a person's signals are in, or whose cluster they are of, by name."""
        with reading(self.folder) as db:
            if db is None:
                return []
            found = db.execute(
                "SELECT v.folder FROM holds h JOIN versions v ON v.folder = h.folder WHERE h.key = ?"
                " AND v.state IN ('usable', 'withdrawn') ORDER BY v.name",
                (person_key(tenant, user_id),),
            ).fetchall()
        return [card for (folder,) in found if (card := readable(self.folder / folder)) is not None]

    def forgotten(self, tenant: str, users: Iterable[str]) -> set[str]:
        """Return those of some people who were ever forgotten here, whether they came back or not."""
        with reading(self.folder) as db:
            known = set() if db is None else {key for (key,) in db.execute("SELECT key FROM forgotten")}
        return {user_id for user_id in users if person_key(tenant, user_id) in known}

    def forget(self, tenant: str, user_id: str, policy: Policy | None = None) -> list[Affected]:
        """Do to every adapter that a person's signals are in as the policy says; return these adapters, by name.

        Adapters trained on top of one are among them. What is assigned to this person, and an adapter of their own, is
        deleted under every policy, and so are the runs that they are in and that are not finished. No adapter that they
        are in can be added any more, unless they come back (see `add`). None for what `policy` returns.

        Raises:
            InputError: there is no such policy; nothing was done.
            StorageError: files could not be deleted; nobody is given them any more.
        """
        if policy is not None:
            _checked(policy)
        if not (self.folder / REGISTRY).exists():
            return []
        key = person_key(tenant, user_id)
        with writing(self.folder) as db:
            affected = forgetting.forget(db, key, policy or _policy(db), time.time())
        left = unfinished.discard(self.folder, key)
        sweep(self.folder, strict=True)
        if left:
            raise StorageError(
                f"{self.folder}: {', '.join(left)} holds weights of a run that a forgotten person is in, and cannot be"
                " deleted; delete it"
            )
        return affected

    def settle(self, policy: Policy, names: Iterable[str] | None = None) -> list[Affected]:
        """Do to adapters that forgotten people's signals are in as `policy` says, whatever was done before.

        `names` says to which, None to all that are listed so.

        Raises:
            InputError: there is no such policy.
            NotFoundError: one of `names` is not among them; nothing was done.
        """
        _checked(policy)
        wanted = None if names is None else set(names)
        if not (self.folder / REGISTRY).exists() and not wanted:
            return []
        with writing(self.folder) as db:
            done = forgetting.settle(db, policy, wanted)
            missing = (wanted or set()) - {one.name for one in done}
            if missing:
                raise NotFoundError(
                    f"{', '.join(sorted(missing))}: no adapter of this name holds signals of a forgotten person"
                )
        sweep(self.folder, strict=True)
        return done

    def exported(self, name: str, path: Path) -> bool:
        """Record that an adapter is copied to a folder, so that it can be named when somebody is forgotten.

        What was recorded of that folder before stays so until the copy is `exports.settled`. Return whether it is new.

        Raises:
            NotFoundError: there is no such adapter.
        """
        with writing(self.folder) as db:
            return exports.note(db, path, name, current(db, self.folder, name))

    def _keep(self, db: sqlite3.Connection, assignments: Mapping[str, Assignment]) -> None:
        names = {one.adapter for first in assignments.values() for one in first.chain() if one.adapter is not None}
        keep(db, assignments, {name: current(db, self.folder, name) for name in sorted(names)})

    def _given(self, *whose: str) -> Assignment | None:
        """Return what is given to the first of some keys that is given anything."""
        with reading(self.folder) as db:
            if db is None:
                return None
            return next((found for one in whose if (found := given(db, one)) is not None), None)


def _default(tenant: str) -> str:
    return f"tenant:{tenant}"  # no person's key has a colon in it


def _policy(db: sqlite3.Connection | None) -> Policy:
    found = db and db.execute("SELECT value FROM settings WHERE name = 'policy'").fetchone()
    return cast("Policy", found[0]) if found else "retrain"


def _checked(policy: str) -> None:
    if policy not in POLICIES:
        raise InputError(f"policy: is none of {', '.join(POLICIES)}", field="policy")


def _named(name: str) -> str:
    if not NAME.fullmatch(name) or _DEVICES.match(name) or name.endswith(".") or name in _RESERVED:
        raise InputError(
            "name: an adapter's name has 1 to 64 lower-case letters, digits, dots, underscores and hyphens, begins with"
            " a letter or a digit, ends with no dot, and is neither base nor default, nor the name of a device",
            field="name",
        )
    return name
