"""By likelihood: an answer suits a sentence as far as a model that has read the sentence finds it likelier."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from persona_sdk.errors import SettingsError
from persona_sdk.language import Journal, LikelihoodModel, Messages, Spent
from persona_sdk.scoring import Offer, StatementScorer
from persona_sdk.text import as_data

__all__ = ["NEUTRAL", "LikelihoodScorer"]

#: What a sentence is compared with: a note that says nothing, so that the mere presence of a note does not count.
NEUTRAL = "The user asked a question."
#: Longest text that is scored, in characters; of longer answers the beginning is.
_LONGEST = 1500


class LikelihoodScorer(StatementScorer):
    """Mean log-likelihood of the answer's tokens given the sentence, less that given a note that says nothing.

    Small models that cannot put a persona into words still find a formal answer likelier after "prefers a formal tone".
    """

    name = "likelihood"
    quick = False

    def __init__(self, model: Any, *, name: str) -> None:
        if not isinstance(model, LikelihoodModel):
            raise SettingsError(
                f"the scorer 'likelihood' needs a model that gives likelihoods, which {name!r} does not: use 'local'"
            )
        self._model = model
        self._model_name = name
        self._lock = threading.Lock()
        self._spent = Spent()
        self._known: dict[str, float] = {}

    def score(
        self, offers: Sequence[Offer], statements: Sequence[str], journal: Journal | None = None
    ) -> list[list[list[float]]]:
        """Return nats per token. What the journal knows is not scored again."""
        if not offers or not statements:
            return [[[0.0] * len(offer.answers) for _ in statements] for offer in offers]
        sentences = [NEUTRAL, *statements]
        wanted = {
            self._digest(offer.prompt, sentence, answer): (offer.prompt, sentence, answer)
            for offer in offers
            for sentence in sentences
            for answer in offer.answers
        }
        known = self._look_up(list(wanted), journal)
        missing = {digest: what for digest, what in wanted.items() if digest not in known}
        known |= self._ask(missing, journal)

        def of(offer: Offer, sentence: str) -> list[float]:
            return [known[self._digest(offer.prompt, sentence, answer)] for answer in offer.answers]

        neutral = [of(offer, NEUTRAL) for offer in offers]
        return [
            [[a - b for a, b in zip(of(offer, s), without, strict=True)] for s in statements]
            for offer, without in zip(offers, neutral, strict=True)
        ]

    def _look_up(self, digests: Sequence[str], journal: Journal | None) -> dict[str, float]:
        with self._lock:
            known = {digest: self._known[digest] for digest in digests if digest in self._known}
        if journal is not None and len(known) < len(digests):
            kept = journal.get([d for d in digests if d not in known])
            known |= {digest: float(value) for digest, value in kept.items()}
        return known

    def _ask(self, missing: Mapping[str, tuple[str, str, str]], journal: Journal | None) -> dict[str, float]:
        """Score what is missing, a part at a time: what is journalled is not lost when the process is killed."""
        found: dict[str, float] = {}
        digests = list(missing)
        for start in range(0, len(digests), _BATCH):
            part = digests[start : start + _BATCH]
            texts = [missing[digest] for digest in part]
            asked = [(_asked(prompt, sentence), answer[:_LONGEST]) for prompt, sentence, answer in texts]
            answers = self._model.log_likelihoods(asked)
            new = {d: a.total / max(a.tokens, 1) for d, a in zip(part, answers, strict=True)}
            if journal is not None:
                journal.put({digest: repr(value) for digest, value in new.items()})
            found |= new
            with self._lock:
                self._spent += Spent(scored=len(part))
                if len(self._known) > _REMEMBERED:
                    self._known.clear()
                self._known |= new
        return found

    def _digest(self, prompt: str, sentence: str, answer: str) -> str:
        what = json.dumps(["likelihood", self._model_name, _asked(prompt, sentence), answer[:_LONGEST]])
        return hashlib.sha256(what.encode()).hexdigest()

    def spent(self) -> Spent:
        """Return how many answers were scored."""
        with self._lock:
            return self._spent


_BATCH = 64
_REMEMBERED = 200_000


def _asked(prompt: str, sentence: str) -> Messages:
    return [{"role": "user", "content": f"{as_data(prompt, _LONGEST)}\n({sentence})"}]
