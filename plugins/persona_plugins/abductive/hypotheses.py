"""What is tested: sentences that are often true of people, and those a model proposed for this one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from persona_plugins.abductive.hygiene import gist, negated, same
from persona_sdk.models import Trait, TraitKind, trait_id
from persona_sdk.signals import Choice

__all__ = [
    "COMMON", "Hypothesis", "common", "distinct", "hypothesis", "made_from", "means_the_same", "says_the_same",
    "subject_of", "wording",
]  # fmt: skip

Polarity: TypeAlias = Literal["for", "against"]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A sentence about a person that may be true, what would be true instead, and the signals it was made up from.

    With a `contrary` it is tested which of the two it is: how an answer suits the one is compared with how it suits the
    other. That is a far sharper question than how it suits one, since what has nothing to do with either cancels out.
    """

    statement: str
    key: str
    kind: TraitKind = "preference"
    contrary: str | None = None
    proposed_from: frozenset[str] = frozenset()
    polarity: Polarity = "for"

    def wording(self, weight: float) -> str:
        """Return the sentence that a weight stands for, as a trait says it."""
        return wording(self.statement if weight > 0 or self.contrary is None else self.contrary)

    def sign(self, weight: float) -> int:
        """Return 1 where a weight means a trait "for" the key, −1 where it means one "against" it."""
        return 1 if (weight > 0) == (self.polarity == "for") else -1

    def ids(self) -> set[str]:
        """The ids that a trait of this sentence, or of its contrary, has."""
        return {trait_id(self.key, "for"), trait_id(self.key, "against")}


def wording(statement: str) -> str:
    """Return a sentence as a trait says it: "Prefers short answers."."""
    said = _SUBJECT.sub("", statement, count=1).strip().rstrip(".")
    return f"{said[:1].upper()}{said[1:]}."


_SUBJECT = re.compile(r"^the user\b", re.IGNORECASE)
#: Words by which a sentence is about how an answer is written rather than about a subject.
_STYLE = re.compile(
    r"\b(?:answers?|repl(?:y|ies)|responses?|tone|style|wording|explanations?|detail(?:s|ed)?|brief|brevity|concise"
    r"|short|long|formal|casual|friendly|warm|polite|humou?r|jokes?|lists?|bullets?|bullet points|examples?|steps?"
    r"|simple words|plain words|technical|numbers and figures|running text|pleasantries)\b",
    re.IGNORECASE,
)

#: Pairs of contraries that are tried for everyone, under the key that a trait of the first has; a trait of the second
#: has the same key and the other polarity. Common ground of style guides and consumer research, written before any data
#: was looked at. Nothing political, religious or otherwise protected is tried unasked.
COMMON: tuple[tuple[str, Polarity, str, str], ...] = (
    ("style:length", "against", "prefers short, concise answers", "prefers long, detailed answers"),
    ("style:warmth", "for", "prefers warm, encouraging answers", "prefers plain answers without pleasantries"),
    ("style:formality", "for", "prefers a formal tone", "prefers a casual tone"),
    ("style:lists", "for", "prefers answers as bullet points", "prefers running text to lists"),
    ("style:examples", "for", "likes concrete examples", "likes general principles rather than examples"),
    ("style:reading_level", "against", "prefers simple words", "prefers technical explanations"),
    ("style:humour", "for", "enjoys humour and playful language", "prefers serious answers"),
    ("idea:price", "for", "decides by price", "pays more for comfort and quality"),
    ("idea:time", "for", "cares most about saving time", "has plenty of time and no hurry"),
    ("idea:risk", "against", "prefers what is certain and avoids risk", "likes to take a chance"),
    ("idea:commitment", "against", "wants to stay flexible and free to change", "wants lasting, long-term commitments"),
    ("idea:familiar", "for", "trusts what is local and familiar", "likes what is new and unknown"),
    ("idea:nature", "for", "chooses what is best for the environment", "does not think of the environment"),
    ("idea:imagination", "for", "loves imagination and vivid language", "is practical and wants what works"),
    ("idea:evidence", "for", "trusts science and evidence", "trusts tradition and intuition"),
)


def common() -> list[Hypothesis]:
    """Return the sentences that are tried for everyone."""
    return [
        Hypothesis(
            statement=f"The user {one}.",
            key=key,
            kind="style" if key.startswith("style:") else "preference",
            contrary=f"The user {other}.",
            polarity=polarity,
        )
        for key, polarity, one, other in COMMON
    ]


def hypothesis(statement: str, signals: Iterable[str] = (), *, contrary: str | None = None) -> Hypothesis:
    """Make a hypothesis of a sentence, made up to explain some signals; its key is its own words."""
    kind: TraitKind = "style" if _STYLE.search(statement) else "preference"
    key = f"idea:{' '.join(_SUBJECT.sub('', statement.lower()).strip(' .').split())}"
    return Hypothesis(statement, key, kind, contrary, frozenset(signals))


def distinct(found: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Leave out what says again what an earlier one says, in nearly the same words."""
    kept: list[Hypothesis] = []
    for one in found:
        if not any(same(one.statement, other.statement) for other in kept):
            kept.append(one)
    return kept


def made_from(h: Hypothesis, choices: Sequence[Choice]) -> list[int]:
    """Return the choices that a sentence was made up from, and those that share an answer with one of them."""
    if not h.proposed_from:
        return []
    texts = {text for c in choices if c.signal_id in h.proposed_from for text in (c.chosen, c.rejected)}
    return [
        i for i, c in enumerate(choices) if c.signal_id in h.proposed_from or c.chosen in texts or c.rejected in texts
    ]


def subject_of(statement: str) -> tuple[str, Polarity] | None:
    """Return the key and the polarity of the common sentence that a statement says over again, if it does."""
    said = gist(statement)
    for h in common():
        for sentence, polarity in ((h.statement, h.polarity), (h.contrary or "", _OTHER[h.polarity])):
            if said and said <= gist(sentence) and negated(statement) == negated(sentence):
                return h.key, polarity
    return None


def means_the_same(h: Hypothesis, taken_back: str) -> bool:
    """Whether a trait that a person took back, by its id, is what a hypothesis or its contrary would say again."""
    if taken_back in h.ids():
        return True
    return any(_says(sentence, taken_back) for sentence in (h.statement, h.contrary) if sentence)


def says_the_same(trait: Trait, taken_back: str) -> bool:
    """Whether a trait says again what a person took back, by its id."""
    return trait.id == taken_back or _says(trait.statement, taken_back)


def _says(statement: str, taken_back: str) -> bool:
    key, _, polarity = taken_back.rpartition("/")
    if subject_of(statement) == (key, polarity):
        return True
    return key.startswith("idea:") and same(statement, f"The user {key[5:]}.")


_OTHER: dict[Polarity, Polarity] = {"for": "against", "against": "for"}
