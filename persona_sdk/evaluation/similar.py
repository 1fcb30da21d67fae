"""Are the people who are found to be similar truly similar?

Each source is one tenant. Everything is learnt from the rows of fold `fit`. Of some people a file says who is most and
who is least similar to them, by evidence that nobody here has seen. Everybody else of the source is ranked for each of
them: *similar* by `Study.neighbours`, *sentences* by the cosine of embeddings of the traits inferred of each person,
*joined* by the sum of both, *random* by chance.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from persona_sdk.errors import InputError
from persona_sdk.evaluation._figures import rounded
from persona_sdk.evaluation.choices import ChoiceRow
from persona_sdk.inference import History, InferenceRequest, Inferrer, Population
from persona_sdk.interchange import Problem, read_rows
from persona_sdk.language import Embedder
from persona_sdk.signals import Signal
from persona_sdk.similar import Study

__all__ = [
    "METHODS",
    "Found",
    "SimilarReport",
    "SimilarSource",
    "SimilarityRow",
    "Studies",
    "evaluate_similar",
    "fit_signals",
    "read_similarity_rows",
]

METHODS = ("similar", "sentences", "joined", "random")
#: How many of the first are looked at.
FIRST = 10

#: Works out what similar people bring to each other, as `SimilarPeople.study` does.
Studies: TypeAlias = Callable[[str, Inferrer, Population | None, Sequence[History]], Study]
#: How similar others are to one person, by user id.
_Scores: TypeAlias = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SimilarityRow:
    """Who is truly most, and who truly least similar to one person of a source."""

    source: str
    user_id: str
    most: tuple[str, ...]
    least: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """How well one method finds who is similar, means over people; None where there is nobody to take a mean over.

    `auc` is the probability that a truly similar person ranks before a truly dissimilar one (½ is chance), with its
    standard error over people. `rank` is the mean rank (1 is first; who ties shares the mean of their ranks) and `hit`
    the share of the first ten, of those *similar* and those *dissimilar*.
    """

    auc: float | None
    standard_error: float | None
    rank: Mapping[str, float | None]
    hit: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class SimilarSource:
    """The figures of one source.

    `users` had somebody to find among `people`, of whom `described` have sentences; `skipped` are named in the file but
    not among those people. `left_out` says of methods why they are not there, `verified` what borrowing is worth.
    """

    users: int
    people: int
    described: int
    skipped: int
    verified: str
    methods: Mapping[str, Found]
    left_out: Mapping[str, str]
    seconds: float


@dataclass(frozen=True, slots=True)
class SimilarReport:
    """The figures of all sources, and how many rows were of sources nobody's choices are known of."""

    sources: Mapping[str, SimilarSource]
    skipped: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the report JSON-ready."""
        sources = {}
        for name, source in self.sources.items():
            figures = {f: getattr(source, f) for f in source.__dataclass_fields__}
            methods = {m: {f: getattr(a, f) for f in a.__dataclass_fields__} for m, a in source.methods.items()}
            sources[name] = rounded({**figures, "methods": methods})
        return {"sources": sources, "skipped": dict(self.skipped)}


def read_similarity_rows(path: Path) -> tuple[list[SimilarityRow], list[Problem]]:
    """Read rows of user_id, most_similar, least_similar and maybe source; bad lines are returned as problems.

    Both lists hold user ids, or objects with a `user_id`. Whatever else is in a row is ignored.

    Raises:
        InputError: the file cannot be opened.
    """
    return read_rows(path, _similarity_row)


def _similarity_row(row: Any) -> SimilarityRow:
    if not isinstance(row, dict):
        raise InputError(f"a row must be a JSON object, this is {type(row).__name__}")
    user_id = row.get("user_id")
    if not isinstance(user_id, str) or not user_id.strip():
        raise InputError("user_id: must be some text", field="user_id")
    most, least = (_named(row, name, user_id) for name in ("most_similar", "least_similar"))
    if not most or not least:
        raise InputError("most_similar and least_similar: each must name somebody else", field="most_similar")
    if set(most) & set(least):
        raise InputError("most_similar and least_similar: name the same person", field="most_similar")
    return SimilarityRow(str(row.get("source") or "all"), user_id, most, least)


def _named(row: Mapping[str, Any], name: str, user_id: str) -> tuple[str, ...]:
    people = row.get(name)
    if not isinstance(people, list):
        raise InputError(f"{name}: must be a list", field=name)
    named = [person.get("user_id") if isinstance(person, dict) else person for person in people]
    return tuple(dict.fromkeys(one for one in named if isinstance(one, str) and one.strip() and one != user_id))


def evaluate_similar(
    rows: Iterable[ChoiceRow],
    similarity: Sequence[SimilarityRow],
    inferrer: Inferrer,
    studies: Studies,
    *,
    embedder: Embedder | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> SimilarReport:
    """Learn from the fit rows and rank people, source by source. `progress` is told each source's name."""
    fit = fit_signals(rows)
    reports: dict[str, SimilarSource] = {}
    skipped: dict[str, int] = {}
    for source in dict.fromkeys(row.source for row in similarity):
        truth = [row for row in similarity if row.source == source]
        people = fit.get(source)
        if not people:
            skipped[source] = len(truth)
            continue
        progress(source)
        started = time.perf_counter()
        histories = [History(user, signals) for user, signals in people.items()]
        population = inferrer.fit_population(source, histories)
        requests = {u: InferenceRequest(source, u, signals, population) for u, signals in people.items()}
        study = studies(source, inferrer, population, histories)
        sentences = _sentences(inferrer, requests) if embedder else {}
        ranking = _Ranking(study, requests, _embedded(sentences, embedder), random.Random(seed))  # noqa: S311
        left_out = dict.fromkeys(("sentences", "joined"), "no embedder is configured") if embedder is None else {}
        reports[source] = _figures(ranking, truth, left_out, started)
    return SimilarReport(reports, skipped)


def fit_signals(rows: Iterable[ChoiceRow]) -> dict[str, dict[str, list[Signal]]]:
    """Return the signals to learn from, by source and person; rows of nobody are left out."""
    found: dict[str, dict[str, list[Signal]]] = {}
    for row in rows:
        if not row.probe and row.signal.user_id != "(none)":
            found.setdefault(row.source, {}).setdefault(row.signal.user_id, []).append(row.signal)
    return found


def _sentences(inferrer: Inferrer, requests: Mapping[str, InferenceRequest]) -> dict[str, str]:
    """Return what was inferred of each person, as text; people of whom nothing was are left out."""
    told = {u: " ".join(t.statement for t in inferrer.infer(request).traits) for u, request in requests.items()}
    return {user: text for user, text in told.items() if text}


def _embedded(sentences: Mapping[str, str], embedder: Embedder | None) -> dict[str, Sequence[float]]:
    """Return the sentences of each person as a vector of length 1."""
    if embedder is None or not sentences:
        return {}
    vectors = embedder.embed_documents(list(sentences.values()))
    lengths = [math.hypot(*vector) or 1.0 for vector in vectors]
    return {
        user: [x / length for x in vector] for user, vector, length in zip(sentences, vectors, lengths, strict=True)
    }


@dataclass(frozen=True, slots=True)
class _Ranking:
    """Ranks the people of a source by each method."""

    study: Study
    requests: Mapping[str, InferenceRequest]
    vectors: Mapping[str, Sequence[float]]
    chance: random.Random

    def scores(self, user: str) -> dict[str, _Scores]:
        """Return how similar everybody else is to one person, by method."""
        others = [other for other in self.requests if other != user]
        near = {n.user_id: n.similarity for n in self.study.neighbours(self.requests[user])}
        own = self.vectors.get(user, ())
        alike = {other: near.get(other, 0.0) for other in others}
        told = {other: math.fsum(a * b for a, b in zip(own, self.vectors.get(other, ()))) for other in others}  # noqa: B905
        return {
            "similar": alike,
            "sentences": told,
            "joined": {other: alike[other] + told[other] for other in others},
            "random": {other: self.chance.random() for other in others},
        }


def _figures(
    ranking: _Ranking, truth: Sequence[SimilarityRow], left_out: Mapping[str, str], started: float
) -> SimilarSource:
    known = ranking.requests
    named = {user for row in truth for user in (row.user_id, *row.most, *row.least)}
    methods = [method for method in METHODS if method not in left_out]
    judged: dict[str, list[_Judged]] = {method: [] for method in methods}
    for row in truth:
        most, least = ([user for user in named if user in known] for named in (row.most, row.least))
        if row.user_id in known and most and least:
            scores = ranking.scores(row.user_id)
            for method in methods:
                judged[method].append(_judged(scores[method], most, least))
    return SimilarSource(
        users=len(judged["random"]),
        people=len(known),
        described=len(ranking.vectors),
        skipped=len(named - known.keys()),
        verified=ranking.study.verified,
        methods={method: _mean(of) for method, of in judged.items()},
        left_out=left_out,
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True, slots=True)
class _Judged:
    """How well one person's similar people were found: ranks and hits are of the similar and of the dissimilar."""

    auc: float
    rank: tuple[float, float]
    hit: tuple[float, float]


def _judged(scores: _Scores, most: Sequence[str], least: Sequence[str]) -> _Judged:
    pairs = [(scores[a], scores[b]) for a in most for b in least]
    won = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs)
    ranks = [[_rank(scores, user) for user in who] for who in (most, least)]
    mean = [sum(of) / len(of) for of in ranks]
    hit = [sum(rank <= FIRST for rank in of) / len(of) for of in ranks]
    return _Judged(won / len(pairs), (mean[0], mean[1]), (hit[0], hit[1]))


def _rank(scores: _Scores, user: str) -> float:
    """Return the rank, from 1; people who tie share the mean of their ranks."""
    own = scores[user]
    before = sum(score > own for score in scores.values())
    same = sum(score == own for score in scores.values())
    return before + (same + 1) / 2


def _mean(judged: Sequence[_Judged]) -> Found:
    n = len(judged)
    if not n:
        nobody = {"similar": None, "dissimilar": None}
        return Found(None, None, nobody, nobody)
    auc = sum(j.auc for j in judged) / n
    spread = sum((j.auc - auc) ** 2 for j in judged)
    rank, hit = (
        {side: sum(getattr(j, what)[i] for j in judged) / n for i, side in enumerate(("similar", "dissimilar"))}
        for what in ("rank", "hit")
    )
    return Found(auc, math.sqrt(spread / (n - 1) / n) if n > 1 else None, rank, hit)
