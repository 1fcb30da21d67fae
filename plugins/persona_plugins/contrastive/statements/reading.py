"""From a turn to its statements: sentences, their clauses, and what each clause says."""

from __future__ import annotations

import re
from dataclasses import replace

from persona_plugins.contrastive.statements import lexicon
from persona_plugins.contrastive.statements import style_lexicon as lex
from persona_plugins.contrastive.statements.by_word import corrections_in, slots_in
from persona_plugins.contrastive.statements.clauses import Clause, clauses_of, skip_lead_ins
from persona_plugins.contrastive.statements.declared import declarations_in
from persona_plugins.contrastive.statements.model import Statement
from persona_plugins.contrastive.statements.own_words import Sentence, own_sentences
from persona_plugins.contrastive.statements.styles import instructions_in
from persona_plugins.contrastive.statements.take_backs import take_backs_in

__all__ = ["statements_in"]

#: Markup, templates and escape sequences, or what is left of them: never part of a name or of something one likes.
_MARKUP = re.compile(r"[<>\[\]{}\\\x1b]|&(?:amp|lt|gt|quot|nbsp|apos|#\w+);|[^\W_]_[^\W_]")
_TAG_LETTERS = frozenset("bpsq")
#: Digits glued to letters ("31m", "x1b"), apart from those that are words ("90s", "4th", "3D", "10km", "B12").
_GLUED = re.compile(r"(?=[^\W_]*\d)(?=[^\W_]*[^\W\d_])[^\W_]+")
_GLUED_WORDS = re.compile(
    r"\d{2,4}s|\d{1,3}(?:st|nd|rd|th)|\d{1,2}[dDkKhx]|\d{1,4}(?:am|pm|km|kg|mg|ml|cm|mm|yo|hz|gb)|[A-Za-z]{1,6}\d{1,3}|b2b|p2p|k8s|i18n|a11y",
)


def statements_in(text: str, signal_id: str, *, keep_protected: bool = False) -> list[Statement]:
    """Find what the writer of `text` says outright about themselves and about how they want answers.

    Takes time linear in the text and never raises. Statements of religion, ethnicity, sexual orientation, politics,
    union membership and disability are left out unless `keep_protected`.
    """
    sentences = own_sentences(text)
    errand = any(_asks_for_work(s) for s in sentences)
    found: list[Statement] = []
    alone = sum(not _says_nothing(s) for s in sentences) == 1
    for sentence in sentences:
        if taken := take_backs_in(sentence):
            quote = text[sentence.tokens[0].start : sentence.tokens[-1].end]
            found += [replace(s, quote=quote, signal_id=signal_id) for s in taken]
            continue
        for clause in clauses_of(sentence):
            if not keep_protected and _is_protected(clause):
                continue
            first = clause.scope[0] if clause.scope else clause.tokens[0]
            if _is_marked_up(text, first.start, clause):
                continue
            said = slots_in(clause, sentence, errand=errand) or instructions_in(clause, errand=errand)
            said = said or corrections_in(clause, sentence, errand=errand, alone=alone) or declarations_in(clause)
            quote = text[first.start : clause.tokens[-1].end]
            found += [replace(s, quote=quote, signal_id=signal_id) for s in said]
    return found


def _is_marked_up(text: str, start: int, clause: Clause) -> bool:
    """Whether a clause holds markup or escape sequences, or what is left where they lost their brackets."""
    if _MARKUP.search(text, max(0, start - 1), clause.tokens[-1].end + 1):
        return True
    letters = [t.raw for t in clause.tokens if t.raw in _TAG_LETTERS and t.joint == " "]
    if len(letters) > len(set(letters)):  # "b bold, b tea"
        return True
    return any(_GLUED.fullmatch(t.raw) and not _GLUED_WORDS.fullmatch(t.raw) for t in clause.tokens)


def _says_nothing(sentence: Sentence) -> bool:
    """Whether a sentence is only a discourse marker: "Hmm.", "Thanks!"."""
    return skip_lead_ins(sentence.words, 0) == len(sentence.words)


def _asks_for_work(sentence: Sentence) -> bool:
    """Whether the person asks for a piece of work: "write a poem", "can you fix this"."""
    words = sentence.words
    for i, word in enumerate(words[:8]):
        if word in lex.WORK_VERBS:
            before = words[:i]
            told = all(lexicon.LEAD_INS.at(words, k) or w in _ASKING for k, w in enumerate(before))
            if told and "answers" not in words[i : i + 4] and words[i + 1 : i + 2] not in {("in",), ("answers",)}:
                return True
    return False


_ASKING = frozenset(
    "can could would will you please i need want to help me like let's you'd have us just in order".split()
)


def _is_protected(clause: Clause) -> bool:
    words = clause.words
    if any(w in lexicon.PROTECTED for w in words):
        return True
    if words[:2] != ("i", "am"):
        return False
    own = next((k for k, w in enumerate(words) if w in {"in", "at", "for", "who", "of", "about"}), len(words))
    return any(w in lexicon.PROTECTED_SELF for w in words[:own])
