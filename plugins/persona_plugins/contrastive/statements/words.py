"""Words with their places in the text, phrase tables over them, and the little English grammar rendering needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["OPAQUE", "Phrases", "Token", "base_form", "content_words", "head", "render", "third_person", "tokenise"]

T = TypeVar("T")

#: Stands for text that is not the person's own: a quotation, code. Never part of a statement.
OPAQUE = "\ufffc"

# Each alternative is a run of one character class, so matching takes linear time whatever the text.
_TOKEN = re.compile(r"[$€£]?[^\W_]+(?:[.'’ʼ´][^\W_]+)*[+#%]{0,2}|[-/&,()\[\]–—:]|" + OPAQUE + "+")
_APOSTROPHES = str.maketrans({"’": "'", "ʼ": "'", "´": "'"})
_ENDINGS = {"'m": "am", "'ve": "have", "'re": "are", "'ll": "will", "'d": "would"}
_IRREGULAR = {"can't": ("can", "not"), "cannot": ("can", "not"), "won't": ("will", "not"), "shan't": ("will", "not"),
              "that's": ("that", "is"), "it's": ("it", "is")}  # fmt: skip
_SLOPPY = {
    "im": "i'm", "ive": "i've", "dont": "don't", "cant": "can't", "wont": "won't", "doesnt": "doesn't",
    "isnt": "isn't", "arent": "aren't", "didnt": "didn't", "wouldnt": "wouldn't",
}  # fmt: skip
_SAME = {
    "u": "you", "pls": "please", "plz": "please", "favorite": "favourite", "fave": "favourite", "emojis": "emoji",
    "anymore": "any-more", "sugarcoat": "sugar-coat", "sugarcoating": "sugar-coating",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """A word as compared (`word`), as written (`raw`), where it stands, and what joins it to the one before."""

    word: str
    raw: str
    start: int
    end: int
    joint: str = " "


def tokenise(text: str, start: int, end: int) -> list[Token]:
    """Split text[start:end] into words and commas; contractions become their full words, dashes become commas."""
    tokens: list[Token] = []
    joint = " "
    for match in _TOKEN.finditer(text, start, end):
        raw, a, b = match.group(), match.start(), match.end()
        if raw in "-/&" and tokens and tokens[-1].end == a and b < end and text[b].isalnum():
            joint = raw
            continue
        if raw == "&":
            tokens.append(Token("and", "and", a, b))
        elif raw[0] == OPAQUE:
            tokens.append(Token(OPAQUE, "", a, b))
        elif not raw[-1].isalnum() and raw[-1] not in "+#%":
            if not tokens or tokens[-1].word != ",":
                tokens.append(Token(",", ",", a, b, ""))
        else:
            tokens.extend(_words(raw, a, b, joint))
        joint = " "
    return tokens


def _words(raw: str, start: int, end: int, joint: str) -> list[Token]:
    word = raw.lower().translate(_APOSTROPHES)
    word = _SLOPPY.get(word, word)
    parts: tuple[str, ...] = (word,)
    if word in _IRREGULAR:
        parts = _IRREGULAR[word]
    elif word.endswith("n't") and len(word) > 3:
        parts = (word[:-3], "not")
    else:
        for ending, full in _ENDINGS.items():
            if word.endswith(ending):
                parts = (word[: -len(ending)], full)
    if len(parts) > 1:
        return [Token(p, p, start, end, joint if i == 0 else " ") for i, p in enumerate(parts)]
    same = _SAME.get(word, word).split("-")
    return [Token(p, raw if i == 0 else "", start, end, joint if i == 0 else " ") for i, p in enumerate(same)]


class Phrases(Generic[T]):
    """A table from phrases to values; `at` finds the longest phrase that starts at a place."""

    def __init__(self, table: Mapping[str, T]) -> None:
        self._table = {tuple(phrase.split()): value for phrase, value in table.items()}
        self._longest = max(map(len, self._table))

    @classmethod
    def of(cls, lines: Iterable[str], value: T) -> Phrases[T]:
        """Build a table in which every phrase, separated by "|" within a line, has the same value."""
        return cls({phrase.strip(): value for line in lines for phrase in line.split("|")})

    def at(self, words: Sequence[str], i: int) -> tuple[int, T] | None:
        """Return the end of the longest phrase at `i` and its value, or None."""
        for n in range(min(self._longest, len(words) - i), 0, -1):
            found = tuple(words[i : i + n])
            if found in self._table:
                return i + n, self._table[found]
        return None

    def anywhere(self, words: Sequence[str]) -> int | None:
        """Return the place of the first phrase of the table in `words`, or None."""
        return next((i for i in range(len(words)) if self.at(words, i)), None)


_STOP = frozenset(
    "a an the some any my your our their his her its i me you we they them it this that these those and or but nor "
    "of to in on at for with from by about as into than then so too very really quite just also only even all every "
    "each other am is are was were be been being do does did not no have has had will would can could may might "
    "when while whenever during if because since where which who whom what how there here now please more most less "
    "much many lot lots any-more kind type sort kinds types sorts form forms use using used general".split()
)
#: Verbs that may open a phrase: of these the identity needs the base form, and the object after a preposition.
VERBS = frozenset(
    "eat drink wear collect follow watch listen smoke cook read vape live work study speak own teach drive play "
    "practise practice use buy purchase consume fly stay travel visit attend participate "
    "engage ride take choose shop support "
    "tolerate trust bake order rent book ski swim run hike dance gamble celebrate date sleep camp go walk stand spend "
    "give show write include call cite answer".split()
)
_HEAD_STOPS = frozenset("and or but because since due while that which who if unless except so , rather than".split())
_HEAD_PAUSES = frozenset(
    "as for with without in at on from when where like such by during over instead after before whenever about "
    "between through to".split()
)
_PLURALS_IN_IE = frozenset("movies cookies smoothies brownies veggies hoodies selfies calories zombies pies".split())


def content_words(words: Iterable[str]) -> tuple[str, ...]:
    """The words that carry meaning, in order, once each."""
    return tuple(dict.fromkeys(w for w in words if w not in _STOP and w[0].isalnum()))


def base_form(word: str) -> str:
    """A verb's base form from its -ing form; rough, but the same every time, which is all an identity needs."""
    if not word.endswith("ing") or len(word) < 6:
        return word
    stem = word[:-3]
    if stem[-1] == stem[-2] and stem[-1] not in "lsze":
        return stem[:-1]
    silent = stem[-1] in "cvugz" or (stem[-1] in "kst" and stem[-2] in "aeiou" and stem[-3] not in "aeiou")
    return stem + "e" if silent and stem not in {"eat", "visit"} else stem


def _singular(word: str) -> str:
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and word not in _PLURALS_IN_IE:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("sses", "shes", "ches", "xes")) else word[:-1]


def head(words: Sequence[str]) -> str:
    """The normalised head of a phrase: its first content words up to the first preposition or conjunction.

    A verb takes its preposition along: "fly with budget airlines" is not about flying.
    """
    kept: list[str] = []
    verbal = base_form(words[0]) in VERBS if words else False
    for i, word in enumerate(words):
        if word == "," and len(kept) == 1 and _adjective_before(words, i):
            continue
        if kept and (word in _HEAD_STOPS or (word in _HEAD_PAUSES and len(kept) > verbal)):
            break
        if word not in _STOP and word[0].isalnum():
            kept.append(base_form(word) if i == 0 else _singular(word))
        if len(kept) == 4:
            break
    return " ".join(kept if verbal else map(_singular, kept))


def _adjective_before(words: Sequence[str], comma: int) -> bool:
    """Whether a comma joins adjectives ("large, sprawling resorts") and does not list things ("jazz, soul, rock")."""
    rest = words[comma + 1 :]
    n = next((k for k, w in enumerate(rest) if w in _HEAD_STOPS or w in _HEAD_PAUSES), len(rest))
    return n >= 2 and rest[n : n + 1] not in ([","], (",",))


_ABOUT_THEM = {"i": "they", "my": "their", "me": "them", "mine": "theirs", "myself": "themselves", "am": "are"}


def render(tokens: Sequence[Token]) -> str:
    """The words as one line of prose about the person: what was "my" becomes "their"."""
    parts: list[str] = []
    before = ""
    for token in tokens:
        written = "were" if (before, token.word) == ("i", "was") else _ABOUT_THEM.get(token.word, token.raw)
        before = token.word
        if written:
            parts.append(token.joint + written)
    return "".join(parts).strip(" ,")


def third_person(verb: str) -> str:
    """The third person singular of a base form."""
    if verb in {"am", "have", "do", "go", "can", "will"}:
        return {"am": "is", "have": "has", "do": "does", "go": "goes"}.get(verb, verb)
    if verb.endswith(("s", "sh", "ch", "x", "z")):
        return verb + "es"
    return verb[:-1] + "ies" if verb.endswith("y") and verb[-2] not in "aeiou" else verb + "s"
