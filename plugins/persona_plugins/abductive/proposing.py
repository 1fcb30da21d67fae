"""Asks a chat model who would choose as this person did. What it says is a proposal: it is tested elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from threading import Lock

from persona_plugins.abductive.hygiene import check, same
from persona_plugins.abductive.prompts import (
    EXAMPLES,
    ONE_TEXT,
    SEVERAL_TEXTS,
    Asks,
    Explanations,
    Persona,
    Sentence,
    about_choices,
    about_pair,
    ask,
    excerpt,
)
from persona_sdk.inference import PairPersonas
from persona_sdk.language import Journal, Spent
from persona_sdk.signals import Choice

__all__ = ["Discarded", "Proposer"]

#: Choices shown at once: four, as in arXiv 2505.13257; twice as many where other explanations are looked for.
SHOWN, SHOWN_AGAIN = 4, 8


class Discarded:
    """Counts by reason of what models said and nobody will see; shared by threads."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = Lock()

    def count(self, reason: str) -> None:
        """Count one more."""
        with self._lock:
            self._counts[reason] += 1

    def so_far(self) -> dict[str, int]:
        """Return how many were discarded, by reason."""
        with self._lock:
            return dict(sorted(self._counts.items()))


class Proposer:
    """Proposes sentences of which each may be true of a person, from what they chose.

    Every sentence passed `hygiene.check`; none has been tested. `allowed` are the protected categories a sentence may
    speak of. No method makes more than two calls, and none raises for odd text or odd answers.
    """

    def __init__(self, caller: Asks, *, allowed: frozenset[str] = frozenset()) -> None:
        self._caller, self._allowed = caller, allowed
        self._discarded = Discarded()

    def pair(self, choice: Choice, journal: Journal | None = None) -> PairPersonas:
        """Say who would pick either answer, in two calls (paper: arXiv 2501.11549, section 3)."""
        return PairPersonas(
            chosen=self._of_pair(choice.prompt, choice.chosen, choice.rejected, journal),
            rejected=self._of_pair(choice.prompt, choice.rejected, choice.chosen, journal),
        )

    def several(self, choices: Sequence[Choice], journal: Journal | None = None, number: int = 6) -> tuple[str, ...]:
        """Describe a person by preferences and facts, from the first four choices (paper: 2505.13257)."""
        shown = choices[:SHOWN]
        if not shown:
            return ()
        found = ask(self._caller, about_choices(shown, number), Persona, journal)
        if found is None:
            self._discarded.count("unanswered")
            return ()
        return self._usable([*found.preferences, *found.facts], shown, (), number)

    def contrasts(
        self, choices: Sequence[Choice], journal: Journal | None = None, tried: Sequence[str] = (), number: int = 6
    ) -> tuple[str, ...]:
        """Propose other explanations than those `tried` before, from the last eight choices at most.

        Proposing again follows SynthesizeMe (paper: arXiv 2506.05598), where a test failed; here nothing is tested yet.
        """
        shown = choices[-SHOWN_AGAIN:]
        if not shown:
            return ()
        found = ask(self._caller, about_choices(shown, number, tried), Explanations, journal)
        if found is None:
            self._discarded.count("unanswered")
            return ()
        return self._usable(found.sentences, shown, tried, number)

    def discarded(self) -> dict[str, int]:
        """Return how many sentences could not be used, by reason; "unanswered" counts calls, "known" repetitions."""
        return self._discarded.so_far()

    @property
    def asks(self) -> Asks:
        """What it asks its model through; shared with whoever else asks that model."""
        return self._caller

    def spent(self) -> Spent:
        """Return what the model was asked."""
        return self._caller.spent()

    def _of_pair(self, prompt: str, picked: str, other: str, journal: Journal | None) -> str | None:
        found = ask(self._caller, about_pair(prompt, picked, other), Sentence, journal)
        if found is None:
            self._discarded.count("unanswered")
            return None
        return self._checked(found.sentence, [excerpt(text, ONE_TEXT) for text in (prompt, picked, other)])

    def _usable(
        self, sentences: Iterable[str], shown: Sequence[Choice], tried: Sequence[str], number: int
    ) -> tuple[str, ...]:
        sources = [excerpt(text, SEVERAL_TEXTS) for c in shown for text in (c.prompt, c.chosen, c.rejected)]
        kept: list[str] = []
        for sentence in sentences:
            if len(kept) == number:
                break
            checked = self._checked(sentence, sources)
            if checked is None:
                continue
            if any(same(checked, other) for other in (*kept, *tried)):
                self._discarded.count("known")
            else:
                kept.append(checked)
        return tuple(kept)

    def _checked(self, sentence: str, sources: Sequence[str]) -> str | None:
        found, reason = check(sentence, sources, allowed=self._allowed)
        if found is not None and any(same(found, example) for example in EXAMPLES):
            found, reason = None, "copied"  # small models repeat what they were shown, whoever they are asked about
        if reason:
            self._discarded.count(reason)
        return found
