"""A person's own most similar past choices as examples: the few-shot baseline of papers 2 and 3, from their history.

Nothing of anybody else's is used. Answers are clipped and quoted as data; what somebody chose is no instruction either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from persona_plugins.similar_personas.asking import no_use, skipped, unproven
from persona_plugins.similar_personas.block import cost, with_block
from persona_plugins.similar_personas.closeness import Closeness, by_meaning, by_words
from persona_sdk.language import Embedder
from persona_sdk.models import ChatCall, TailorStep
from persona_sdk.notes import past_choices
from persona_sdk.signals import Choice, choices_of
from persona_sdk.tailoring import Tailor, TailorContext, TailorResult

if TYPE_CHECKING:
    from persona_plugins.similar_personas.people import SimilarPersonas

__all__ = ["NEWEST", "OwnChoices"]

#: So many of a person's choices are looked at, the newest ones.
NEWEST = 200
#: So many of these, by their words, are compared by meaning.
CANDIDATES = 20
#: Characters of an answer that are tried, until the examples fit; below the last, there is one example fewer.
_CLIPS = (400, 240, 160, 110, 80, 60)


class OwnChoices(Tailor):
    """Adds the most similar choices the person made to the system prompt, as examples.

    `embedder` compares prompts by meaning; without one they are compared by their words.
    """

    name = "own_choices"
    gated = False
    after = ("lora", "prompt_prefix", "similar_people", "similar_prompt")

    def __init__(self, people: SimilarPersonas, embedder: Callable[[], Embedder | None] = lambda: None) -> None:
        self._people = people
        self._embedder = embedder

    def tailor(self, call: ChatCall, context: TailorContext) -> TailorResult:
        """Put as many examples as fit behind the app's system prompt and the notes."""
        why = no_use(call) or unproven(self._people.way(call.tenant, self.name))
        if why:
            return skipped(self.name, call, why)
        made = self._similar(call)
        if not made:
            return skipped(self.name, call, "they chose nothing yet when asked anything similar")
        for shots in range(len(made), 0, -1):
            for clip in _CLIPS:
                block = past_choices([(c.prompt, c.chosen, c.rejected) for c in made[:shots]], clip)
                if cost(block) <= context.max_tokens:
                    detail = f"{shots} of their own past choices as examples"
                    step = TailorStep(tailor=self.name, tokens_added=cost(block), detail=detail)
                    return TailorResult(with_block(call, block), step)
        return skipped(self.name, call, "no example fits into max_tokens")

    def _similar(self, call: ChatCall) -> list[Choice]:
        """Return the person's choices that are about the same thing, the most similar first, the newest of equals."""
        signals = [stored.signal for stored in self._people.memory.signals(call.tenant, call.user_id)]
        choices = choices_of(signals)[-NEWEST:][::-1]
        if not choices:
            return []
        alike = _alike(by_words(), call.question, choices)
        order = sorted(range(len(choices)), key=lambda i: -alike[i])
        embedder = self._embedder()
        if embedder is not None:  # embedding all of them would take longer than a chat waits
            choices = [choices[i] for i in order[:CANDIDATES]]
            alike = _alike(by_meaning(embedder), call.question, choices)
            order = sorted(range(len(choices)), key=lambda i: -alike[i])
        return [choices[i] for i in order[: self._people.options.shots] if alike[i] > 0]


def _alike(closeness: Closeness, question: str, choices: Sequence[Choice]) -> list[float]:
    found: list[float] = closeness.matrix([question, *(c.prompt for c in choices)])[0, 1:].tolist()
    return found
