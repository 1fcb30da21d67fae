"""Which words tell the personas of chosen answers from those of rejected ones? (arXiv 2501.11549, section 3)

Only the first sentence of a persona counts, up to a phrase of contrast: what follows "rather than" is what somebody
does not want. A word counts once per persona, under its stem.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from persona_sdk.text import content_words, words

__all__ = ["LABELS", "Label", "SalientWord", "gist", "salient", "word_counts"]

Label: TypeAlias = Literal["chosen", "rejected"]
LABELS: tuple[Label, ...] = ("chosen", "rejected")

# A full stop within "e.g. lists" ends no sentence: what follows one begins with anything but a small letter.
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'’”)\]]*\s+(?=[^\sa-z])|(?<=[。！？])|\n")
_CONTRAST = re.compile(r"\b(?:rather\s+than|over|versus|vs|compared\s+to|instead\s+of)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SalientWord:
    """A word, as it was mostly written, and how many chosen and rejected personas hold it in any of its forms."""

    word: str
    chosen: int
    rejected: int

    @property
    def count(self) -> int:
        """In how many personas of either label it occurs."""
        return self.chosen + self.rejected

    def probability(self, label: Label) -> float:
        """P(label | word): the share of the personas with this word that have the label, in [0, 1]."""
        return (self.chosen if label == "chosen" else self.rejected) / self.count


def gist(persona: str) -> str:
    """Return the first sentence of a persona, without what a phrase of contrast sets it apart from."""
    sentence = _SENTENCE_END.split(persona.strip(), maxsplit=1)[0]
    return _CONTRAST.split(sentence, maxsplit=1)[0].strip()


def word_counts(chosen: Iterable[str], rejected: Iterable[str], *, rare: int = 3) -> list[SalientWord]:
    """Count the words of personas by label, in alphabetical order; words in fewer than `rare` personas are dropped."""
    counts: dict[str, Counter[str]] = {}
    written: dict[str, Counter[str]] = {}
    for label, personas in zip(LABELS, (chosen, rejected), strict=True):
        for persona in personas:
            found = {(stem, word) for word in words(gist(persona)) for stem in content_words(word)}
            for stem, word in found:
                written.setdefault(stem, Counter())[word] += 1
            for stem in {stem for stem, _ in found}:
                counts.setdefault(stem, Counter())[label] += 1
    kept = ((_most(written[stem]), c["chosen"], c["rejected"]) for stem, c in counts.items() if c.total() >= rare)
    return [SalientWord(*word) for word in sorted(kept)]


def _most(forms: Counter[str]) -> str:
    return min(forms, key=lambda word: (-forms[word], word))


def salient(counted: Iterable[SalientWord], label: Label, *, share: float = 0.5, most: int = 10) -> list[SalientWord]:
    """Return the words that speak most for a label: by P(label | word), then by count, then by the alphabet.

    `share` is the share of all personas that have the label. A word with no larger share says nothing, or speaks for
    the other label, and is left out.
    """
    own = [w for w in counted if w.probability(label) > share]
    return sorted(own, key=lambda w: (-w.probability(label), -w.count, w.word))[:most]
