"""What still stands after later statements have corrected earlier ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from persona_plugins.contrastive.statements.model import Statement

__all__ = ["standing"]

#: Verbs of taking something in: "I don't eat meat" and "I love meat" are about the same thing.
_TAKING_IN = ("eat ", "drink ", "consume ", "listen ", "watch ")


def _topic(statement: Statement) -> str:
    key = statement.key
    for verb in _TAKING_IN:
        if key.startswith(f"said:{verb}"):
            return "said:" + key.removeprefix(f"said:{verb}")
    return key


def standing(statements: Iterable[Statement]) -> list[Statement]:
    """Return the statements that still stand, in the order in which they were last said.

    `statements` are in the order they were said, over all turns. Of statements about the same thing in the same
    scope the last stands; one that only corrects needs one to correct. A statement that takes back removes what it
    names: in every scope, unless it names one.
    """
    stands: dict[tuple[str, tuple[str, ...]], Statement] = {}
    for statement in statements:
        topic = _topic(statement)
        if not statement.takes_back:
            place = (topic, statement.scope)
            earlier_one = stands.pop(place, None)
            if earlier_one or not statement.corrects:
                stands[place] = replace(statement, corrects=False)
        elif not topic:
            if stands:
                stands.popitem()
        else:
            for place, earlier in list(stands.items()):
                same_scope = not statement.scope or statement.scope == earlier.scope
                if place[0] == topic and same_scope and statement.takes_back in {"either", earlier.polarity}:
                    del stands[place]
    return list(stands.values())
