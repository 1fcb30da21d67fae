"""People's text as data: words and stems to compare it by, and a form in which it cannot act as an instruction."""

from __future__ import annotations

import math
import re
import unicodedata
from functools import lru_cache

__all__ = ["as_data", "content_words", "estimate_tokens", "shorten", "stem", "words"]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

#: Function words and the words every request is made of: they say nothing about what it is about.
_STOP = frozenset(
    """
    a about above after again all also am an and any anyone anything are as at be because been before being
    below best between both but by can can't cannot could did do does doesn't doing don't down during each else
    ever every few for from further get give given go going good got had has have having he help her here hers
    him his how i i'm i've if in into is isn't it it's its itself just know let let's like likely make many may
    me might mine more most much must my myself need new no nor not now of off on once one only or other our
    ours out over own per please question rather really right same say see she should show so some someone
    something still such suggest sure take tell than thank thanks that that's the their them then there these
    they thing things think this those through to too two under until up upon us use using very want was way we
    well were what what's when where whether which while who whom whose why will with within without would yes
    yet you you're your yours yourself
    """.split()
)

#: Tokens that chat templates and prompt formats use to hand over the turn.
_ROLE_MARKERS = re.compile(
    r"<\|[^|>]{0,40}\|>|<\/?\s*(?:system|user|assistant|human|developer|tool|s|inst|persona)\b[^>]{0,40}>"
    r"|\[/?(?:INST|SYS|SYSTEM)\]|<<\/?SYS>>|#{1,6}\s*(?:system|instruction|assistant|user)\s*:?"
    r"|\b(?:system|assistant|human|user|developer)\s*:",
    re.IGNORECASE,
)
_SPACES = re.compile(r"\s+")


def words(text: str) -> list[str]:
    """Split text into lower-case words, typographic apostrophes made plain."""
    return [w.replace("’", "'") for w in _WORD.findall(text.lower())]


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Cut common English endings, so that "choosing", "chooses" and "choose" meet: crude, and enough for topics."""
    for ending, least in (
        ("'s", 2),
        ("ingly", 4),
        ("ing", 4),
        ("edly", 4),
        ("ed", 4),
        ("ies", 3),
        ("es", 4),
        ("s", 3),
    ):
        if word.endswith(ending) and len(word) - len(ending) >= least and not word.endswith("ss"):
            word = word[: -len(ending)] + ("y" if ending == "ies" else "")
            break
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


def content_words(text: str) -> set[str]:
    """Return the stems of the words that say what a text is about."""
    return {stem(w) for w in words(text) if len(w) > 2 and w not in _STOP and not w.isdigit()}


def estimate_tokens(text: str) -> int:
    """Estimate how many tokens a model will see, rounded up, without a tokenizer.

    A third more than the words or a quarter of the UTF-8 bytes, whichever is more: close for English prose, and on
    the high side for other scripts, so that a limit kept here is kept by real tokenizers too.
    """
    return math.ceil(max(len(text.split()) * 4 / 3, len(text.encode("utf-8", "replace")) / 4))


def shorten(text: str, limit: int) -> str:
    """Cut text to at most `limit` characters at a word, marking the cut."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1].rsplit(None, 1)
    return (cut[0] if cut else text[: limit - 1]).rstrip(" ,;:.") + "…"


def as_data(text: str, limit: int = 240) -> str:
    """Make a piece of people's text safe to quote inside a prompt, on one line and at most `limit` characters.

    Control, bidirectional-override and other invisible characters are dropped, role and template markers are taken
    out, and the delimiters this SDK quotes with cannot occur in the result.
    """
    text = text[: limit * 8]
    text = "".join(c if unicodedata.category(c)[0] != "C" else (" " if c in "\n\r\t" else "") for c in text)
    text = unicodedata.normalize("NFC", text)
    previous = None
    while previous != text:  # taking one marker out may join the halves of another
        previous = text
        text = _ROLE_MARKERS.sub(" ", text)
    text = text.translate({ord("<"): "‹", ord(">"): "›", ord('"'): "'", ord("`"): "'", ord("“"): "'", ord("”"): "'"})
    return shorten(_SPACES.sub(" ", text).strip(), limit)
