"""What a statement is: one thing a person said outright, ready to become a trait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from persona_sdk.models import TraitKind

__all__ = ["STYLE_DIMENSIONS", "Polarity", "Statement"]

Polarity: TypeAlias = Literal["for", "against"]

#: The sides of an answer's style that statements and the preference model's features both speak about.
STYLE_DIMENSIONS = (
    "length",
    "lists",
    "code",
    "headings",
    "questions",
    "formality",
    "warmth",
    "hedging",
    "directness",
    "reading_level",
    "examples",
    "emoji",
    "numbers",
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing a person said about themselves or about how they want answers.

    `key` is its identity ("style:length", "said:eat meat"): two statements with one key and one scope are about the
    same thing, and the later one corrects the earlier. `text` is a sentence about the person without its subject.
    For style, `direction` is +1 for more of `feature` and −1 for less, and `polarity` says the same. `scope` holds
    the content words of where it holds, empty for everywhere. `quote` is verbatim.

    A statement whose `takes_back` is set is no trait: it only cancels what was said before ("forget what I said
    about jazz"), of that polarity or of either, and `standing` consumes it. Its key is "" when it means the
    statement just before it ("that's not true any more").

    A statement that `corrects` counts only against an earlier one of its key and scope that still stands: "shorter,
    please" is about one answer, unless there is a wish about length that it puts right.
    """

    key: str
    text: str
    kind: TraitKind
    polarity: Polarity
    scope: tuple[str, ...]
    quote: str
    feature: str | None
    direction: int
    signal_id: str
    takes_back: Literal["", "for", "against", "either"] = ""
    corrects: bool = False
