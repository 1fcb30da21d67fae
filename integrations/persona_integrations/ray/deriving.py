"""What runs on a Ray worker: people's work in, what learning from them came to out."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from persona_integrations.ray.desk import DeskJournal
from persona_sdk.deriving import Outcome, Work, derive
from persona_sdk.errors import PersonaError
from persona_sdk.hooks import PluginHost
from persona_sdk.inference import Population
from persona_sdk.language import Spent
from persona_sdk.settings import Settings
from persona_sdk.workers import side_by_side

__all__ = ["Deriver", "Result"]


@dataclass(slots=True)
class Result:
    """What came of one person, or why nothing did; `spent` is what was asked of models since the last result."""

    place: int
    outcome: Outcome | None = None
    error: PersonaError | None = None
    spent: Spent = field(default_factory=Spent)


class Deriver:
    """Builds the inferrer once, from settings, and learns from batches of people; `at_once` of a batch side by side."""

    def __init__(self, settings: Settings, population: Population | None, desk: Any, at_once: int) -> None:
        self._inferrer = PluginHost(settings).registry.inferrer(settings.inferrer, settings)
        self._population, self._desk, self._at_once = population, desk, at_once
        self._told = Spent()

    def __call__(self, batch: Any) -> Any:
        """Learn from a batch, an Arrow table of pickled work; return one of pickled results."""
        import pyarrow as pa  # noqa: PLC0415 - comes with Ray Data

        places = batch.column("place").to_pylist()
        works = [pickle.loads(one) for one in batch.column("work").to_pylist()]  # noqa: S301 - made by our own process
        results: dict[int, Result] = {}

        def learn(item: tuple[int, Work]) -> None:
            results[item[0]] = self._result(*item)

        side_by_side(learn, zip(places, works, strict=True), self._at_once)
        now = self._inferrer.spent()
        results[places[-1]].spent, self._told = now - self._told, now
        return pa.table({"result": [pickle.dumps(results[place]) for place in places]})

    def _result(self, place: int, work: Work) -> Result:
        request = replace(work.request, population=self._population)
        journal = DeskJournal(self._desk, request.user_id)
        try:
            return Result(place, derive(replace(work, request=request), self._inferrer, journal))
        except PersonaError as error:
            return Result(place, error=error)


def pickled(work: Work) -> bytes:
    """Return work as it travels: without the population, which each worker has already."""
    return pickle.dumps(replace(work, request=replace(work.request, population=None)))


def batch_of(works: Mapping[int, Work]) -> list[dict[str, Any]]:
    """Return work as rows for Ray Data."""
    return [{"place": place, "work": pickled(work)} for place, work in works.items()]
