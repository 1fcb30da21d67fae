"""From a turn to its statements: sentences, their clauses, and what each clause says."""

from __future__ import annotations

from dataclasses import replace

from persona_plugins.contrastive.statements import lexicon
from persona_plugins.contrastive.statements import style_lexicon as lex
from persona_plugins.contrastive.statements.clauses import Clause, clauses_of
from persona_plugins.contrastive.statements.declared import declarations_in
from persona_plugins.contrastive.statements.model import Statement
from persona_plugins.contrastive.statements.own_words import Sentence, own_sentences
from persona_plugins.contrastive.statements.styles import instructions_in
from persona_plugins.contrastive.statements.take_backs import take_backs_in

__all__ = ["statements_in"]


def statements_in(text: str, signal_id: str, *, keep_protected: bool = False) -> list[Statement]:
    """Find what the writer of `text` says outright about themselves and about how they want answers.

    Takes time linear in the text and never raises. Statements of religion, ethnicity, sexual orientation, politics,
    union membership and disability are left out unless `keep_protected`.
    """
    sentences = own_sentences(text)
    errand = any(_asks_for_work(s) for s in sentences)
    found: list[Statement] = []
    for sentence in sentences:
        if taken := take_backs_in(sentence):
            quote = text[sentence.tokens[0].start : sentence.tokens[-1].end]
            found += [replace(s, quote=quote, signal_id=signal_id) for s in taken]
            continue
        for clause in clauses_of(sentence):
            if not keep_protected and _is_protected(clause):
                continue
            said = instructions_in(clause, errand=errand) or declarations_in(clause)
            first = clause.scope[0] if clause.scope else clause.tokens[0]
            quote = text[first.start : clause.tokens[-1].end]
            found += [replace(s, quote=quote, signal_id=signal_id) for s in said]
    return found


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
