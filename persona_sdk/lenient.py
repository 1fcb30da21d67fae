"""JSON as models write it: inside prose, fenced, with single quotes or trailing commas, or cut off before its end.

Two passes. The first reads strict JSON wherever it stands in the text; only where nothing fits, the second forgives.
What a schema refuses is never returned, and nothing is made up: of a text that was cut off, only values that were
complete are used. Both passes do a bounded amount of work, whatever the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

__all__ = ["problems", "read"]

T = TypeVar("T", bound=BaseModel)

#: Characters looked at before giving up: in C by the first pass, in Python by the second.
_STRICT_WORK, _LENIENT_WORK = 10_000_000, 200_000
#: Characters before the place where reading begins, at most.
_STEP = 10_000
#: Code fences that are looked into, the last ones.
_FENCES = 8
#: Levels of lists and objects the second pass follows.
_DEPTH = 60


def read(text: str, schema: type[T]) -> T | None:
    """Return what `text` says, as `schema` understands it; None if it says nothing that fits.

    Of several that fit, the last one is taken, since models think before they answer; one in a code fence goes before
    one in prose.
    """
    answer = text.rpartition("</think>")[2]
    fenced = answer.split("```")[1::2][-_FENCES:]
    found = _fitting(_whole(text), schema)
    for values in (_strict, _lenient):
        for piece in (*reversed(fenced), answer):
            if found is not None:
                return found
            for value in values(piece):
                fits = _fitting(value, schema)
                found = found if fits is None else fits
    return found


def problems(text: str, schema: type[BaseModel]) -> str:
    """Say what is wrong with an answer that `read` cannot use: fields of the schema and kinds of fault, no text."""
    document = schema.model_json_schema()
    known = set(_names(document))
    for values in (_strict, _lenient):
        for value in values(text):
            if isinstance(value, dict) == (document.get("type") == "object"):
                try:
                    schema.model_validate_json(_dumped(value) or "null")
                except ValidationError as error:
                    found = error.errors(include_url=False, include_context=False, include_input=False)[:10]
                    where = (
                        ".".join(str(p) if isinstance(p, int) or p in known else "?" for p in f["loc"]) for f in found
                    )
                    return "; ".join(f"{at or 'as a whole'}: {f['type']}" for at, f in zip(where, found, strict=True))
    return "there is no complete JSON in it"


def _names(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        yield from document.get("properties", {})
        for part in document.values():
            yield from _names(part)
    elif isinstance(document, list):
        for part in document:
            yield from _names(part)


def _fitting(value: Any, schema: type[T]) -> T | None:
    """Return the value as the schema has it, or the one value directly inside that fits; None if there is no such."""
    found = _valid(value, schema)
    if found is not None or not isinstance(value, dict | list):
        return found
    inside = value.values() if isinstance(value, dict) else value
    fits = [one for part in inside if isinstance(part, dict | list) and (one := _valid(part, schema)) is not None]
    return fits[0] if len(fits) == 1 else None


def _valid(value: Any, schema: type[T]) -> T | None:
    dumped = None if value is None else _dumped(value)
    try:
        return None if dumped is None else schema.model_validate_json(dumped)
    except ValidationError:
        return None


def _dumped(value: Any) -> str | None:
    try:
        return json.dumps(value)
    except (RecursionError, ValueError):
        return None


def _no_number(_: str) -> NoReturn:
    raise ValueError("not a number")  # NaN and infinities are no answers


_decoder = json.JSONDecoder(strict=False, parse_constant=_no_number)


def _whole(text: str) -> Any:
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError):
        return None


_OPENING = re.compile(r"[{\[]")


def _strict(text: str) -> Iterator[Any]:
    """Yield the lists and objects of strict JSON that stand in the text, outermost ones only."""
    place, work = 0, 0
    while work < _STRICT_WORK and (opening := _OPENING.search(text, place)):
        start = opening.start()
        if start > _STEP:  # every error counts the lines before its place
            text, start = text[start:], 0
        try:
            value, place = _decoder.raw_decode(text, start)
        except json.JSONDecodeError as error:
            place = start + 1
            # The place of a string without an end is where it begins; all the rest was looked at.
            work += (len(text) if error.msg.startswith("Unterminated") else error.pos) - start + 300
        except (ValueError, RecursionError):
            place = start + 1
            work += 50_000
        else:
            work += place - start + 300
            yield value


def _lenient(text: str) -> Iterator[Any]:
    """Yield the lists and objects that can be read with some goodwill."""
    place, work = 0, 0
    while work < _LENIENT_WORK and (opening := _OPENING.search(text, place)):
        reading = _Reading(text, opening.start(), _LENIENT_WORK - work)
        value = reading.value(0)
        work += reading.furthest - opening.start() + 20
        sound = isinstance(value, dict | list)
        # What was cut off may have been no JSON at all, but a bracket of the prose around some.
        place = reading.place if sound and not reading.cut else opening.start() + 1
        if sound:
            yield value


class _Broken:
    """What cannot be read; `_CUT` is what might have been, had the text not ended."""


_BROKEN, _CUT = _Broken(), _Broken()

_QUOTES = {'"': '"', "'": "'", "“": '”“"', "”": '”"', "„": '“”"', "‘": "’'", "’": "’'"}
_SPACE = re.compile(r"\s*+")
_WORD = re.compile(r"[^\W\d]\w*+")
_NUMBER = re.compile(r"[+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?")
_LITERALS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_HEX = "[0-9a-fA-F]"
_ESCAPE = re.compile(rf"\\(?:(?:u({_HEX}{{4}})|x({_HEX}{{2}})|U(00(?:10|0{_HEX}){_HEX}{{4}}))|(.))", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_ENDS = r"\s*+(?:[,:}\]]|\Z)"


def _string_pattern(opening: str, closing: str) -> re.Pattern[str]:
    if opening == '"':
        return re.compile(r'((?:[^\\"]++|\\.)*+)"', re.DOTALL)
    # An apostrophe inside single quotes is no end: after an end comes a comma, a colon or a bracket.
    end = f"[{re.escape(closing)}]"
    return re.compile(rf"((?:[^\\{re.escape(closing)}]++|\\.|{end}(?!{_ENDS}))*+){end}", re.DOTALL)


_STRINGS = {opening: _string_pattern(opening, closing) for opening, closing in _QUOTES.items()}


class _Reading:
    """One attempt to read a value; `furthest` is how much of the text was looked at, `cut` that it ended too early."""

    def __init__(self, text: str, place: int, work: int) -> None:
        self.text, self.place, self.cut = text, place, False
        self.furthest, self._last = place, place + work

    def value(self, depth: int) -> Any:
        """Read the value that begins here; `_BROKEN` if there is none, `_CUT` if it is not complete."""
        mark = self._peek()
        if not mark:
            return _CUT
        if depth > _DEPTH or self.place > self._last:
            return _BROKEN
        if mark == "{":
            return self._object(depth)
        if mark == "[":
            return self._list(depth)
        return self._string(mark) if mark in _QUOTES else self._scalar()

    def _peek(self) -> str:
        """Skip white space and return the next character, "" at the end of the text."""
        self.place = _SPACE.match(self.text, self.place).end()  # type: ignore[union-attr]  # it always matches
        self.furthest = max(self.furthest, self.place)
        return self.text[self.place : self.place + 1]

    def _object(self, depth: int) -> Any:
        found: dict[str, Any] = {}
        self.place += 1
        while (mark := self._peek()) != "}":
            if not mark:
                return self._ended(found)
            key = self._string(mark) if mark in _QUOTES else self._word()
            if not isinstance(key, str):
                return key
            if (colon := self._peek()) != ":":
                return _BROKEN if colon else _CUT
            self.place += 1
            value = self.value(depth + 1)
            if isinstance(value, _Broken):
                return value  # without one of its members an object would say something else
            found[key] = value
            if not self._separated("}"):
                return _BROKEN
        self.place += 1
        return found

    def _list(self, depth: int) -> Any:
        found: list[Any] = []
        self.place += 1
        while (mark := self._peek()) != "]":
            if not mark:
                return self._ended(found)
            value = self.value(depth + 1)
            if value is _CUT:
                return self._ended(found)  # without its last item a list is only shorter
            if isinstance(value, _Broken):
                return value
            found.append(value)
            if not self._separated("]"):
                return _BROKEN
        self.place += 1
        return found

    def _ended(self, found: Any) -> Any:
        self.cut, self.place = True, len(self.text)
        return found if found else _CUT

    def _separated(self, closing: str) -> bool:
        """Skip the comma after a member; False if something else than the end stands there."""
        mark = self._peek()
        if mark == ",":
            self.place += 1
        return mark in (",", closing, "")

    def _string(self, mark: str) -> Any:
        matched = _STRINGS[mark].match(self.text, self.place + 1)
        if matched is None:
            self.furthest = len(self.text)
            return _CUT
        self.place = matched.end()
        return _ESCAPE.sub(_unescaped, matched[1])

    def _word(self) -> Any:
        matched = _WORD.match(self.text, self.place)
        if matched is None:
            return _BROKEN
        self.place = matched.end()
        return matched[0]

    def _scalar(self) -> Any:
        number = _NUMBER.match(self.text, self.place)
        if number is None:
            word = self._word()
            return _LITERALS.get(word, _BROKEN) if isinstance(word, str) else word
        self.place = self.furthest = number.end()
        if self.place == len(self.text):
            return _CUT  # there may have been more digits
        try:
            return int(number[0]) if number[0].lstrip("+-").isdigit() else float(number[0])
        except ValueError:  # too many digits
            return _BROKEN


def _unescaped(escape: re.Match[str]) -> str:
    number = escape[1] or escape[2] or escape[3]
    return chr(int(number, 16)) if number else _ESCAPES.get(escape[4], escape[4])
