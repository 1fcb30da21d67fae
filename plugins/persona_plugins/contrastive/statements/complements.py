"""What may follow a verb in a declaration: the object of a stance, the role after "I'm a", the pet after "I have"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from persona_plugins.contrastive.statements import lexicon
from persona_plugins.contrastive.statements.model import Statement
from persona_plugins.contrastive.statements.words import OPAQUE, Token, base_form, content_words, head, render
from persona_sdk.models import TraitKind

__all__ = ["Complement", "after_copula", "my_fact", "read", "role_in"]

#: Longest complement, in words: what is longer is a story.
LONGEST = 32
_ENDS = frozenset("because since though although otherwise".split())
_CLOSINGS = frozenset(
    {("again",), ("now",), ("these", "days"), ("nowadays",), ("actually",), ("after", "all"), ("once", "again"),
     ("once", "more"), ("any", "more"), ("any", "longer"), (",",), ("please",), ("as", "of", "now"),
     ("from", "now", "on")}
)  # fmt: skip
_LINKS = frozenset("that where when while whenever what who if unless and or but than as because , ".split())
_PLACES = frozenset("in at from with near for as who , and".split())
_HERE = frozenset("this these those your you here below him his her he she them it".split())
_REFUSED = frozenset("eat drink wear fly consume tolerate watch listen smoke".split())
_TRYING = frozenset("try tend need have aim".split())
_NUMBERS = frozenset("a an one two three four five six seven eight nine ten some no any several many my".split())
_WHEN = {
    "in": {"morning", "mornings", "evening", "evenings", "afternoon", "winter", "summer", "spring", "autumn", "fall"},
    "at": {"night", "work", "home", "school", "breakfast", "lunch", "dinner"},
    "on": {"weekends", "weekdays", "mondays", "tuesdays", "wednesdays", "thursdays", "fridays", "saturdays", "sundays",
           "holiday", "vacation", "flights"},
    "for": {"breakfast", "lunch", "dinner", "work", "dessert", "exercise"},
}  # fmt: skip
_BARE = frozenset("smoke drink vape drive cook gamble swim hike".split())
_LEADS = {
    "live": {"in", "with", "near", "on", "alone", "by"},
    "work": {"as", "at", "for", "in", "from", "nights", "part", "full", "with"},
    "listen": {"to"},
    "suffer": {"from"},
}
_NO_PREPOSITION = frozenset("to with at around on in for of about from out up down off over into".split())


@dataclass(frozen=True, slots=True)
class Complement:
    """A fitting complement: `head` are the words that identify it, `end` where it stops, `sign` for or against.

    `state` says that it is a state or role of the person, which is simply over once it holds no more.
    """

    sign: int
    kind: TraitKind
    head: tuple[str, ...]
    end: int
    key: str = ""
    scope: tuple[str, ...] = ()
    denied_inside: bool = False
    state: bool = False


def read(tokens: Sequence[Token], verb: int, *, modal: str, denied: bool, frequent: bool) -> Complement | None:
    """Read what follows the verb at `verb`; None if it does not fit the verb or points at the conversation."""
    words = [t.word for t in tokens]
    end = _end(words, verb + 1)
    inside = words[verb + 1 : end]
    main = words[verb]
    plan = modal == "will" and not (denied and main in _REFUSED)  # "I won't have a car"
    if plan or OPAQUE in inside or len(inside) > LONGEST or _points_away(inside):
        return None
    if modal == "can":
        kind: TraitKind = "preference" if lexicon.UNABLE.get(main) == "preference" else "fact"
        fits = denied and main in lexicon.UNABLE and (_general(inside) or (not inside and main in _BARE))
        key = () if kind == "preference" else (main,)
        return Complement(1, kind, (*key, *inside), end) if fits else None
    if modal == "have":
        return _perfect(words, verb, end)
    if main in _TRYING and inside[:1] == ["to"]:
        avoiding = lexicon.AVOIDING.at(inside, 1)
        fits = avoiding is not None and _general(inside[avoiding[0] :]) and not denied
        return Complement(-1, "preference", tuple(inside[avoiding[0] :]), end) if fits and avoiding else None
    if main == "am":
        return _being(words, verb + 1, end)
    if main == "have":
        return _having(words, verb + 1, end)
    if main in lexicon.STANCES:
        return _stance(words, verb, end)
    return _habit(words, verb, end, denied, frequent)


def _points_away(inside: Sequence[str]) -> bool:
    """Whether a complement points at something said elsewhere: "his ears", "their concerts", "this one"."""
    theirs = "their" in inside and not {"that", "who"} & set(inside[: inside.index("their")])
    run_on = any(pair == ("i", "am") and k and inside[k - 1] not in _LINKS for k, pair in enumerate(pairwise(inside)))
    return theirs or run_on or inside[-1:] == ["that"] or any(w in _HERE for w in inside)


def _end(words: Sequence[str], start: int) -> int:
    """Where the complement stops: before a reason or an aside, and without a closing "now" or "please"."""
    for i in range(start, len(words)):
        reason = words[i] == "as" and words[i + 1 : i + 2] and words[i + 1] in {"i", "it", "they", "we"}
        if reason or words[i] in _ENDS or (words[i] == "," and words[i + 1 : i + 2] in (["which"], ["who"], ["so"])):
            return _before_now(words, start, i)
    return _before_now(words, start, len(words))


def _before_now(words: Sequence[str], start: int, end: int) -> int:
    """The end of a complement without a closing "again", "now", "these days", which says when and not what."""
    while end > start:
        closing = next((n for n in (3, 2, 1) if tuple(words[end - n : end]) in _CLOSINGS and end - n >= start), 0)
        if not closing or words[end - closing - 1] in {"and", "over", "time", "until", "till", "by"}:
            break
        end -= closing
    return end


def _general(inside: Sequence[str]) -> bool:
    """Whether an object names something in general, and not a thing in view ("it", "the second one")."""
    if not content_words(inside) or not inside[0][0].isalnum():
        return False
    if inside[0] == "the":
        return len(inside) > 1 and inside[1] in lexicon.GENERAL_THE
    if inside[0] == "my":
        return len(inside) > 1 and inside[1] in lexicon.OWNED
    if inside[0] == "anything":
        return len(inside) > 2 and inside[1] in {"involving", "related", "containing", "with", "made"}
    return inside[0] not in lexicon.DEICTIC


def _when(inside: Sequence[str]) -> tuple[str, ...]:
    """The content words of an ending that says when it holds: "in the morning", "when travelling"."""
    for i, word in enumerate(inside):
        rest = inside[i + 1 :]
        stop = next((k for k, w in enumerate(rest) if w in {"and", "or", ",", "to", "but", "with"}), len(rest))
        when = word in {"when", "while", "during", "whenever"}
        if i and (when or (word in _WHEN and any(w in _WHEN[word] for w in rest[:3]))):
            return () if "possible" in rest else content_words(rest[:stop])
    return ()


def _stance(words: Sequence[str], verb: int, end: int) -> Complement | None:
    main, inside = words[verb], list(words[verb + 1 : end])
    sign, inner = lexicon.STANCES[main], False
    if inside[:2] == ["not", "to"]:
        inner, inside = True, inside[1:]
    if main == "refuse" and inside[:1] != ["to"]:
        return None
    if inside[:1] == ["to"]:
        inside = inside[1:]
        if not inside or inside[0] in lexicon.MANNERS:
            return None
    if avoiding := lexicon.AVOIDING.at(inside, 0):
        inside, sign = inside[avoiding[0] :], -sign
    if not _general(inside) or base_form(inside[0]) in lexicon.MANNERS:
        return None
    if inner:
        sign = -sign
    found = Complement(sign, "preference", tuple(inside), end, scope=_when(inside))
    return replace(found, key=_comparison(inside)) if main in {"prefer", "favour", "favor"} else found


def _comparison(inside: Sequence[str]) -> str:
    """One key for "tea over coffee" and "coffee over tea", so that the later corrects the earlier; "" if neither."""
    for i, word in enumerate(inside):
        pair = tuple(inside[i : i + 2]) in {("rather", "than"), ("instead", "of")}
        plain = word in {"over", "than"} or (word == "to" and len(inside) <= 6 and not inside[0].endswith("ing"))
        if i and (pair or plain):
            sides = sorted(filter(None, (head(inside[:i]), head(inside[i + (2 if pair else 1) :]))))
            return " or ".join(sides) if len(sides) == 2 else ""
    rest = inside[1:2]
    return lexicon.RIVALS.get(inside[0], "") if not rest or rest[0] in lexicon.MEASURES else ""


def _habit(words: Sequence[str], verb: int, end: int, denied: bool, frequent: bool) -> Complement | None:
    main, inside = words[verb], words[verb + 1 : end]
    kind: TraitKind = "fact" if lexicon.HABITS.get(main) == "fact" else "preference"
    if main not in lexicon.HABITS and not (main in lexicon.MORE_HABITS and (denied or frequent)):
        return None
    if not content_words(inside):
        idle = main in {"smoke", "vape"} or (main in _BARE and (denied or frequent))
        return Complement(1, "preference", (main,), end) if idle and not inside else None
    leads = _LEADS.get(main)
    if (leads and inside[0] not in leads) or (not leads and inside[0] in _NO_PREPOSITION and not (denied or frequent)):
        return None
    if main == "read" and not (denied or frequent):
        return None  # "I read a book": present or past?
    obj = inside[1:] if leads and len(inside) > 1 else inside
    episodic = main in {"eat", "drink", "watch", "cook", "wear"} and obj[0] in {"a", "an", "my"} and "diet" not in obj
    if (episodic and "lot" not in obj) or not _general([w for w in obj if w != "the"] if main == "play" else obj):
        return None
    key = "live in" if main == "live" and inside[0] == "in" else ""
    return Complement(1, kind, (main, *inside), end, key, _when(inside))


def _perfect(words: Sequence[str], verb: int, end: int) -> Complement | None:
    """ "I have always loved …", "I have been vegan …": begun in the past and still so."""
    if words[verb] == "been":
        return _being(words, verb + 1, end)
    inside = words[verb + 1 : end]
    lasting = "always" in words[:verb] or "never" in words[:verb]
    sign = lexicon.PERFECT_STANCES.get(words[verb], 0)
    return Complement(sign, "preference", tuple(inside), end) if sign and lasting and _general(inside) else None


def after_copula(words: Sequence[str], i: int) -> tuple[int, bool]:
    """Skip the adverbs after "am", and say whether there was a "not" among them."""
    denied = False
    while i < len(words) and (words[i] in lexicon.ADVERBS or words[i] == "not"):
        denied = denied or words[i] in {"not", "never"}
        i += 1
    return i, denied


def _being(words: Sequence[str], start: int, end: int) -> Complement | None:
    i, denied = after_copula(words[:end], start)
    if words[i : i + 2] == ["no", "longer"]:
        i, denied = i + 2, True
    inside = words[i:end]
    table = lexicon.ATTITUDES.at(inside, 0) or (lexicon.DENIED_ATTITUDES.at(inside, 0) if denied else None)
    if table:
        after, (sign, kind) = table
        obj = tuple(inside[after:])
        fact: TraitKind = "fact" if kind == "fact" else "preference"
        return Complement(sign, fact, obj, end, denied_inside=denied) if _general(obj) else None
    if not inside:
        return None
    if inside[0] == "from" or tuple(inside[:2]) == ("based", "in"):
        obj = tuple(inside[1:] if inside[0] == "from" else inside[2:])
        key = "from" if inside[0] == "from" else "live in"
        return Complement(1, "fact", obj, end, key, (), denied) if _general(obj) else None
    if inside[0].isdigit() and 10 <= int(inside[0][:4]) <= 110 and tuple(inside[1:]) in {(), ("years", "old")}:
        return Complement(1, "fact", tuple(inside), end, "age", (), denied)
    if inside[0] == "on" and "diet" in inside[1:5]:
        return Complement(1, "fact", tuple(inside[1:]), end, "", (), denied)
    role = role_in(inside)
    if role is None:
        return None
    personal: TraitKind = "personality" if {"introvert", "extrovert", "perfectionist", "shy"} & set(role) else "fact"
    return Complement(1, personal, role, end, "", (), denied, state=True)


def role_in(inside: Sequence[str]) -> tuple[str, ...] | None:
    """The words of a state ("vegan") or a role ("a retired primary school teacher"), or None."""
    if state := lexicon.STATES.at(inside, 0):
        after = inside[state[0] : state[0] + 1]
        return tuple(inside[: state[0]]) if not after or after[0] in _PLACES | {"but", "now"} else None
    if inside[0] in lexicon.PROTECTED | lexicon.PROTECTED_SELF and len(inside) <= 2:
        return tuple(inside)
    if inside[0] not in {"a", "an"} or any(w in {"bit", "little", "few", "lot"} for w in inside[1:2]):
        return None
    for k in range(1, min(len(inside), 6)):
        word, after = inside[k], inside[k + 1 : k + 2]
        known = word in lexicon.ROLES or word.endswith(lexicon.ROLE_ENDINGS) or word in lexicon.PROTECTED
        if known and (not after or after[0] in _PLACES or after[0] in {"by", "of", "now", "but", "or", "on", "living"}):
            modifiers = set(inside[1:k])
            if word == "person" and not modifiers <= lexicon.PERSON_WORDS:
                return None
            return tuple(inside[1 : k + 1]) if modifiers or word not in lexicon.QUALIFIED_ROLES else None
    return None


def _having(words: Sequence[str], start: int, end: int) -> Complement | None:
    inside = list(words[start:end])
    i = 0
    while i < len(inside) and inside[i] in lexicon.ADVERBS:
        i += 1
    inside = inside[i:]
    if inside[:3] == ["no", "interest", "in"]:
        return Complement(1, "preference", tuple(inside[3:]), end, denied_inside=True) if _general(inside[3:]) else None
    for k in range(1, min(len(inside), 7)):
        if inside[k] in lexicon.ATTITUDE_NOUNS and inside[k + 1 : k + 2] and inside[k + 1] in _TOWARDS:
            obj = tuple(inside[k + 2 :])
            kind: TraitKind = "fact" if inside[k] in {"allergy", "phobia", "intolerance"} else "preference"
            return Complement(lexicon.ATTITUDE_NOUNS[inside[k]], kind, obj, end) if _general(obj) else None
    for k in range(min(len(inside), 6)):
        after = inside[k + 1 : k + 2]
        counted = k == 0 or inside[0] in _NUMBERS or inside[0].isdigit()
        if counted and inside[k] in lexicon.OWNED and (not after or after[0] in _PLACES | {"called", "named", "at"}):
            none = inside[0] == "no"
            return Complement(1, "fact", ("have", inside[k]), end, f"have {head([inside[k]])}", (), none)
    return None


_TOWARDS = frozenset("of to for towards toward in against when".split())


def my_fact(tokens: Sequence[Token]) -> list[Statement]:
    """ "My favourite colour is blue", "my name is Sam": one fact each, replaced by the next of its kind."""
    words = [t.word for t in tokens]
    verb = next((i for i, w in enumerate(words[:8]) if w in {"is", "are"}), 0)
    value = words[verb + 1 : _end(words, verb)]
    favourite = words[1:2] == ["favourite"] and verb > 2
    known = lexicon.MY_FACTS.at(words, 1)
    if not verb or not (favourite or (known and known[0] == verb)):
        return []
    if not value or not value[0][0].isalnum() or value[0] in lexicon.DEICTIC or len(value) > 12:
        return []
    if OPAQUE in words or any(w in _HERE for w in words) or not content_words(value):
        return []
    text = render(tokens[: _end(words, verb)])
    about = " ".join(words[1:verb])
    return [
        Statement(
            key=f"said:{about}",
            text=text[0].upper() + text[1:] + ".",
            kind="preference" if favourite else "fact",
            polarity="for",
            scope=(),
            quote="",
            feature=None,
            direction=0,
            signal_id="",
        )
    ]
