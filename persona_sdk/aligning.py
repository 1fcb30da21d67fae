"""Which of the messages an app gave each message of a tailored call is: what was left alone stays as it came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from persona_sdk.models import Message

__all__ = ["Place", "align"]


class Place(NamedTuple):
    """Where a message comes from: `origin` among those given, None for a new one; `same` if nothing in it changed."""

    origin: int | None
    same: bool


def align(sent: Sequence[Message], given: Sequence[Message]) -> list[Place]:
    """Return for each message of `sent`, which tailors made of `given`, where it comes from.

    A message that is one of `given`, or equal to one (tailors get copies of what they could spoil), is the same. One of
    the same role that holds another's text, or stands in its place, is that one, changed. The others are new.
    """
    index = {id(m): i for i, m in enumerate(given)}
    found = [index.get(id(m)) for m in sent]
    kept = set(found)
    left = dict.fromkeys(i for i in range(len(given)) if i not in kept)

    def assign(position: int, fitting: Iterable[int]) -> None:
        if (original := next(iter(fitting), None)) is not None:
            found[position] = original
            del left[original]

    front = list(zip(range(len(sent)), range(len(given)), strict=False))
    back = list(zip(range(len(sent) - 1, -1, -1), range(len(given) - 1, -1, -1), strict=False))
    for pairs in (front, back):  # which of several equal messages it is, their neighbours tell
        for position, original in pairs:
            if found[position] is None and original in left and given[original] == sent[position]:
                assign(position, [original])
            elif found[position] != original:
                break
    for position, message in enumerate(sent):
        if found[position] is None:
            assign(position, (i for i in left if given[i] == message))
    exact = list(found)
    for position, message in enumerate(sent):
        if found[position] is None:
            akin = [i for i in left if given[i].role == message.role]
            grown = [i for i in akin if given[i].text in message.text]
            assign(position, grown or [i for i in akin if i == position and len(sent) == len(given)])
    return [Place(i, i is not None and i == e) for i, e in zip(found, exact, strict=True)]
