"""Clusters of similar people, each of which may be given an adapter of its own.

The one file of the core that uses scikit-learn, when it is called. Only the directions of leanings count: people who
prefer the same, faintly or strongly, belong together. Whether a cluster's adapter is of any use is not said here, but
by held-out choices (see `rungs`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from persona_sdk.errors import InputError, MissingExtraError
from persona_sdk.memory import Leaning, Memory

__all__ = ["MINIMUM_SIZE", "clusters", "from_memory"]

#: A smaller cluster would have an adapter of a handful of people, and tell too much of each.
MINIMUM_SIZE = 5
#: So many clusters are tried at most where none is asked for.
_MAX_CLUSTERS = 12
#: People whose silhouettes are computed, drawn at random: it takes time in their number squared.
_SAMPLE = 2000
_PAGE = 1000
_Labels: TypeAlias = npt.NDArray[np.intp]


def clusters(leanings: Mapping[str, Mapping[str, float]], k: int | None = None, seed: int = 0) -> list[tuple[str, ...]]:
    """Return groups of people who lean alike, by user id, the largest first; the same for the same people and seed.

    k-means on rows of unit length. `k` None tries 2, 3, … and takes the number with the largest mean silhouette
    (Rousseeuw 1987) of those that leave at least `MINIMUM_SIZE` people in each, one group where none does. Who leans to
    nothing is in no group.

    Raises:
        InputError: `k` is not between 1 and the number of people who lean to anything.
        MissingExtraError: scikit-learn is not installed.
    """
    people, rows = _rows(leanings)
    if k is not None and not 1 <= k <= max(1, len(people)):
        raise InputError(f"k: has to be between 1 and {len(people):,}, the people who lean to anything", field="k")
    if not people:
        return []
    most = min(_MAX_CLUSTERS, len(people) // MINIMUM_SIZE, len(np.unique(rows.round(9), axis=0)))
    if k == 1 or (k is None and most < 2):
        return [tuple(people)]
    if k is not None:
        found = _grouped(rows, k, seed)
    else:
        found = _best([_grouped(rows, tried, seed) for tried in range(2, most + 1)], rows, seed)
    groups = [
        tuple(person for person, its in zip(people, found, strict=True) if its == one) for one in np.unique(found)
    ]
    return sorted(groups, key=lambda group: (-len(group), group))


def from_memory(memory: Memory, tenant: str) -> dict[str, Mapping[str, float]]:
    """Return the leanings of everybody in a tenant who lends and leans to anything, by user id.

    Where several inferrers learnt them only those of the one with the most are returned: their names differ.
    """
    found = list(_lent(memory, tenant))
    count = Counter(leaning.inferrer for leaning in found)
    chosen = max(sorted(count), key=lambda name: count[name], default="")
    return {leaning.user_id: leaning.weights for leaning in found if leaning.inferrer == chosen}


def _lent(memory: Memory, tenant: str) -> Iterator[Leaning]:
    after = 0
    while page := memory.lent(tenant, after, _PAGE):
        yield from memory.leanings(tenant, [lent.key for lent in page]).values()
        after = page[-1].row


def _rows(leanings: Mapping[str, Mapping[str, float]]) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Return who leans to anything, sorted, and their leanings as rows of unit length."""
    names = {name: n for n, name in enumerate(sorted({name for one in leanings.values() for name in one}))}
    people = sorted(leanings)
    rows = np.zeros((len(people), len(names)))
    for row, person in zip(rows, people, strict=True):
        for name, weight in leanings[person].items():
            row[names[name]] = weight
    if not np.isfinite(rows).all():
        raise InputError("leanings: a weight is not finite", field="leanings")
    length = np.linalg.norm(rows, axis=1) if names else np.zeros(len(people))
    some = length > 0
    return [person for person, leans in zip(people, some, strict=True) if leans], rows[some] / length[some, None]


def _grouped(rows: npt.NDArray[np.float64], k: int, seed: int) -> _Labels:
    try:
        from sklearn.cluster import KMeans  # noqa: PLC0415 - heavy
    except ImportError:
        raise MissingExtraError(
            "clusters need scikit-learn: pip install 'persona-sdk[tune]'", plugin="tuning"
        ) from None
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - only here

    with threadpool_limits(1):  # sums in another order could put somebody elsewhere
        found: _Labels = KMeans(k, n_init=10, random_state=seed).fit_predict(rows)
    return found


def _best(tried: list[_Labels], rows: npt.NDArray[np.float64], seed: int) -> _Labels:
    """Return the grouping with the largest mean silhouette whose groups are large enough, else everybody together."""
    from sklearn.metrics import silhouette_score  # noqa: PLC0415 - heavy

    best, chosen = -np.inf, np.zeros(len(rows), np.intp)
    for labels in tried:
        sizes = np.bincount(labels)
        if len(sizes[sizes > 0]) < 2 or sizes.min() < MINIMUM_SIZE:
            continue
        score = silhouette_score(rows, labels, sample_size=min(_SAMPLE, len(rows)), random_state=seed)
        if score > best:
            best, chosen = score, labels
    return chosen
