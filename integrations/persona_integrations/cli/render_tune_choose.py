"""Which rungs people are given and how these compare, and clusters, as tables, sentences and arguments."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from persona_integrations.cli.render import simple_table
from persona_integrations.cli.terminal import clean, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from persona_sdk.tuning.cards import Card
    from persona_sdk.tuning.rungs import Climb

__all__ = ["about", "as_data", "climb", "clusters"]


def as_data(found: Climb, cards: Sequence[Card]) -> dict[str, Any]:
    """Return what was found, JSON-ready: `now` are people who are given a rung in the end."""
    now = _now(found)
    return {
        "rungs": [
            {
                **one.model_dump(mode="json"),
                "adapters": _names(one.rung, cards),
                "now": now[one.rung],
                "verified": one.verified,
            }
            for one in found.table
        ],
        "default": {**found.default.model_dump(mode="json"), "verified": found.default.verified}
        if _names("shared", cards)
        else None,
        "people": {user: one.model_dump(mode="json") for user, one in sorted(found.assignments.items())},
    }


def climb(console: Console, found: Climb, cards: Sequence[Card]) -> None:
    """Print a row for each rung, and for each above the first whether it helps, in a sentence."""
    numbers = ("people", "choices", "below", "with", "gain", "±", "given to")
    table = simple_table("rung", "adapter", *numbers, right=numbers)
    now = _now(found)
    for one in found.table:
        names = _names(one.rung, cards)
        first = one.rung == "prefix"
        table.add_row(
            one.rung,
            "–" if first else names[0] if len(names) == 1 else f"{len(names):,} adapters",
            f"{one.people:,}",
            f"{one.choices:,}",
            "–" if first else f"{one.accuracy_below:.1%}",
            f"{one.accuracy:.1%}",
            "–" if first else f"{one.gain:+.4f}",
            f"{one.standard_error:.4f}" if one.standard_error else "–",
            f"{now[one.rung]:,}",
        )
    console.print(table)
    console.print()
    for one in found.table[1:]:
        console.print(f"{one.verified[:1].upper()}{one.verified[1:]}.")


def about(console: Console, tenant: str, found: Climb, cards: Sequence[Card]) -> None:
    """Say what everybody else of the tenant is given, and what the columns are."""
    given = found.default.verified if _names("shared", cards) else "as before, no shared adapter was measured"
    console.print(f"All others of the tenant {one_line(tenant, 80)}: {one_line(given, 400)}.")
    console.print(
        "\nbelow, with: choices predicted right by what each person was given before, and by this. gain: nats a choice,"
        " ±: its standard error over people. given to: people who are given this in the end."
    )


def clusters(console: Console, found: Sequence[Sequence[str]]) -> int:
    """Print each group as arguments; return how many people's ids cannot be typed as they are shown."""
    if not found:
        console.print("Nobody is known to lean to anything; `persona similar rebuild` learns it.")
        return 0
    if len(found) == 1:
        console.print("They are one cluster: no division leaves enough people in each part. A shared adapter will do.")
    for number, group in enumerate(found, start=1):
        many = "1 person" if len(group) == 1 else f"{len(group):,} people"
        console.print(f"Cluster {number}: {many}")
        typed = " ".join(f"--cluster {shlex.quote(clean(user))}" for user in group)
        console.print(typed, soft_wrap=True)
    return sum(clean(user) != user for group in found for user in group)


def _now(found: Climb) -> Counter[str]:
    return Counter(one.rung for one in found.assignments.values())


def _names(rung: str, cards: Sequence[Card]) -> list[str]:
    return [card.name for card in cards if card.rung == rung]
