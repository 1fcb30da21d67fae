"""Read short corrections by word: "longer answers please", "too formal", "I moved to Lyon", "call me Rob".

Most of these say nothing lasting alone: "shorter please" is about one answer, "I moved to …" is over. They are marked
as statements that only correct, so that they count where there is something for them to put right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from persona_plugins.contrastive.statements import lexicon
from persona_plugins.contrastive.statements import style_lexicon as lex
from persona_plugins.contrastive.statements.clauses import Clause, skip_lead_ins
from persona_plugins.contrastive.statements.model import Statement
from persona_plugins.contrastive.statements.own_words import Sentence
from persona_plugins.contrastive.statements.styles import StylePhrase, ending_scope, read_style, style_statement
from persona_plugins.contrastive.statements.words import OPAQUE, Phrases, Token, render

__all__ = ["corrections_in", "slots_in"]

_COMPARING = frozenset(
    "more less fewer longer shorter briefer simpler warmer friendlier kinder gentler blunter".split()
)
_BRIEFLY = frozenset("a bit little slightly much somewhat way even far lot".split())
_YOU_MAY = Phrases.of(["you can be | you may be | feel free to be | you could be"], True)
_COMPLAINTS = Phrases.of(["too | way too | far too | a bit too | still too | that is too | that was too"], True)
_OF_ANSWERS = frozenset({"length", "formality", "directness", "reading_level"})
_CALL_ME = Phrases.of(
    [
        "call me | just call me | please call me | you can call me | you may call me | people call me",
        "everyone calls me | everybody calls me | my friends call me | i go by | i am called",
    ],
    True,
)
_NO_NAMES = frozenset(
    "maybe later tomorrow today tonight back crazy old when if what whatever anything names a an the monday tuesday "
    "wednesday thursday friday saturday sunday now again asap by on at in".split()
)
_SLOTS = frozenset("just recently finally have now also".split())
#: What one moves to and does not live in.
_NO_PLACES = frozenset(
    "python rust go golang java javascript typescript linux windows macos ubuntu debian fedora mac android ios kotlin "
    "swift ruby react vue angular svelte node docker kubernetes aws azure gcp github gitlab git vim emacs vscode "
    "notion obsidian slack teams chrome firefox safari postgres postgresql mysql mongodb excel word google microsoft "
    "apple claude chatgpt gpt openai marketing sales hr finance engineering management product plan part step chapter "
    "section question level monday tuesday wednesday thursday friday saturday sunday january february march april may "
    "june july august september october november december".split()
)
_MOVED_ON = frozenset("to then but before back until though almost nearly and temporarily".split())
_BETTER = Phrases.of(
    [
        f"{verb} {how} for me"
        for verb in ("is", "are", "works", "work")
        for how in ("better", "easier", "best", "easiest", "much better", "much easier")
    ],
    True,
)


def slots_in(clause: Clause, sentence: Sentence, *, errand: bool) -> list[Statement]:
    """What fills a place that holds one thing only: a name, a home, an age, a system of units."""
    if _elsewhere(clause, sentence):
        return []
    return _name(clause, errand) or _moved(clause) or _age(clause) or _better(clause)


def _elsewhere(clause: Clause, sentence: Sentence) -> bool:
    """Whether a clause holds in some case only, or is a question or not all the person's own."""
    return bool(clause.scope) or not clause.told or sentence.question or OPAQUE in sentence.words


def corrections_in(clause: Clause, sentence: Sentence, *, errand: bool, alone: bool) -> list[Statement]:
    """What a clause corrects by word; `alone` says that the turn has no other sentence that says anything."""
    words = clause.words
    if _elsewhere(clause, sentence) or errand or not clause.ordered:
        return []
    own = skip_lead_ins(sentence.words, 0) == len(sentence.words) - len(words)  # nothing else in the sentence
    return _permitted(words) or (_wished(sentence.words, words, alone) if own else [])


def _permitted(words: Sequence[str]) -> list[Statement]:
    """ "You can be longer", "feel free to be blunt"."""
    opened = _YOU_MAY.at(words, 0)
    if opened is None or "too" in words:
        return []
    phrases, end = read_style(words, opened[0] + _brief(words, opened[0]), manner=True)
    comparing = any(w in _COMPARING for w in words[opened[0] : end])
    if not phrases or ending_scope(words, end) != (len(words), ()):
        return []
    return _asked(phrases, 1, corrects=comparing) if comparing or _about_answers(phrases) else []


def _wished(sentence: Sequence[str], words: Sequence[str], alone: bool) -> list[Statement]:
    """ "Longer answers please"; if nothing else is said in the turn also "shorter please" and "too formal"."""
    i = _brief(words, 0)
    comparing = i < len(words) and words[i] in _COMPARING
    if (complaint := _COMPLAINTS.at(words, 0)) and alone:
        phrases, end = read_style(words, complaint[0], manner=True)
        fits = end == len(words) and _about_answers(phrases) and not any(p.negated for p in phrases)
        return _asked(phrases, -1, corrects=True) if fits and not comparing else []
    if alone and words[0] == "not" and words[-1] == "enough":
        phrases, end = read_style(words, 1, manner=True)
        return _asked(phrases, 1, corrects=True) if end == len(words) - 1 and _about_answers(phrases) else []
    if not comparing and "please" not in sentence:
        return []
    phrases, end = read_style(words, i)
    answers = bool(phrases) and lex.ANSWERS.at(words, end - 1) is not None and words[end - 1].endswith("s")
    if answers and ending_scope(words, end) == (len(words), ()):
        return _asked(phrases, 1)
    if not comparing or not alone:
        return []
    phrases, end = read_style(words, i, manner=True)
    return _asked(phrases, 1, corrects=True) if ending_scope(words, end) == (len(words), ()) else []


def _brief(words: Sequence[str], i: int) -> int:
    n = next((k for k, w in enumerate(words[i:]) if w not in _BRIEFLY), 0)
    return n if words[i + n : i + n + 1] and words[i + n] in _COMPARING else 0


def _about_answers(phrases: Sequence[StylePhrase]) -> bool:
    return bool(phrases) and all(p.feature in _OF_ANSWERS for p in phrases)


def _asked(phrases: Sequence[StylePhrase], sign: int, *, corrects: bool = False) -> list[Statement]:
    asked = [(p.feature, p.direction * sign) for p in phrases]
    return [replace(style_statement(f, d, lex.WANTS[f, d]), corrects=corrects) for f, d in asked]


def _name(clause: Clause, errand: bool) -> list[Statement]:
    """ "Call me Rob": what the person goes by takes the place of their name."""
    words, tokens = clause.words, clause.tokens
    called = _CALL_ME.at(words, 0)
    if called is None or errand:
        return []
    end = i = called[0]
    while end < len(words) and end < i + 3 and _is_name(tokens[end]):
        end += 1
    if end == i or ending_scope(words, end) != (len(words), ()):
        return []
    return [_fact("name", f"Goes by {render(tokens[i:end])}.")]


def _is_name(token: Token) -> bool:
    return token.raw[:1].isupper() and token.raw.replace("'", "").isalpha() and token.word not in _NO_NAMES


def _after_i(words: Sequence[str], verb: str) -> int | None:
    """The place after "I (have just) <verb>", or None."""
    i = 1
    while words[0] == "i" and i < len(words) and words[i] in _SLOTS:
        i += 1
    return i + 1 if words[0] == "i" and words[i : i + 1] == (verb,) else None


def _moved(clause: Clause) -> list[Statement]:
    """ "I moved to Lyon": where the person lives now."""
    words, tokens = clause.words, clause.tokens
    i = _after_i(words, "moved")
    if i is None or i >= len(words):
        return []
    i += words[i] == "back"
    end = i = i + 1 if words[i : i + 1] == ("to",) else len(words)
    while end < len(words) and end < i + 3 and _is_name(tokens[end]) and words[end] not in _NO_PLACES:
        end += 1
    rest = words[end:]
    visiting = rest[:1] == ("for",) and rest[1:2] not in {("work",), ("love",), ("my",), ("family",), ("good",)}
    if end == i or visiting or any(w in _MOVED_ON for w in rest) or (rest and rest[0].isdigit()):
        return []
    if rest and rest[0] not in {",", "for", "in", "from", "with", "because", "now", "recently", "last", "this"}:
        return []
    return [replace(_fact("live in", f"Lives in {render(tokens[i:end])}."), corrects=True)]


def _age(clause: Clause) -> list[Statement]:
    """ "I just turned 35"."""
    words = clause.words
    i = _after_i(words, "turned")
    if i is None or not words[i : i + 1] or not words[i].isdecimal() or not 10 <= int(words[i][:4]) <= 110:
        return []
    rest = words[i + 1 :]
    return [_fact("age", f"Is {words[i]}.")] if not rest or lexicon.TEMPORARY.at(rest, 0) else []


def _better(clause: Clause) -> list[Statement]:
    """ "Imperial is better for me", of things that stand against each other."""
    words = clause.words
    slot = lexicon.RIVALS.get(words[0])
    i = 2 if words[1:2] and words[1] in lexicon.MEASURES else 1
    better = _BETTER.at(words, i) if slot else None
    if slot is None or better is None or better[0] != len(words):
        return []
    return [replace(_fact(slot, f"Prefers {render(clause.tokens[:i]).lower()}."), kind="preference")]


def _fact(key: str, text: str) -> Statement:
    return Statement(f"said:{key}", text, "fact", "for", (), "", None, 0, "")
