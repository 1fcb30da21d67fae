"""Interpretable features of a text: φ(text) → {name: value}, in one pass over its tokens.

Names begin with their group:

- ``w:word`` a word is there (1.0), ``p:two words`` a phrase is there (1.0);
- ``q:unit`` the mean of the quantities with that unit, ``r:unit`` their range where there are several;
- ``s:dimension`` a measure of style.

Nothing here names a unit, a subject or a data set. Order in the text, beyond phrases of two words, is not seen.
"""

from __future__ import annotations

import re
from collections import Counter
from math import log

__all__ = ["GROUPS", "MAX_CHARACTERS", "STYLE", "features"]

#: How much of a text is looked at. What decides between two answers shows long before this.
MAX_CHARACTERS = 20_000

#: The groups of features, by the first letter of their names: words, phrases, quantities, ranges, style, embedding.
GROUPS = ("w", "p", "q", "r", "s", "e")

#: Measures of style, with the smallest spread between two answers that counts as a difference worth a full unit.
STYLE = {
    "length": 0.35,
    "sentence_length": 0.3,
    "lists": 0.7,
    "code": 0.5,
    "headings": 0.5,
    "paragraphs": 0.5,
    "questions": 0.4,
    "exclamations": 0.4,
    "formality": 0.04,
    "warmth": 0.03,
    "hedging": 0.02,
    "directness": 0.04,
    "reading_level": 0.4,
    "examples": 0.5,
    "emoji": 0.5,
    "numbers": 0.04,
    "first_person": 0.03,
    "negations": 0.02,
    "function_words": 0.05,
    "quotes": 0.03,
}

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*|[^\w\s]|\n")
_LIST_ITEM = re.compile(r"^[ \t]*(?:[-*•+]|\d{1,3}[.)])[ \t]", re.MULTILINE)
_HEADING = re.compile(r"^(?:#{1,6} |\*\*[^\n]{1,120}\*\*$)", re.MULTILINE)
_MERIDIEM = re.compile(r"\b([ap])\.m\b\.?")
_EXAMPLE = re.compile(r"\bfor (?:example|instance)\b|\be\.g\.|\bsuch as\b", re.IGNORECASE)

_NUMBER_WORDS = dict(
    zip(
        "no zero one two three four five six seven eight nine ten eleven twelve".split(),
        (0.0, 0.0, *map(float, range(1, 13))),
        strict=True,
    )
)
_CURRENCY = frozenset("$€£¥₹")
_SOFT = frozenset("-–'’\"“”*_`()")  # a phrase may run across these
_QUOTES = frozenset('"“”')
_END = frozenset(".!?\n")
_STOP = frozenset(
    """a an the of to in on at by for with from and or but as is are was were be been being it its this that these those
    there here he she they him his her their we our us i me my you your so than then if when while who which what how do
    does did have has had will would can could should may might""".split()
)
_FIRST = frozenset("i me my mine we us our ours i'm i've i'd i'll we're we've we'll".split())
_SECOND = frozenset("you your yours yourself you're you'll you've you'd".split())
_HEDGES = frozenset(
    """maybe perhaps might may could possibly probably seems seem likely somewhat sometimes often generally usually
    roughly apparently suggest suggests typically arguably fairly potentially""".split()
)
_WARM = frozenset(
    """thanks thank please great love glad happy wonderful sorry hope welcome enjoy feel kind warm absolutely
    exciting amazing lovely proud friend sweet cheer congratulations delighted understand gentle worry""".split()
)
_INFORMAL = frozenset(
    "hey hi yeah yep nope gonna wanna gotta kinda sorta okay ok cool awesome stuff guys lol btw".split()
)
_FORMAL = frozenset(
    """therefore furthermore moreover however regarding consequently accordingly nevertheless hence thus additionally
    dear kindly sincerely pursuant whom shall""".split()
)
_NOT = frozenset(
    """not no never none cannot without don't doesn't didn't isn't aren't wasn't weren't won't can't couldn't shouldn't
    wouldn't""".split()
)


#: What a token counts towards, beside being a word.
_CLASSES: dict[str, tuple[str, ...]] = {}
for _name, _members in (
    ("function_words", _STOP), ("first_person", _FIRST), ("second_person", _SECOND), ("hedging", _HEDGES),
    ("warmth", _WARM), ("informal", _INFORMAL), ("formal", _FORMAL), ("negations", _NOT), ("quotes", _QUOTES),
    ("questions", "?"), ("exclamations", "!"),
):  # fmt: skip
    for _member in _members:
        _CLASSES[_member] = (*_CLASSES.get(_member, ()), _name)


def features(text: str) -> dict[str, float]:
    """Return the features of a text, of its first `MAX_CHARACTERS`. Any text will do."""
    text = text[:MAX_CHARACTERS].replace("’", "'")
    found: dict[str, float] = {}
    lower = text.lower()
    tokens = _TOKEN.findall(_MERIDIEM.sub(r"\1m", lower) if ".m" in lower else lower)
    counts = _scan(tokens, found)
    _quantities(tokens, found)
    _style(text, counts, found)
    return found


def _scan(tokens: list[str], found: dict[str, float]) -> Counter[str]:
    """Add words and phrases to `found`, and count what style is measured by."""
    counts: Counter[str] = Counter()
    words = characters = sentences = 0  # plain numbers: this loop is where reading a text spends its time
    previous = ""
    in_sentence = False
    for token in tokens:
        if token in _CLASSES:
            counts.update(_CLASSES[token])
        if token[0].isalpha():
            words += 1
            characters += len(token)
            in_sentence = True
            found["w:" + token] = 1.0
            if previous:
                found[f"p:{previous} {token}"] = 1.0
            previous = token
            if "'" in token:
                counts["contractions"] += 1
        elif token not in _SOFT:
            previous = ""
            if token in _END:
                sentences += in_sentence
                in_sentence = False
            elif token[0].isdecimal():
                counts["numbers"] += 1
            elif _is_emoji(token[0]):
                counts["emoji"] += 1
    counts.update(words=words, characters=characters, sentences=sentences + in_sentence)
    return counts


def _is_emoji(character: str) -> bool:
    """Whether a symbol is in the blocks of pictographs: not CJK punctuation, nor a variation selector."""
    return "\u2600" <= character < "\u2c00" or character >= "\U0001f000"


def _quantities(tokens: list[str], found: dict[str, float]) -> None:
    """Add every quantity whose unit can be told to `found`."""
    quantities: dict[str, list[float]] = {}
    for i, token in enumerate(tokens):
        if token[0].isdecimal() or token in _NUMBER_WORDS:
            measured = _quantity(tokens, i)
            if measured:
                quantities.setdefault(measured[0], []).append(measured[1])
    for unit, values in quantities.items():
        found["q:" + unit] = sum(values) / len(values)
        if len(values) > 1:
            found["r:" + unit] = max(values) - min(values)


def _style(text: str, counts: Counter[str], found: dict[str, float]) -> None:
    """Add the measures of style. Counts are per word or on a log scale, so that length is not counted twice."""
    words = counts["words"] or 1
    sentences = counts["sentences"] or 1
    found["s:length"] = log(1 + counts["words"])
    found["s:sentence_length"] = log(1 + counts["words"] / sentences)
    # Coleman and Liau (1975) need only letters, words and sentences: no dictionary of syllables.
    found["s:reading_level"] = (5.88 * counts["characters"] - 29.6 * sentences) / words / 5
    formality = counts["formal"] - counts["contractions"] - counts["informal"] - counts["exclamations"]
    found["s:formality"] = formality / words
    found["s:directness"] = (counts["second_person"] - counts["hedging"]) / words
    for name in ("warmth", "hedging", "numbers", "first_person", "negations", "function_words", "quotes"):
        found["s:" + name] = counts[name] / words
    for name in ("questions", "exclamations", "emoji"):
        found["s:" + name] = log(1 + counts[name])
    found["s:examples"] = log(1 + len(_EXAMPLE.findall(text)))
    lines = "\n" in text
    found["s:lists"] = log(1 + len(_LIST_ITEM.findall(text)))
    found["s:headings"] = log(1 + len(_HEADING.findall(text))) if "#" in text or "**" in text else 0.0
    found["s:paragraphs"] = log(1 + text.count("\n\n")) if lines else 0.0
    found["s:code"] = log(1 + text.count("`")) if "`" in text else 0.0


def _quantity(tokens: list[str], i: int) -> tuple[str, float] | None:
    """Return unit and value of the number at position i; None where nothing says what it measures."""
    worded = tokens[i] in _NUMBER_WORDS
    value = _NUMBER_WORDS[tokens[i]] if worded else _number(tokens[i])
    before = tokens[i - 1] if i else ""
    if before in _CURRENCY:
        return before, value
    if before == ":" and i > 1 and tokens[i - 2].isdecimal() and _minutes(tokens[i]):
        return None  # read with their hour
    following = [*(t for t in tokens[i + 1 : i + 6] if t not in "-–"), "", "", "", ""]
    if following[0] == ":" and _minutes(following[1]) and not worded:  # a time of day, 8:30 or 20:15
        value += float(following[1]) / 60
        following = [*following[2:], "", ""]
        if following[0] not in ("am", "pm"):
            return "clock", value
    if following[0] in ("am", "pm"):
        return "clock", value % 12 + (12 if following[0] == "pm" else 0)
    if following[0] in _CURRENCY or following[0] == "%":
        return following[0], value
    if not following[0][:1].isalpha() or following[0] in _STOP or following[0] in _NUMBER_WORDS:
        named_before = not worded and before.isalpha() and before not in _STOP
        return (before, value) if named_before else None
    unit = _singular(following[0])
    if following[1] in ("per", "/") and following[2].isalpha():
        unit = f"{unit} per {_singular(following[2])}"
    return unit, value


def _minutes(token: str) -> bool:
    return len(token) == 2 and token.isdecimal()


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] != "s" else word


def _number(token: str) -> float:
    """Read 1,234.50, 1.234,50 and 3,5 alike; of a date or a version, the first two parts."""
    head, _, tail = token.rpartition(",")
    if head:
        thousands = "." not in head and ("." in tail or len(tail) == 3)
        token = token.replace(",", "") if thousands else f"{re.sub('[.,]', '', head)}.{tail}"
    whole, _, fraction = token.partition(".")
    return float(f"{whole[:15]}.{fraction.partition('.')[0][:15] or '0'}")
