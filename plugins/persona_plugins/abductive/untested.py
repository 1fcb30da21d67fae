"""The control: a model's personas believed as it wrote them, as the published systems do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from persona_sdk.inference import HeldOutChoice, Inference, InferenceRequest, Inferrer, PairPersonas
from persona_sdk.language import Journal, Spent
from persona_sdk.laplace import Array, sigmoid
from persona_sdk.models import Evidence, Trait
from persona_sdk.scoring import Offer, StatementScorer
from persona_sdk.signals import Choice, choices_of

if TYPE_CHECKING:
    from persona_plugins.abductive.hypotheses import Hypothesis
    from persona_plugins.abductive.sources import Sources

__all__ = ["Untested"]


class Untested(Inferrer):
    """Believes every sentence the model proposes, each as much as the next. To compare with, not to use."""

    name = "abductive-untested"

    def __init__(self, scorer: StatementScorer, sources: Sources) -> None:
        self._scorer = scorer
        self._sources = sources

    def infer(self, request: InferenceRequest) -> Inference:
        """Return what the model proposes, as traits."""
        choices = choices_of(request.signals)
        proposed = self._sources.proposed(request, choices)
        logit = self._logit(choices, proposed, request.journal)
        return Inference(
            traits=tuple(_believed(h, self.name) for h in proposed if h.proposed_from),
            held_out=tuple(
                HeldOutChoice(signal_id=c.signal_id, with_persona=float(p), without=float(np.log(0.5)))
                for c, p in zip(choices, np.log(np.clip(sigmoid(logit), 1e-12, 1.0)), strict=True)
            ),
            note="" if proposed else "the model proposed nothing that can be used",
        )

    def predict(self, request: InferenceRequest, asked: Sequence[Choice]) -> list[float]:
        """Return the probability of each choice if every sentence were true and mattered alike."""
        proposed = self._sources.proposed(request, choices_of(request.signals))
        return [float(p) for p in sigmoid(self._logit(asked, proposed, request.journal))]

    def _logit(self, choices: Sequence[Choice], proposed: Sequence[Hypothesis], journal: Journal | None) -> Array:
        if not choices or not proposed:
            return np.zeros(len(choices))
        offers = [Offer(c.prompt, (c.chosen, c.rejected)) for c in choices]
        scored = self._scorer.score(offers, [h.statement for h in proposed], journal)
        values = np.array([[chosen - rejected for chosen, rejected in by_sentence] for by_sentence in scored])
        for column, h in enumerate(proposed):
            values[[i for i, c in enumerate(choices) if c.signal_id in h.proposed_from], column] = 0.0
        typical = np.sqrt((values**2).mean(axis=0))
        mean: Array = (values / np.maximum(typical, 1e-9)).mean(axis=1)
        return mean

    def abduce(self, choice: Choice, journal: Journal | None = None) -> PairPersonas:
        """Ask the model who would choose either answer."""
        return self._sources.pair(choice, journal)

    def spent(self) -> Spent:
        """Return what was asked of the model and the scorer."""
        return self._sources.spent(self._scorer)


def _believed(hypothesis: Hypothesis, inferrer: str) -> Trait:
    return Trait(
        key=hypothesis.key,
        statement=hypothesis.wording(1.0),
        kind=hypothesis.kind,
        weight=1.0,
        interval=(1.0, 1.0),
        evidence=tuple(Evidence(signal_id=i) for i in sorted(hypothesis.proposed_from)),
        inferrer=inferrer,
    )
