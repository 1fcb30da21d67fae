"""Who is given which adapter, what was measured that says so, and how it is kept in `registry.db`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from persona_sdk.models import Frozen

__all__ = ["RUNGS", "Assignment", "Given", "given", "keep", "used"]

#: What a person is given: words about them in front of the base model only, or a model that was tuned for everybody,
#: for people like them, or for them.
Given: TypeAlias = Literal["prefix", "shared", "cluster", "own"]
#: The rungs, lowest first.
RUNGS: tuple[Given, ...] = ("prefix", "shared", "cluster", "own")


class Assignment(Frozen):
    """The adapter that somebody is given, None for the base model with a prefix, and how good it was found to be.

    `gain` is by how much it predicts held-out choices better than what it was compared with, the highest rung below
    that is used for this person, in nats a choice, with its `standard_error`; `accuracy` is the share of the `choices`
    of `people` predicted right, by rung. `below` is what is given where the adapter cannot be used any more.
    """

    adapter: str | None = None
    rung: Given = "prefix"
    choices: int = 0
    people: int = 1
    gain: float = 0.0
    standard_error: float = 0.0
    accuracy: Mapping[Given, float] = Field(default_factory=dict)
    below: Assignment | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if (self.adapter is None) != (self.rung == "prefix"):
            raise ValueError("every rung but prefix has an adapter, and prefix has none")
        if self.below is not None and RUNGS.index(self.below.rung) >= RUNGS.index(self.rung):
            raise ValueError("what is below is on a lower rung")
        return self

    def chain(self) -> Iterator[Assignment]:
        """Iterate over this one and those below it, the highest first."""
        one: Assignment | None = self
        while one is not None:
            yield one
            one = one.below

    @property
    def verified(self) -> str:
        """Whether it predicts held-out choices better, and by how much, in a sentence."""
        whose = "their" if self.people == 1 else f"{self.people:,} people's"
        if self.adapter is None:
            return (
                f"prefix only: no adapter was found to predict {whose} {self.choices:,} held-out choices better"
                if self.choices
                else "prefix only: there are no held-out choices to compare adapters on"
            )
        shares = ", ".join(f"{rung} {self.accuracy[rung]:.0%}" for rung in RUNGS if rung in self.accuracy)
        return (
            f"{self.rung} adapter {self.adapter} predicts {whose} {self.choices:,} held-out choices better than the "
            f"rung below: {self.gain:+.4f} nats a choice (s.e. {self.standard_error:.4f}); predicted right: {shares}"
        )


def keep(db: sqlite3.Connection, assignments: Mapping[str, Assignment], versions: Mapping[str, str]) -> None:
    """Keep assignments by whose they are, a row for each rung, bound to the versions of adapters that are current."""
    db.executemany("DELETE FROM assigned WHERE whose = ?", [(whose,) for whose in assignments])
    rows = []
    for whose, first in assignments.items():
        for step, one in enumerate(reversed(list(first.chain()))):
            body = one.model_copy(update={"below": None}).model_dump_json()
            rows.append((whose, step, None if one.adapter is None else versions[one.adapter], body))
    db.executemany("INSERT INTO assigned VALUES (?, ?, ?, ?)", rows)


def given(db: sqlite3.Connection, whose: str) -> Assignment | None:
    """Return the highest rung somebody was assigned that can be used, with those below it; None for nothing."""
    rows = db.execute(
        "SELECT a.body FROM assigned a LEFT JOIN versions v ON v.folder = a.folder"
        " WHERE a.whose = ? AND (a.folder IS NULL OR v.state = 'usable') ORDER BY a.step",
        (whose,),
    )
    found: Assignment | None = None
    for (body,) in rows:
        found = Assignment.model_validate_json(body).model_copy(update={"below": found})
    return found


def used(db: sqlite3.Connection) -> dict[str, int]:
    """Return how many people are given a version, by its folder, those who get a tenant's default not counted."""
    # SQLite takes the folder from the row with the highest step.
    return dict(
        db.execute(
            "SELECT folder, count(*) FROM (SELECT a.folder, max(a.step) FROM assigned a JOIN versions v"
            " ON v.folder = a.folder WHERE v.state = 'usable' AND a.whose NOT LIKE 'tenant:%' GROUP BY a.whose)"
            " GROUP BY folder"
        ).fetchall()
    )
