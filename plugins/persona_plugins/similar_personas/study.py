"""What similar people bring to each other, worked out over given histories: for evaluation, by exact cosines."""

from __future__ import annotations

from collections.abc import Sequence

from persona_plugins.similar_personas.blending import Borrowing, added, borrowed
from persona_plugins.similar_personas.fitting import fit
from persona_plugins.similar_personas.leanings import leanings_of
from persona_sdk.inference import History, InferenceRequest, Inferrer, Population
from persona_sdk.signals import Choice, choices_of
from persona_sdk.similar import Neighbour, Study

__all__ = ["LeaningStudy"]


class LeaningStudy(Study):
    """Compares people by their leanings, and lends where that was verified to help on these histories.

    Everybody with a signal lends, under names that `agree` of the lenders agree on. `borrowing` is what was found, and
    `verified` says it in a sentence.
    """

    def __init__(
        self, inferrer: Inferrer, population: Population | None, histories: Sequence[History], agree: int = 1
    ) -> None:
        lenders = [h for h in histories if h.signals]
        self._inferrer, self._population = inferrer, population
        self._lent = leanings_of(inferrer, population, lenders)
        self.borrowing: Borrowing = fit(inferrer, population, lenders, agree=agree)
        self.verified = self.borrowing.verified

    def neighbours(self, request: InferenceRequest, limit: int | None = None) -> list[Neighbour]:
        """Return everybody else by falling similarity; [] for someone who leans nowhere yet."""
        alike = self._alike(request)
        alike.sort(key=lambda found: (-found[0], found[1]))
        return [Neighbour(self._lent.users[v], similarity) for similarity, v in alike[:limit]]

    def adds(self, request: InferenceRequest, asked: Sequence[Choice]) -> list[float]:
        """Return what borrowing adds to the log-odds of each `chosen`; 0 where it was refused."""
        if not self.borrowing.strength or not asked:
            return [0.0] * len(asked)
        lenders = [(similarity, self._lent.weights[v]) for similarity, v in self._alike(request)]
        weights = borrowed(lenders, self.borrowing, len(choices_of(request.signals)))
        return [added(weights, contrast) for contrast in self._inferrer.contrast(self._population, asked)]

    def _alike(self, request: InferenceRequest) -> list[tuple[float, int]]:
        """Return the similarity and the place of everybody but the one who asks."""
        leaning = self._inferrer.leaning(request)
        if not leaning:
            return []
        cosines = self._lent.cosines(leaning, self.borrowing.groups)
        return [(float(c), v) for v, c in enumerate(cosines) if self._lent.users[v] != request.user_id]
