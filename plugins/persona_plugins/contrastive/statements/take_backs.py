"""Read what takes an earlier statement back: "forget what I said about jazz", "bullets are fine after all"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from persona_plugins.contrastive.statements.clauses import skip_lead_ins
from persona_plugins.contrastive.statements.complements import role_in
from persona_plugins.contrastive.statements.model import Statement
from persona_plugins.contrastive.statements.own_words import Sentence
from persona_plugins.contrastive.statements.styles import read_style, style_statement
from persona_plugins.contrastive.statements.words import Phrases, head

__all__ = ["take_backs_in"]

_FORGETTING = Phrases.of(
    [
        f"{verb} {what} i {said} {about}"
        for verb in ("forget", "ignore", "disregard", "never mind", "scratch", "forget about")
        for what in ("what", "everything", "anything", "that thing")
        for said in ("said", "told you", "said earlier", "said before", "mentioned", "wrote")
        for about in ("about", "regarding", "on")
    ],
    True,
)
_FORGETTING_THAT = Phrases.of(
    [
        f"{verb} {that} {stance}"
        for verb in ("forget", "please forget", "disregard")
        for that in ("that i", "i said i", "what i said i", "i ever said i")
        for stance in ("like", "love", "hate", "prefer", "dislike", "enjoy", "do not like", "do not eat", "eat", "am")
    ],
    True,
)
_UNTRUE = Phrases.of(
    [
        f"{what} {no}"
        for what in ("that is", "it is", "this is")
        for no in ("no longer true", "not true any more", "not true any longer", "no longer the case",
                   "not the case any more", "not true of me", "not true about me", "no longer true of me")
    ]
    + ["i take that back", "i take it back"],
    True,
)  # fmt: skip
_FINE = frozenset("fine ok okay good welcome great alright".split())
_AGAIN = Phrases.of(["again | now | after all | from now on | with me | by me"], True)


def take_backs_in(sentence: Sentence) -> list[Statement]:
    """The statements of a sentence that only cancel earlier ones."""
    words = sentence.words
    i = skip_lead_ins(words, 0)
    if sentence.question or i >= len(words):
        return []
    if (untrue := _UNTRUE.at(words, i)) and all(w in {"now", "sorry", ",", "actually"} for w in words[untrue[0] :]):
        return [_take_back("", "either")]
    if about := _FORGETTING.at(words, i):
        phrases, _ = read_style(words, about[0], manner=True)
        if phrases:
            return [_take_back(f"style:{p.feature}", "either") for p in phrases]
        return _said(words[about[0] :], "either")
    if that := _FORGETTING_THAT.at(words, i):
        verb = words[that[0] - 1]
        rest = words[that[0] :]
        return _said((verb, *rest) if verb == "eat" else rest, "either")
    return _role_over(words, i) or _allowed_again(words, i)


def _role_over(words: Sequence[str], i: int) -> list[Statement]:
    """ "Not vegan any more", "no longer a nurse", with its "I am" left out."""
    end = len(words)
    if tuple(words[i : i + 2]) == ("no", "longer"):
        i += 2
    elif words[i] == "not" and tuple(words[end - 2 :]) in {("any", "more"), ("any", "longer")}:
        i, end = i + 1, end - 2
    else:
        return []
    role = role_in(words[i:end]) if i < end else None
    return _said(role, "for") if role and role[-1] == words[end - 1] else []


def _allowed_again(words: Sequence[str], i: int) -> list[Statement]:
    """ "Bullets are fine again", "you can use emoji after all": takes back the opposite wish."""
    may = 3 if tuple(words[i : i + 3]) == ("you", "can", "use") else 0
    phrases, end = read_style(words, i + may)
    if not phrases:
        return []
    if not may:
        if words[end : end + 1] not in (("is",), ("are",)) or not set(words[end + 1 : end + 2]) & _FINE:
            return []
        end += 2
    rest = words[end:]
    if (may and _AGAIN.anywhere(rest) is None) or (rest and _AGAIN.at(rest, 0) is None):
        return []
    return [style_statement(p.feature, p.direction, "", takes_back=True) for p in phrases]


def _said(words: Sequence[str], what: Literal["for", "against", "either"]) -> list[Statement]:
    about = head(words)
    return [_take_back(f"said:{about}", what)] if about else []


def _take_back(key: str, what: Literal["for", "against", "either"]) -> Statement:
    kind: Literal["style", "preference"] = "style" if key.startswith("style:") else "preference"
    return Statement(key, "", kind, "against", (), "", None, 0, "", takes_back=what)
