"""Where hypotheses come from: what is often true of people, and what a chat model makes of this person's signals."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from persona_plugins.abductive.hygiene import same
from persona_plugins.abductive.hypotheses import Hypothesis, common, hypothesis, subject_of
from persona_sdk.errors import ModelError
from persona_sdk.inference import InferenceRequest, PairPersonas
from persona_sdk.language import Journal, Spent
from persona_sdk.models import Evidence, Trait
from persona_sdk.scoring import StatementScorer
from persona_sdk.signals import Choice, Utterance

if TYPE_CHECKING:
    from persona_plugins.abductive.dialogue import Held, Reader
    from persona_plugins.abductive.proposing import Proposer

__all__ = ["Sources"]

#: Choices shown to the model at once (paper: arXiv 2505.13257 shows four).
SHOWN = 4
#: Groups of choices the model is shown, the first a person made; each is one call, and two more for a pair of it. They
#: stay the same, so that nothing is asked again, and nothing that was tested is lost, when there are more choices.
GROUPS = 3
#: Log-odds shown for a trait somebody stated: their word, not an estimate.
STATED_WEIGHT = 1.0


class Sources:
    """The common sentences, and with a model its proposals and what it reads in what the person said.

    Only every other choice, by its id, is ever shown to the model: the rest are there to test what it says.
    """

    def __init__(
        self, proposer: Proposer | None = None, reader: Reader | None = None, *, with_common: bool = True
    ) -> None:
        self.common: list[Hypothesis] = common() if with_common else []
        self._proposer = proposer
        self._reader = reader

    def held(self, request: InferenceRequest) -> tuple[Held, ...]:
        """Return what the model read in what the person said; nothing without a model."""
        return () if self._reader is None else self._reader.read(_turns(request), request.journal).held

    def proposed(
        self, request: InferenceRequest, choices: Sequence[Choice], held: Sequence[Held] = ()
    ) -> list[Hypothesis]:
        """Ask the model what would explain some of a person's choices; what they said of their character joins it."""
        found: list[Hypothesis] = []
        if self._proposer is not None:
            shown = [c for c in choices if zlib.crc32(c.signal_id.encode("utf-8", "replace")) % 2 == 0]
            groups = [shown[i : i + SHOWN] for i in range(0, len(shown) - SHOWN + 1, SHOWN)]
            for group in groups[:GROUPS]:
                found += self._of_group(self._proposer, group, request.journal, found)
        return found + [hypothesis(h.statement) for h in held if h.kind == "personality"]

    @staticmethod
    def _of_group(
        proposer: Proposer, group: Sequence[Choice], journal: Journal | None, before: Sequence[Hypothesis]
    ) -> list[Hypothesis]:
        tried = tuple(h.statement for h in before)
        several = proposer.contrasts(group, journal, tried) if tried else proposer.several(group, journal)
        # What was proposed before is part of the question, and with it the choices that it was made up from.
        ids = {c.signal_id for c in group}.union(*(h.proposed_from for h in before))
        found = [hypothesis(statement, ids) for statement in several]
        pair = proposer.pair(group[-1], journal)
        if pair.chosen is None or (pair.rejected is not None and same(pair.chosen, pair.rejected)):
            return found  # a sentence that would explain either choice explains none
        return [*found, hypothesis(pair.chosen, [group[-1].signal_id], contrary=pair.rejected)]

    @staticmethod
    def said(held: Sequence[Held], inferrer: str) -> list[Trait]:
        """Return what a person says of themselves in so many words, as traits; each quotes them."""
        return [_stated(h, inferrer) for h in held if h.kind != "personality"]

    def pair(self, choice: Choice, journal: Journal | None) -> PairPersonas:
        """Ask who would choose either answer of a pair.

        Raises:
            ModelError: there is no model to ask.
        """
        if self._proposer is None:
            raise ModelError("inferring a persona from one choice needs a chat model: set `model`, or --model local")
        return self._proposer.pair(choice, journal)

    def spent(self, scorer: StatementScorer) -> Spent:
        """Return what the model and a scorer were asked; a judge asks through the same caller and counts there."""
        proposed = self._proposer.spent() if self._proposer is not None else Spent()
        shared = self._proposer is not None and getattr(scorer, "asks", None) is self._proposer.asks
        return proposed if shared else proposed + scorer.spent()


def _turns(request: InferenceRequest) -> list[Utterance]:
    return [s for s in request.signals if isinstance(s, Utterance)]


def _stated(held: Held, inferrer: str) -> Trait:
    made = hypothesis(held.statement)
    # Under the key of a common sentence, their word silences what was inferred of that subject.
    key, polarity = subject_of(held.statement) or (made.key, "for")
    sign = 1.0 if polarity == "for" else -1.0
    return Trait(
        key=key,
        polarity=polarity,
        statement=made.wording(1.0),
        kind="fact" if held.kind == "fact" else made.kind,
        weight=sign * STATED_WEIGHT,
        interval=(sign * STATED_WEIGHT, sign * STATED_WEIGHT),
        evidence=(Evidence(signal_id=held.signal_id, quote=held.quote),),
        stated=True,
        inferrer=inferrer,
    )
