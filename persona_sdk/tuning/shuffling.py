"""Whose prefix each person is shown instead of their own, for the control that every evaluation reports."""

from __future__ import annotations

import random
from collections.abc import Collection, Hashable, Mapping

__all__ = ["derangement"]


def derangement(known: Mapping[str, object], lenders: Collection[str], seed: int) -> dict[str, str]:
    """Return for each person of `known` another one, a lender, of whom something else is known if anyhow possible.

    Among lenders each is shown to exactly one other, so that no prefix counts more than another. A person for whom
    there is nobody is left out. The same for the same seed, whatever the order of `known`.
    """
    drawn = sorted(known)
    random.Random(seed).shuffle(drawn)  # noqa: S311 - a seeded draw
    groups: dict[object, list[str]] = {}
    for user in drawn:
        if user in lenders:
            groups.setdefault(_key(known[user]), []).append(user)
    # People of whom the same is known stand together; a turn by the size of the largest group leads out of each group.
    ordered = sorted(groups.values(), key=len, reverse=True)
    ring = [user for group in ordered for user in group]
    instead: dict[str, str] = {}
    if len(ring) > 1:
        turn = min(len(ordered[0]), len(ring) - 1)
        instead = {user: ring[(place + turn) % len(ring)] for place, user in enumerate(ring)}
    for place, user in enumerate(user for user in drawn if user not in instead and ring):
        if user not in lenders:
            turned = [ring[(place + step) % len(ring)] for step in range(len(ring))]
            instead[user] = next((other for other in turned if known[other] != known[user]), turned[0])
    return instead


def _key(value: object) -> Hashable:
    return value if isinstance(value, Hashable) else repr(value)
