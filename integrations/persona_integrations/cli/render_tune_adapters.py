"""Adapters as tables and sentences: how they stand, and what became of those that hold forgotten people's signals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from persona_integrations.cli.render import simple_table
from persona_integrations.cli.terminal import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from persona_sdk.tuning.assignments import Assignment
    from persona_sdk.tuning.forgetting import Affected
    from persona_sdk.tuning.listing import Listed

__all__ = ["about", "adapters", "affected", "as_data", "forgotten"]


def as_data(one: Listed) -> dict[str, Any]:
    """Return how an adapter stands, JSON-ready; of the people in it only how many they are."""
    card = one.card
    found: dict[str, Any] = {
        "name": one.name,
        "rung": one.rung,
        "usable": one.usable,
        "forgotten": one.forgotten,
        "used_by": one.used_by,
        "exports": list(one.exports),
        "damaged": card is None,
    }
    if card is not None:
        found |= {
            "tenant": card.tenant,
            "parent": card.parent,
            "base": card.base.name,
            "people": len(card.people),
            "cluster": len(card.cluster),
            "rows": dict(card.rows),
            "metrics": dict(card.metrics),
            "at": card.at.isoformat(),
        }
    return found


def adapters(console: Console, listed: Sequence[Listed]) -> None:
    """Print a row for each adapter."""
    if not listed:
        console.print("There are no adapters yet.")
        return
    numbers = ("people", "used by")
    table = simple_table("adapter", "rung", *numbers, "right", "parent", "base", "state", right=(*numbers, "right"))
    for one in listed:
        card = one.card
        table.add_row(
            one.name,
            one.rung,
            "–" if card is None else f"{len(card.people):,}",
            f"{one.used_by:,}",
            _right(one),
            "–" if card is None else one_line(card.parent or "–", 64),
            "–" if card is None else one_line(card.base.name.rstrip("/").rpartition("/")[2], 40),
            _state(one),
        )
    console.print(table)


def about(console: Console, tenant: str, default: Assignment | None, problems: Sequence[str]) -> None:
    """Say what everybody else of the tenant is given, what the columns are, and what is wrong."""
    given = "the base model with a prefix" if default is None else default.verified
    console.print(f"\nAll others of the tenant {one_line(tenant, 80)}: {one_line(given, 400)}")
    console.print("people: whose signals are in it. used by: people it is given to by name, by their held-out choices.")
    console.print("right: choices predicted right after the last stage, of people left out; --json has all figures.")
    for problem in problems:
        console.print(f"Problem: {one_line(problem, 400)}")


def forgotten(console: Console, listed: Sequence[Listed]) -> None:
    """Print which adapters hold signals of forgotten people, and what that means for them."""
    if not listed:
        console.print("No adapter holds signals of somebody who was forgotten.")
        return
    table = simple_table("adapter", "rung", "forgotten", "state", "exported to", right=("forgotten",))
    for one in listed:
        exports = ", ".join(map(str, one.exports)) or "–"
        table.add_row(one.name, one.rung, f"{one.forgotten:,}", _state(one), one_line(exports, 200))
    console.print(table)
    console.print(
        "\nforgotten: people who were forgotten, and whose signals are in it. Train it anew without them, or decide"
        " with --apply mark, retrain or drop. Exports are out of reach from here: unload them in the server, and delete"
        " them."
    )


def affected(console: Console, done: Sequence[Affected]) -> None:
    """Print what became of adapters, a line each."""
    if not done:
        console.print("No adapter holds signals of somebody who was forgotten.")
    for one in done:
        console.print(f"{one.name}: {_BECAME[one.became]}")
        for path in one.exports:
            console.print(f"  exported to {one_line(path, 200)}: unload it in the server, and delete it")


_BECAME = {
    "marked": "stays in use, and is listed",
    "withdrawn": "is given to nobody until it is trained anew",
    "dropped": "deleted",
}


def _state(one: Listed) -> str:
    if one.card is None:
        return "damaged"
    if not one.usable:
        return "to be trained anew"
    return "in use, marked" if one.forgotten else "in use"


def _right(one: Listed) -> str:
    """Return the accuracy on people left out of the last stage that has one; stages are named by number and method."""
    metrics = {} if one.card is None else one.card.metrics
    found = {
        int(name.partition("-")[0]): value
        for name, value in metrics.items()
        if name.endswith("/validation_accuracy") and name.partition("-")[0].isdecimal() and value is not None
    }
    return f"{found[max(found)]:.0%}" if found else "–"
