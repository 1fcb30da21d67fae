"""What reaches the terminal: people's text as data only, results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["clean", "complain", "emit_json", "error_console", "one_line", "output", "printable_json"]

# Whole escape sequences go, not only the escape character: "[31m" left behind would be noise. None of the patterns
# crosses a line, so that an unfinished sequence cannot hide the rest of a text.
_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, clipboards
    r"|[\x1b][PX^_][^\x1b\x9c\n]*(?:\x1b\\|\x9c)?"  # device strings
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor movement
    r"|\x1b[ -/]*[0-~]?"
)
_JOINERS = "\u200c\u200d"  # they shape Persian words and emoji, and move nothing
_LINES = {"\n": "\n", "\t": "    ", "\u2028": "\n", "\u2029": "\n", "\x85": "\n"}


def clean(text: str) -> str:
    """Return text that cannot act on a terminal: no escapes, control, invisible or direction-changing characters."""
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    return "".join(_safe(character) for character in text)


def _safe(character: str) -> str:
    if character in _LINES:
        return _LINES[character]
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    return "" if category in ("Cc", "Cf") and character not in _JOINERS else character


def one_line(text: str, limit: int = 200) -> str:
    """Return cleaned text on one line, cut at a word after at most `limit` characters."""
    from persona_sdk.text import shorten  # noqa: PLC0415 - `persona --help` does without it

    return shorten(" ".join(clean(text[: limit * 8]).split()), limit)


def output() -> Console:
    """Return the console for results. It reads no markup in what it prints: most of that is people's text."""
    from rich.console import Console  # noqa: PLC0415 - `persona --help` does without it

    return Console(markup=False, emoji=False, highlight=False)


def error_console() -> Console:
    """Return the console for progress and remarks, on stderr."""
    from rich.console import Console  # noqa: PLC0415 - `persona --help` does without it

    return Console(stderr=True, markup=False, emoji=False, highlight=False)


def complain(message: str) -> None:
    """Print one line on stderr."""
    print(f"persona: {one_line(message, 1000)}", file=sys.stderr)  # noqa: T201 - this is the terminal


def emit_json(value: Any) -> None:
    """Print one JSON document on stdout. It is pure ASCII, so nothing in it can act on a terminal."""
    print(json.dumps(value, indent=2, default=str))  # noqa: T201 - this is the terminal


def printable_json(text: str) -> str:
    """Escape what a terminal could act on, in text that is JSON already: the JSON means the same afterwards."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1] if ord(character) != 127 else "\\u007f"
