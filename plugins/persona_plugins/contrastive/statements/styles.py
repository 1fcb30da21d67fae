"""Read phrases about style, and instructions that use them: "keep it short", "no bullet points", "don't hedge".

The boundary between a standing wish and an errand. An instruction stands if it is about answers in general: "it",
"answers", or nothing at all is its object. It is an errand if it names one piece of work ("this", "the email"), if
the same turn asks for one ("write a poem, keep it short"), or if it asks for a change to what is there ("shorter",
"more detail", "make it …"). "Always", "from now on" and "stop …ing" make it stand in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from persona_plugins.contrastive.statements import lexicon
from persona_plugins.contrastive.statements import style_lexicon as lex
from persona_plugins.contrastive.statements.clauses import SCOPE_STARTS, Clause, skip_lead_ins
from persona_plugins.contrastive.statements.model import Polarity, Statement
from persona_plugins.contrastive.statements.words import Token, base_form, content_words, head, render

__all__ = ["StylePhrase", "ending_scope", "instructions_in", "place_of", "read_style", "scope_words", "second_scoped",
           "style_statement"]  # fmt: skip

_JOINS = frozenset(", and or with plus".split())
_FLIPS = frozenset("without over not than".split())


class StylePhrase(NamedTuple):
    """A style dimension with a direction, and where its words stand; `negated` by a "no" or "less" among them."""

    feature: str
    direction: int
    start: int
    end: int
    negated: bool = False


class _Order(NamedTuple):
    """An instruction once its opening is read: where the rest starts, whether it forbids, whether it is for ever."""

    at: int
    forbids: bool
    always: bool
    stopping: int


def style_statement(
    feature: str, direction: int, text: str, scope: tuple[str, ...] = (), *, takes_back: bool = False
) -> Statement:
    """A statement about style, or one that takes back the opposite of what it speaks of."""
    polarity: Polarity = "for" if direction > 0 else "against"
    opposite: Polarity = "against" if direction > 0 else "for"
    return Statement(
        key=f"style:{feature}",
        text=text,
        kind="style",
        polarity=polarity,
        scope=scope,
        quote="",
        feature=feature,
        direction=direction,
        signal_id="",
        takes_back=opposite if takes_back else "",
    )


def scope_words(words: Sequence[str]) -> tuple[str, ...] | None:
    """The content words of a scope; () if it means everywhere, None if it means here and now only."""
    if not words:
        return ()
    if len(words) > 9 or any(w in lex.ONE_OFF for w in words) or lexicon.TEMPORARY.anywhere(words) is not None:
        return None
    about_answers = lex.ABOUT_ANSWERS | lex.LEFT_OVER | {"possible", "your", "it"}
    return tuple(w for w in content_words(words) if w not in about_answers)


def place_of(scope: Sequence[Token]) -> str:
    """A scope as it reads at the end of a sentence."""
    text = render(scope)
    return text[:1].lower() + text[1:]


def ending_scope(words: Sequence[str], i: int) -> tuple[int, tuple[str, ...]] | None:
    """What stands after a style phrase: where its scope starts and the scope; None if it is something else."""
    while i < len(words):
        if found := lex.ALWAYS.at(words, i):
            i = found[0]
        elif words[i] in SCOPE_STARTS:
            scope = None if _second_wish(words, i) else scope_words(words[i:])
            return None if scope is None else (i if scope else len(words), scope)
        elif words[i] in lex.LEFT_OVER or words[i] == ",":
            i += 1
        else:
            return None
    return i, ()


def _second_wish(words: Sequence[str], i: int) -> bool:
    """Whether a scope that starts at `i` runs into another wish: "at work and long answers at home"."""
    for k in range(i, len(words) - 1):
        if words[k + 1] in {"otherwise", "elsewhere"}:
            return True
        if lex.ADJECTIVES.at(words, k + 1) and read_style(words, k + 1)[0]:
            return True
        if words[k] in {"and", "but", ",", "or"}:
            phrases, end = read_style(words, k + 1, manner=True)
            adjective = any(lex.ADJECTIVES.at(words, j) for j in range(k + 1, end))
            if phrases and (adjective or (words[end : end + 1] and words[end] in SCOPE_STARTS)):
                return True
    return False


def second_scoped(words: Sequence[str], end: int) -> int | None:
    """Where a second wish with its own scope is joined to a first that ended at `end`; None if there is none."""
    if end >= len(words) or words[end] not in SCOPE_STARTS:
        return None
    for k in range(end + 1, len(words) - 1):
        if words[k] in {"and", "but", ","}:
            phrases, after = read_style(words, k + 1, manner=True)
            if phrases and after < len(words) and words[after] in SCOPE_STARTS:
                return k
    return None


def read_style(words: Sequence[str], i: int, *, manner: bool = False) -> tuple[list[StylePhrase], int]:
    """Read style phrases from `i` on, as many as follow each other, and say where they end.

    "Short answers without bullet points" gives two. With `manner`, an adjective needs no noun ("keep it short").
    """
    phrases: list[StylePhrase] = []
    end, flipped = i, False
    while i < len(words):
        if words[i] in _FLIPS or tuple(words[i : i + 2]) in {("rather", "than"), ("instead", "of")}:
            flipped, i = True, i + (1 if words[i] in _FLIPS else 2)
        elif phrases and words[i] == "to":
            flipped, i = True, i + 1
        elif phrases and words[i] in {"but", "with"}:
            flipped, i = False, i + 1
        elif phrases and words[i] in _JOINS:
            i += 1
        else:
            found, after = _one_style(words, i, manner, bool(phrases))
            if not found:
                break
            seen = {p.feature for p in phrases}
            sign = -1 if flipped else 1
            phrases += [p._replace(direction=p.direction * sign) for p in found if p.feature not in seen]
            i = end = after
    return phrases, end


def _one_style(words: Sequence[str], i: int, manner: bool, later: bool) -> tuple[list[StylePhrase], int]:
    start, sign = i, 1
    while i < len(words) and (words[i] in lex.MORE or words[i] in lex.LESS or words[i] in lex.FILL):
        sign = -1 if words[i] in lex.LESS else sign
        if words[i] == "longer" and words[i - 1 : i] not in (("no",), ["no"]):
            break
        i += 1
    if noun := lex.NOUNS.at(words, i):
        end, (feature, direction) = noun
        return [StylePhrase(feature, direction * sign, start, end, sign < 0)], end
    found: list[StylePhrase] = []
    while i < len(words) and (adjective := lex.ADJECTIVES.at(words, i)):
        i, (feature, direction) = adjective
        found.append(StylePhrase(feature, direction * sign, start, i, sign < 0))
        before = i
        while i < len(words) and (words[i] in {",", "and", "but", "or"} or words[i] in lex.FILL):
            i += 1
        if not lex.ADJECTIVES.at(words, i):
            i = before
            break
    noun_after = lex.ANSWERS.at(words, i) if found else None
    if noun_after and words[i] not in lex.ONE_ANSWER and (words[i] != "ones" or later):
        return [p._replace(end=noun_after[0]) for p in found], noun_after[0]
    return (found, i) if manner or (later and found) else ([], start)


def instructions_in(clause: Clause, *, errand: bool) -> list[Statement]:
    """What a clause asks of answers in general; `errand` says that its turn asks for a piece of work."""
    words = clause.words
    if complaint := _complaint(clause):
        return complaint
    order = _opening(words) if clause.ordered else None
    if order is None or order.at >= len(words):
        return []
    scope = scope_words([t.word for t in clause.scope])
    if scope is None or (not order.always and (errand or any(w in lex.ONE_OFF for w in words))):
        return []
    found = _deed(words, order) or _manner(clause.tokens, order) or _content(clause.tokens, order)
    if not found:
        return _standing_order(clause, order, scope)
    asked, end = found
    if (join := second_scoped(words, end)) and not scope:
        first = replace(clause, tokens=clause.tokens[:join])
        second = replace(clause, tokens=clause.tokens[: asked[0][0].start] + clause.tokens[join + 1 :])
        return [*instructions_in(first, errand=errand), *instructions_in(second, errand=errand)]
    after = ending_scope(words, end)
    if after is None:
        return []
    place = place_of(clause.scope) or render(clause.tokens[after[0] :])
    whole = scope or after[1]
    return [
        style_statement(p.feature, p.direction, text + (f" {place}." if place and whole else "."), whole)
        for p, text in asked
    ]


def _opening(words: Sequence[str]) -> _Order | None:
    """Read "from now on, please don't …"; None for a double negation."""
    i, denials, always = 0, 0, lex.ALWAYS.anywhere(words) is not None
    stopped = -1
    while i < len(words):
        if found := lex.UNWANTED_OPENINGS.at(words, i):
            denials, always = denials + 1, True
        elif words[i] == "no" and words[i + 1 : i + 2] in ((",",), [","]):
            found = (i + 2, True)
        elif found := lex.STOPPING.at(words, i):
            denials, stopped = denials + 1, i
            always = always or words[i] in {"stop", "quit", "never", "cease", "enough"}
        else:
            found = lex.OPENINGS.at(words, i) or lex.ALWAYS.at(words, i)
        if found is None:
            break
        i = found[0]
    if i < len(words) and (after := skip_lead_ins(words, i)) > i and denials == 0:
        i = after
    return None if denials > 1 else _Order(i, denials == 1, always, stopped)


Asked = tuple[list[tuple[StylePhrase, str]], int]


def _deed(words: Sequence[str], order: _Order) -> Asked | None:
    """A whole thing to do or not to do: "get to the point", "stop asking me questions"."""
    found = lex.DEEDS.at(words, order.at)
    if found is None:
        return None
    end, (feature, direction) = found
    phrase = StylePhrase(feature, -direction if order.forbids else direction, order.at, end)
    return [(phrase, lex.WANTS[phrase.feature, phrase.direction].rstrip("."))], end


def _manner(tokens: Sequence[Token], order: _Order) -> Asked | None:
    """How to be: "keep it short", "be brief", "don't be so formal", "make your answers shorter"."""
    words = [t.word for t in tokens]
    i, verb = order.at, words[order.at]
    if verb in {"keep", "keeping"} or (verb in {"make", "making"} and not order.forbids):
        kept = (lex.KEPT if verb == "keep" or order.always else lex.KEPT_ALWAYS).at(words, i + 1)
        phrases, end = read_style(words, kept[0], manner=True) if kept else ([], i)
        wording = "Wants answers kept"
        if order.forbids:
            return None
    elif verb in {"be", "being", "sound", "sounding", "stay"}:
        phrases, end = read_style(words, i + 1, manner=True)
        wording = "Wants answers not to be" if order.forbids else "Wants answers to be"
    elif verb in {"answer", "reply", "respond", "speak", "talk"} and words[i + 1 : i + 2] != ["in"]:
        phrases, end = read_style(words, i + 1, manner=True)
        wording = "Wants answers put"
        if order.forbids or not words[end - 1].endswith("ly"):
            return None
    elif verb in {"answer", "reply", "respond"} and words[i + 1 : i + 2] == ["in"]:
        phrases, end = read_style(words, i + 2)
        wording = "Wants answers in"
    else:
        return None
    if not phrases or phrases[0].start >= end:
        return None
    text = f"{wording} {render(tokens[phrases[0].start : end])}"
    sign = -1 if order.forbids else 1
    return [(p._replace(direction=p.direction * sign), text) for p in phrases], end


def _content(tokens: Sequence[Token], order: _Order) -> Asked | None:
    """What to put in or leave out: "no bullet points", "use examples", "skip the preamble"."""
    words = [t.word for t in tokens]
    i = order.at
    verb = lex.INCLUDING.at(words, i)
    if verb is None and (order.forbids or order.always):
        verb = lex.ADDING.at(words, i)
    if verb is None and not order.forbids:
        return None
    i = verb[0] if verb else i
    comparing = words[i : i + 1] and words[i] in {"more", "less", "fewer"}
    if comparing and not order.always:
        return None
    while i < len(words) and words[i] in {"the", "all", "your", "with", "any", "so", "that", "me"}:
        i += 1
    phrases, end = read_style(words, i)
    if not phrases or (order.forbids and any(p.negated for p in phrases)):
        return None
    np = render(tokens[phrases[0].start : end])
    amount = words[order.stopping] if order.forbids and words[order.stopping] in {"less", "fewer"} else "no"
    np = np.removeprefix("any ").removeprefix("so many ").removeprefix("so much ")
    sign, text = (-1, f"Wants {amount} {np}") if order.forbids else (1, f"Wants {np}")
    return [(p._replace(direction=p.direction * sign), text) for p in phrases], end


def _complaint(clause: Clause) -> list[Statement]:
    """A complaint about answers in general: "your answers are too long", "you use too many emoji"."""
    words = [w for w in clause.words if w not in {"always", "often", "way", "far", "just", "keep", "all", "me"}]
    who, rest = words[:2], words[2:]
    if len(who) == 2 and who[0] == "your" and who[1] in {"answers", "responses", "replies", "explanations"}:
        if rest[:2] != ["are", "too"]:
            return []
    elif who == ["you", "are"] and rest[:1] == ["too"]:
        rest = ["are", *rest]
    elif words[:1] == ["you"] and words[1:2] and words[1] in {"use", "give", "ask", "add", "write", "include"}:
        if not (words[2:3] == ["too"] and words[3:4] and words[3] in {"many", "much"}):
            return []
        rest = ["use", *words[2:]]
    else:
        return []
    phrases, end = read_style(rest, 2 if rest[0] == "are" else 3, manner=rest[0] == "are")
    if not clause.told or ending_scope(rest, end) != (len(rest), ()):
        return []
    return [style_statement(p.feature, -p.direction, lex.WANTS[p.feature, -p.direction]) for p in phrases]


def _standing_order(clause: Clause, order: _Order, scope: tuple[str, ...]) -> list[Statement]:
    """An order about answers that no style dimension covers: "always give prices in euros"."""
    rest = clause.tokens[order.at :]
    words = [t.word for t in rest]
    if not order.always or base_form(words[0]) not in lex.ANSWERING or not content_words(words[1:]):
        return []
    if any(w in {"this", "these", "those", "it", "i"} for w in words) or len(words) > 20:
        return []
    if clause.words[0] in lexicon.REPORTING:
        return []
    end = len(words)
    while end > 1 and (words[end - 1] in {"please", ",", "thanks"}):
        end -= 1
    if found := next((k for k in range(1, end) if lex.ALWAYS.at(words, k) and words[k] != "always"), None):
        end = found
    verb = base_form(words[0]) if order.forbids else words[0]
    wish = f"{verb} {render(rest[1:end])}"
    place = f" {place_of(clause.scope)}" if scope else ""
    return [
        Statement(
            key=f"said:{head([verb, *words[1:end]])}",
            text=f"Asks to {'never' if order.forbids else 'always'} {wish}{place}.",
            kind="style",
            polarity="against" if order.forbids else "for",
            scope=scope,
            quote="",
            feature=None,
            direction=0,
            signal_id="",
        )
    ]
