"""Read declarations about oneself: "I don't eat meat", "I prefer a formal tone", "I'm a nurse in Leeds".

A declaration is  I · (adverb | do | not | never | can't | have …)* · verb · complement.  The verb decides what the
complement must look like; what does not fit is not read. Only the plain present and "have always loved" count: the
past is over, the future is a plan, and "would", "might" and "think" hedge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from persona_plugins.contrastive.statements import complements, lexicon
from persona_plugins.contrastive.statements import style_lexicon as lex
from persona_plugins.contrastive.statements.clauses import Clause
from persona_plugins.contrastive.statements.model import Statement
from persona_plugins.contrastive.statements.styles import (
    ending_scope,
    place_of,
    read_style,
    scope_words,
    second_scoped,
    style_statement,
)
from persona_plugins.contrastive.statements.words import Token, head, render, third_person

__all__ = ["declarations_in"]

#: Adverbs that a sentence about the person can do without.
_EMPTY = frozenset("actually just also still now really even too definitely certainly honestly genuinely".split())
_MODALS = frozenset("can will would have".split())
_COMPARING = frozenset("more less fewer longer shorter".split())


class _Predicate(NamedTuple):
    """The verb group of a clause: `denials` counts its negations, `verb` is where the main verb stands."""

    verb: int
    denials: int = 0
    modal: str = ""
    frequent: bool = False
    over: bool = False
    used_to: bool = False
    adverbs: tuple[str, ...] = ()

    @property
    def denied(self) -> bool:
        """Whether the verb is denied."""
        return self.denials == 1 or self.over


def declarations_in(clause: Clause) -> list[Statement]:
    """What the person declares of themselves in this clause."""
    words = clause.words
    if not clause.told or any(w in lexicon.HEDGES for w in words) or lexicon.HEDGED.anywhere(words) is not None:
        return []
    scope = scope_words([t.word for t in clause.scope])
    if scope is None or lexicon.TEMPORARY.anywhere(words) is not None:
        return []
    if words[0] == "my":
        return complements.my_fact(clause.tokens)
    if words[0] != "i" and not clause.elided:
        return []
    predicate = _predicate(words, 0 if clause.elided else 1)
    if predicate is None:
        return []
    return _style(clause, predicate, scope) or _said(clause, predicate, scope)


def _predicate(words: Sequence[str], i: int) -> _Predicate | None:
    """Read the verb group that starts at `i`; None if it hedges, denies twice or has no verb."""
    denials, modal, over, used_to = 0, "", False, False
    adverbs: list[str] = []
    while i < len(words):
        word = words[i]
        if tuple(words[i : i + 2]) == ("no", "longer"):
            over, i = True, i + 2
        elif tuple(words[i : i + 2]) == ("used", "to"):
            used_to, i = True, i + 2
        elif word in {"not", "never"}:
            denials, i = denials + 1, i + 1
            adverbs += [word] if word == "never" else []
        elif word == "do" or (word in _MODALS and _modal_here(words, i)):
            modal, i = word if word != "do" else modal, i + 1
        elif word in lexicon.ADVERBS or (word.endswith("ly") and word not in lexicon.NOT_ADVERBS):
            adverbs.append(word)
            i += 1
        else:
            break
    if i >= len(words) or denials + over > 1 or (modal == "would" and words[i] not in lexicon.WISHES):
        return None
    if denials and tuple(words[-2:]) in {("any", "more"), ("any", "longer")}:
        over, denials = True, 0
    if denials and any(a in lexicon.FREQUENCY and a != "never" for a in adverbs):
        return None  # "I don't always …" says neither
    frequent = any(a in lexicon.FREQUENCY for a in adverbs)
    return _Predicate(i, denials, modal, frequent, over, used_to, tuple(a for a in adverbs if a not in _EMPTY))


def _modal_here(words: Sequence[str], i: int) -> bool:
    """Whether a word such as "have" is an auxiliary here: "I have always loved", not "I have two dogs"."""
    if words[i] != "have":
        return True
    rest = [w for w in words[i + 1 : i + 4] if w not in lexicon.ADVERBS and w != "not"]
    return bool(rest) and (rest[0] in lexicon.PERFECT_STANCES or rest[0] == "been")


def _style(clause: Clause, p: _Predicate, scope: tuple[str, ...]) -> list[Statement]:
    """A declaration about style: "I prefer short answers", "I do like detail", "I'm not a fan of bullets"."""
    words = clause.words
    taken = _style_stance(words, p)
    if taken is None:
        return []
    sign, i = taken
    verb = words[p.verb]
    kept = lex.KEPT.at(words, i) if verb in {"like", "prefer", "want", "need"} else None
    after_kept = kept[0] if kept else i
    while kept and after_kept < len(words) and words[after_kept] in lex.DONE:
        after_kept += 1
    manner = read_style(words, after_kept, manner=True) if kept else ([], i)
    wish = verb in {"want", "need"} or p.modal == "would"
    if not manner[0] and i < len(words) and words[i] in {"the", "your"}:
        return []  # "I like the detail": in this answer
    phrases, end = manner if manner[0] else read_style(words, i)
    if wish and i < len(words) and lex.ALWAYS.anywhere(words) is None:
        general = bool(phrases) and words[end - 1] in lex.ABOUT_ANSWERS and words[end - 1].endswith("s")
        one = words[i] in {"a", "an"} and phrases and phrases[0].feature != "formality"
        if (words[i] in _COMPARING and not general and not (p.modal == "would" and verb == "prefer")) or one:
            return []
    if phrases and not scope and (join := second_scoped(words, end)):
        first = replace(clause, tokens=clause.tokens[:join])
        second = replace(clause, tokens=clause.tokens[:i] + clause.tokens[join + 1 :])
        return [*_style(first, p, scope), *_style(second, p, scope)]
    after = ending_scope(words, end) if phrases else None
    if after is None:
        return []
    whole = scope or after[1]
    text = _sentence(clause, p, len(words) if after[1] else end, scope)
    back = sign == 0 or p.used_to  # what one used to like is no longer liked; what one does not mind is not disliked
    sign = (-1 if sign < 0 else 1) * (-1 if p.used_to else 1)
    return [style_statement(q.feature, q.direction * sign, text, whole, takes_back=back) for q in phrases]


def _style_stance(words: Sequence[str], p: _Predicate) -> tuple[int, int] | None:
    """The sign of the stance and where its object starts; sign 0 for "I don't mind", None if there is no stance."""
    verb, i = words[p.verb], p.verb + 1
    if verb == "mind" and p.denials:
        return 0, i
    if verb == "am" or p.modal == "have":
        j, denied = complements.after_copula(words, i)
        if verb == "am" and not denied and (tolerant := lexicon.TOLERANT.at(words, j)):
            return 0, tolerant[0]
        attitude = lexicon.ATTITUDES.at(words, j) if verb == "am" else None
        if attitude is None or (denied and attitude[1][0] < 0):
            return None
        return (-1 if denied else attitude[1][0]), attitude[0]
    if verb == "have" or p.modal == "will":
        return None
    if p.modal == "can" and verb in {"stand", "bear", "tolerate"} and p.denials:
        return -1, i
    if p.modal == "would" and verb == "rather" and words[i : i + 1] == ("have",):
        i += 1
    sign = lexicon.STANCES.get(verb, 1 if verb in lexicon.WISHES else 0)
    if sign == 0 or verb in {"refuse", "avoid"} or (sign < 0 and p.denied):
        return None
    return (-1 if p.denied else sign), i


def _said(clause: Clause, p: _Predicate, scope: tuple[str, ...]) -> list[Statement]:
    """Any other declaration, if its verb is one that speaks of always and its complement fits it."""
    words = clause.words
    if p.modal == "would" or words[p.verb] in {"mind", "want"}:
        return []
    found = complements.read(clause.tokens, p.verb, modal=p.modal, denied=p.denied, frequent=p.frequent)
    if found is None or (found.sign < 0 and p.denied and not (p.over or found.denied_inside)):
        return []
    sign = -found.sign if p.denied or found.denied_inside else found.sign
    over = p.over or (found.denied_inside and lexicon.OVER.anywhere(words) is not None)
    took_back = p.used_to or (found.state and over) or (found.sign < 0 and (p.over or found.denied_inside))
    key = found.key or head(found.head)
    if not key:
        return []
    polarity = "for" if found.sign > 0 else "against"
    return [
        Statement(
            key=f"said:{key}",
            text=_sentence(clause, p, found.end, scope),
            kind=found.kind,
            polarity="for" if sign > 0 else "against",
            scope=scope or found.scope,
            quote="",
            feature=None,
            direction=0,
            signal_id="",
            takes_back=("for" if polarity == "for" else "against") if took_back else "",
        )
    ]


def _sentence(clause: Clause, p: _Predicate, end: int, scope: tuple[str, ...]) -> str:
    """Turn the clause into one sentence about the person: "I don't eat meat" becomes "Does not eat meat."."""
    words, tokens = clause.words, clause.tokens
    verb = words[p.verb]
    before = [a for a in p.adverbs if a != "never" or (p.denials and not p.over)]
    rest = _tail(tokens[p.verb + 1 : end])
    conjugated = third_person(verb)
    if p.over:
        group = ["no longer", *before, "can" if p.modal == "can" else "", verb if p.modal == "can" else conjugated]
    elif p.used_to:
        group = ["used to", *before, verb]
    elif p.modal == "have":
        group = ["has", "not" if p.denials and "never" not in before else "", *before, verb]
    elif p.modal:
        group = ["would" if p.modal == "would" else p.modal, "not" if p.denials else "", *before, verb]
        group = ["cannot", *group[2:]] if p.modal == "can" and p.denials else group
    elif p.denials and "never" not in before and verb != "am":
        group = ["does not", *before, verb]
    else:
        group = [*before, conjugated] if verb != "am" else [conjugated, *before]
    text = " ".join(filter(None, [*group, rest, place_of(clause.scope) if scope else ""]))
    return text[0].upper() + text[1:] + "."


def _tail(tokens: Sequence[Token]) -> str:
    """The complement without what only matters in conversation ("now", "any more", "please", "too")."""
    end = len(tokens)
    while end and tokens[end - 1].word in {"now", "please", "any", "more", "too", ",", "though", "thanks", "either"}:
        end -= 1
    return render(tokens[:end])
