"""Which sentences of a turn are the person's own: not code, not quoted, not pasted, not played."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from persona_plugins.contrastive.statements import lexicon
from persona_plugins.contrastive.statements.words import OPAQUE, Token, tokenise

__all__ = ["Sentence", "own_sentences"]

#: A turn with more own text than this (characters) has something pasted into it: only its first paragraph is read,
#: and that only if it is short enough to be an introduction to the rest.
LONG_TURN = 2_000
LONG_INTRODUCTION = 600
#: A sentence of more words than this is no statement; it also bounds the work that a sentence takes.
LONG_SENTENCE = 150

_FENCED = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
# Within one paragraph. An unclosed double quote reaches its end; a single quote must close near by, else it is an
# apostrophe. Every repetition stops at the next delimiter or is bounded, so that this stays linear.
_QUOTED = re.compile(
    r"`[^`\n]+`"
    r"|[“„«][^”“»]*(?:[”“»]|\Z)"
    r'|"[^"]*(?:"|\Z)'
    r"|(?<!\w)['‘](?=\w)[^\n]{1,300}?['’](?!\w)"
    r"|^[ \t]*[>|][^\n]*"
    r"|^(?: {4}|\t)[^\n]*",
    re.MULTILINE,
)
_BREAK = re.compile(r"[.!?…]+(?=[\s)\]" + OPAQUE + r"]|\Z)|;|\n+|:(?=\s|\Z)")
_BULLET = re.compile(r"[ \t]*(?:[-*•–]|\d{1,2}[.)])[ \t]+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of the person's own; `question` says that it ended in a question mark."""

    tokens: tuple[Token, ...]
    question: bool

    @property
    def words(self) -> tuple[str, ...]:
        """The words as compared."""
        return tuple(t.word for t in self.tokens)


def own_sentences(text: str) -> list[Sentence]:
    """Read the sentences of `text` that are the person speaking for themselves, in order."""
    visible = _mask(text)
    own = len(visible) - visible.count(OPAQUE)
    end = len(visible)
    if own > LONG_TURN:
        first = len(visible) - len(visible.lstrip())
        blank = _BLANK_LINE.search(visible, first)
        end = blank.start() if blank else end
        if end - first > LONG_INTRODUCTION:
            return []
    sentences: list[Sentence] = []
    for sentence in _sentences(visible, end):
        words = sentence.words
        if lexicon.PLAYED.anywhere(words) is not None:
            break
        if len(words) <= LONG_SENTENCE:
            sentences.append(sentence)
        if any(w in lexicon.TEXT_TASKS for w in words[:6]):
            break  # what follows a request to translate or summarise is what to translate or summarise
    return sentences


def _mask(text: str) -> str:
    """Cover what is not the person's own with OPAQUE, keeping every place where it was."""

    def cover(match: re.Match[str]) -> str:
        return OPAQUE * (match.end() - match.start())

    paragraphs: list[str] = []
    text = _FENCED.sub(cover, text)
    last = 0
    for blank in _BLANK_LINE.finditer(text):
        paragraphs += [_QUOTED.sub(cover, text[last : blank.start()]), blank.group()]
        last = blank.end()
    paragraphs.append(_QUOTED.sub(cover, text[last:]))
    return "".join(paragraphs)


def _sentences(text: str, end: int) -> Iterator[Sentence]:
    """Split at full stops, question marks and line ends; stop where a colon hands over to somebody else's text."""
    start = 0
    for match in _BREAK.finditer(text, 0, end):
        mark = match.group()
        if match.start() < start or _goes_on(text, match):
            continue
        if bullet := _BULLET.match(text, start, end):
            start = bullet.end()
        tokens = tuple(tokenise(text, start, match.start()))
        start = match.end()
        if mark == ":":
            label = [t.word for t in tokens]
            if lexicon.OWN_LABELS.anywhere(label) == 0 or lexicon.TURNING.issuperset(label):
                continue
            if _hands_over(text, tokens, match.end(), end):
                return
            blank = _BLANK_LINE.search(text, start, end)
            start = blank.end() if blank else end
        if tokens:
            yield Sentence(tokens, "?" in mark)
    if bullet := _BULLET.match(text, start, end):
        start = bullet.end()
    if tokens := tuple(tokenise(text, start, end)):
        yield Sentence(tokens, question=False)


def _goes_on(text: str, match: re.Match[str]) -> bool:
    """Whether a sentence goes on after this mark: an abbreviation, or a line wrapped in the middle of it."""
    mark = match.group()
    if mark == ".":
        before = text[max(0, match.start() - 6) : match.start()].lower().split()
        return bool(before) and before[-1].lstrip("(") in lexicon.ABBREVIATIONS
    if mark == "\n" and text[match.start() - 1] != OPAQUE:
        after = text[match.end() : match.end() + 8].lstrip(" ")
        return after[:1].islower() and re.split(r"[^a-z]", after)[0] not in {"i", "im", "ive"}
    return False


def _hands_over(text: str, before: tuple[Token, ...], after: int, end: int) -> bool:
    """Whether a colon introduces text that is not the person's: it ends its line, is a label, or names a task."""
    rest = text[after:end].split("\n", 1)[0]
    return not rest.strip() or len(before) <= 3 or any(t.word in lexicon.DATA_WORDS for t in before)
