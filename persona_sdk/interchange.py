"""Signals in and out as JSON Lines: our own form, and TRL's prompt/chosen/rejected as it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from persona_sdk.errors import InputError
from persona_sdk.signals import Signal, parse_signal

__all__ = ["MAX_LINE", "Problem", "read_jsonl", "read_lines", "read_rows", "signal_from_row"]

T = TypeVar("T")

#: Longest line read, in bytes: a line beyond it is reported and passed over, not loaded.
MAX_LINE = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that could not be read: its number, counted from 1, and what is wrong with it."""

    line: int
    message: str


def read_jsonl(path: Path, *, tenant: str, user_id: str | None = None) -> Iterator[tuple[int, Signal | Problem]]:
    """Read a file line by line, yielding each line's end as a byte offset with its signal or its problem.

    Blank lines are passed over. `user_id` is whose signals rows without a user are; rows keep their own otherwise.

    Raises:
        InputError: the file cannot be opened.
    """
    return read_lines(path, lambda row: signal_from_row(row, tenant=tenant, user_id=user_id))


def read_rows(path: Path, make: Callable[[Any], T], *, field: str | None = None) -> tuple[list[T], list[Problem]]:
    """Return what `make` makes of each line's JSON, and what is wrong with the others; see `read_lines`."""
    rows: list[T] = []
    problems: list[Problem] = []
    for _, made in read_lines(path, make, field=field):
        if isinstance(made, Problem):
            problems.append(made)
        else:
            rows.append(made)
    return rows, problems


def read_lines(path: Path, make: Callable[[Any], T], *, field: str | None = None) -> Iterator[tuple[int, T | Problem]]:
    """Read JSON Lines, yielding each line's end as a byte offset with what `make` makes of it, or its problem.

    Blank lines are passed over; a line that cannot be read, or that `make` raises an InputError for, costs no other.

    Raises:
        InputError: the file cannot be opened; `field` says what named it.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", field=field) from error
    with file:
        number = 0
        while line := _line(file):
            number += 1
            if len(line) > MAX_LINE:
                yield file.tell(), Problem(number, f"longer than {MAX_LINE:,} bytes")
                continue
            if line.strip():
                yield file.tell(), _parse(line, number, make)


def _line(file: BinaryIO) -> bytes:
    """Read one line; of an overlong one only the beginning, its rest consumed."""
    line = file.readline(MAX_LINE + 1)
    rest = line
    while len(rest) > MAX_LINE and not rest.endswith(b"\n"):
        rest = file.readline(MAX_LINE + 1)
    return line


def _parse(line: bytes, number: int, make: Callable[[Any], T]) -> T | Problem:
    try:
        return make(json.loads(line.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        return Problem(number, f"not UTF-8 at byte {error.start}")
    except json.JSONDecodeError as error:
        return Problem(number, f"not JSON at character {error.pos}: {error.msg}")
    except RecursionError:
        return Problem(number, "nested too deeply")
    except InputError as error:
        return Problem(number, str(error))
    except ValueError:
        return Problem(number, "not JSON: a number has too many digits")


def signal_from_row(row: Any, *, tenant: str, user_id: str | None = None) -> Signal:
    """Turn one row into a signal: our own form (it has `kind`), or TRL's preference and KTO rows.

    TRL rows are taken plain or conversational, with an explicit or implicit prompt. A row without an id gets one made
    from its content, so that importing a file twice changes nothing. Fields that mean nothing here are left out.

    Raises:
        InputError: naming the field that is missing or unusable.
    """
    if not isinstance(row, Mapping):
        raise InputError(f"a row must be a JSON object, this is {type(row).__name__}")
    row = dict(row)
    user = user_id if row.get("user_id") is None else row["user_id"]
    if user is None:
        raise InputError("user_id: missing, so nobody can be learnt from this row", field="user_id")
    common = {"tenant": tenant, "user_id": user}
    if "kind" in row:
        return parse_signal({**row, **common, "id": _id(row, row)})
    if "chosen" in row and "rejected" in row:
        body = _trl_preference(row)
    elif "completion" in row and "label" in row:
        label = row["label"]
        if not isinstance(label, bool):
            raise InputError("label: must be true or false", field="label")
        body = {"kind": "rating", "prompt": row.get("prompt"), "response": _completion(row["completion"], "completion")}
        body["score"] = 1 if label else -1
    else:
        raise InputError("neither a signal (`kind`), nor prompt/chosen/rejected, nor prompt/completion/label")
    kept = {k: row[k] for k in ("at", "response_id", "source") if row.get(k) is not None}
    return parse_signal({**body, **kept, **common, "id": _id(row, {**body, "user_id": user})})


def _trl_preference(row: Mapping[str, Any]) -> dict[str, Any]:
    prompt, chosen, rejected = row.get("prompt"), row["chosen"], row["rejected"]
    if prompt is None:
        prompt, chosen, rejected = _implicit_prompt(chosen, rejected)
    return {
        "kind": "preference",
        "prompt": prompt,
        "chosen": _completion(chosen, "chosen"),
        "rejected": _completion(rejected, "rejected"),
    }


def _implicit_prompt(chosen: Any, rejected: Any) -> tuple[Any, Any, Any]:
    """Split off what two conversations (or texts) share at their beginning: that is the prompt."""
    if type(chosen) is not type(rejected) or not isinstance(chosen, list | str):
        raise InputError("prompt: missing, and chosen and rejected share no beginning", field="prompt")
    shared = 0
    for a, b in zip(chosen, rejected, strict=False):
        if a != b:
            break
        shared += 1
    if isinstance(chosen, str):  # cut at the last whole word, not inside one
        shared = chosen[:shared].rfind(" ") + 1
    if shared == 0:
        raise InputError("prompt: missing, and chosen and rejected share no beginning", field="prompt")
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _completion(value: Any, field: str) -> Any:
    """Accept an answer as text, as one message, or as messages whose texts are joined."""
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        return value
    answers = [m for m in value if isinstance(m, Mapping) and m.get("role") == "assistant"]
    # Some data sets repeat the whole conversation in the answer: what the user said in it is no answer.
    texts = [m.get("content") if isinstance(m, Mapping) else None for m in answers or value]
    said = [t for t in texts if isinstance(t, str)]
    if not texts or len(said) < len(texts):
        raise InputError(f"{field}: messages must each have text as content", field=field)
    return "\n".join(said)


def _id(row: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """Return the row's own id, or one made from what it says: the same however its keys are ordered."""
    if row.get("id") is not None:
        return str(row["id"])
    said = {k: v for k, v in content.items() if k not in ("id", "tenant")}
    canonical = json.dumps(said, sort_keys=True, ensure_ascii=True, default=str)
    return "row-" + hashlib.sha256(canonical.encode()).hexdigest()[:32]
