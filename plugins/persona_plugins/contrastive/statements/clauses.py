"""Cut a sentence into clauses, and find those in which the person speaks for themselves and means it.

A clause starts at the sentence's start or after a comma or conjunction, and counts as the person's only if its
subject is "I" or "my", or if it is an instruction. An "I" anywhere else ("she says I love …", "if I were …", "the
thing I like") belongs to another clause and is never read: that, not a list of bad cases, is what keeps out most of
what people did not say about themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from persona_plugins.contrastive.statements import lexicon, style_lexicon
from persona_plugins.contrastive.statements.own_words import Sentence
from persona_plugins.contrastive.statements.words import OPAQUE, Token, content_words

__all__ = ["SCOPE_STARTS", "Clause", "clauses_of", "skip_lead_ins"]

#: What may open "where it holds": "for work emails", "when cooking".
SCOPE_STARTS = frozenset("for in when with on about during at while whenever".split())
_PEOPLE = frozenset("he she we they".split())
_OTHERS = _PEOPLE | frozenset("it you there this that".split())
_RELATIVES = frozenset("where that which than how what as who".split())
#: After "and", these verbs cannot be anything but a new predicate of the same subject: "… and avoid bars".
_GOES_ON = frozenset("prefer avoid refuse detest despise dislike hate".split())
_CONDITIONS = frozenset("if unless whether until once wish".split())
_BEFORE_BE = frozenset("to will can could should would must may might not need".split())
#: What turns to another order within a sentence ("…, no, wait, be detailed"), and how that order may start.
_TURNS = frozenset("no wait actually sorry otherwise elsewhere else".split())
_ORDERS = frozenset("be keep use make stay sound".split())
_AGAIN = frozenset("and but , so".split())


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause: its words without lead-ins, and the scope that came before it ("for work emails, …").

    `elided` says that its subject is the "I" of the clause before. `told` says that it may be read as a declaration:
    it is no question and nobody else's words. `ordered` says that it may be read as an instruction, which may also be
    put as a question ("can you …?"), but not be what "I" or "she" does ("I call a friend and keep it simple").
    """

    tokens: tuple[Token, ...]
    scope: tuple[Token, ...] = ()
    elided: bool = False
    told: bool = True
    ordered: bool = True

    @property
    def words(self) -> tuple[str, ...]:
        """The words as compared."""
        return tuple(t.word for t in self.tokens)


def skip_lead_ins(words: Sequence[str], i: int) -> int:
    """The place after discourse markers ("well, actually …") that start at `i`."""
    while i < len(words):
        if words[i] == "no" and i + 1 < len(words) and words[i + 1] not in {",", "i", "please"}:
            return i  # "no bullet points"
        found = lexicon.LEAD_INS.at(words, i)
        if found is None:
            return i
        i = found[0]
    return i


def clauses_of(sentence: Sentence) -> list[Clause]:
    """The clauses of a sentence that its writer may have meant of themselves, in order."""
    words = sentence.words
    cuts = _cuts(words, sentence.question)
    pieces = list(zip(cuts, [*cuts[1:], len(words)], strict=True))
    told_until = len(words)
    if sentence.question:
        told_until = pieces[-1][0] if len(pieces) > 1 and not _is_tag(words[pieces[-1][0] :]) else 0
    clauses: list[Clause] = []
    scope: tuple[Token, ...] = ()
    theirs = own_subject = False  # whether what comes is somebody else's, or a condition; whether "I" is its subject
    for start, stop in pieces:
        i, end = skip_lead_ins(words, start), stop
        while end > i and words[end - 1] in lexicon.BOUNDARIES:
            end -= 1
        if i >= end:
            continue
        piece = words[i:end]
        if "otherwise" in words[start:i] or "elsewhere" in words[start:i]:
            scope = ()
        if piece[0] in SCOPE_STARTS:
            inner = _after_scope(piece)
            scope = sentence.tokens[i : i + inner]
            i += inner
            piece = words[i:end]
            if not piece:
                continue
        theirs = theirs or piece[0] in _CONDITIONS or OPAQUE in piece
        told = not theirs and start < told_until
        elided = own_subject and piece[0] not in {"i", "my"} and _predicate_starts(words, i)
        joined = own_subject and "please" not in words[start:i] and "and" in words[max(0, start - 1) : i]
        clauses.append(Clause(tuple(sentence.tokens[i:end]), scope, elided, told, not theirs and not joined))
        theirs = theirs or piece[0] in _PEOPLE
        own_subject = piece[0] == "i" or elided
        theirs = theirs or any(w in lexicon.REPORTING for w in piece)
        scope = ()
    return clauses


def _cuts(words: Sequence[str], question: bool) -> list[int]:
    """Where clauses start: after a boundary, if a subject, an instruction or a question follows it."""
    cuts = [0]
    for i, word in enumerate(words[:-1]):
        if word in lexicon.BOUNDARIES and i >= cuts[-1]:
            k = skip_lead_ins(words, i + 1)
            turned = k < len(words) and words[k] in _ORDERS and any(w in _TURNS for w in words[i + 1 : k])
            if k < len(words) and (turned or _starts_clause(words, k, word, question)):
                cuts.append(i + 1)
    return cuts


def _starts_clause(words: Sequence[str], k: int, boundary: str, question: bool) -> bool:
    word = words[k]
    if word in {"i", "if"} or word in _OTHERS or (word == "my" and "is" in words[k : k + 5]):
        return True
    if question and word in lexicon.QUESTION_STARTS:
        return True
    if boundary in _AGAIN and (_predicate_starts(words, k) or word in {"please", "just", "keep", "always"}):
        return True
    if boundary in _AGAIN and tuple(words[k : k + 2]) == ("call", "me"):
        return True
    if word in SCOPE_STARTS:
        return "i" in words[k + 1 : k + 8]
    if words[skip_lead_ins(words, 0)] != "i" and style_lexicon.DEEDS.at(words, k):
        return True
    return word != "never" and style_lexicon.STOPPING.at(words, k) is not None and boundary in _AGAIN


def _predicate_starts(words: Sequence[str], k: int) -> bool:
    first = k
    while k < len(words) and words[k] in lexicon.ADVERBS and words[k] != "never":
        k += 1
    if k >= len(words):
        return False
    if k > first and words[k - 1] in lexicon.FREQUENCY and words[k] in lexicon.HABITS:
        return True
    return words[k] in _GOES_ON or tuple(words[k : k + 2]) in {("do", "not"), ("will", "not"), ("can", "not")}


def _after_scope(piece: Sequence[str]) -> int:
    """How many words of a clause that opens with a scope belong to it: up to its own subject, or all of them."""
    subject_of_scope = piece[0] in {"when", "whenever", "while"} and piece[1:2] == ("i",)
    first = 2 if subject_of_scope else 1
    if "i" in piece[first:]:
        subject = piece.index("i", first)
        return len(piece) if piece[subject - 1] in _RELATIVES else subject
    for k in range(1, len(piece)):
        if piece[k - 1] == "," or piece[k] in {"please", "keep", "always", "do"}:
            return k
        if k > 1 and piece[k] == "be" and piece[k - 1] not in _BEFORE_BE:
            return k
    return len(piece)


def _is_tag(words: Sequence[str]) -> bool:
    """Whether a question only asks for confirmation: "…, do I?", "…, right?"."""
    asks_back = words[0] in lexicon.QUESTION_STARTS and "i" in words[1:3] and len(words) <= 3
    return asks_back or not content_words(words) or words[-1] in lexicon.TAG_ENDS
