"""Looks for people's text in the bytes of a database's files, behind the database's back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from persona_sdk.signals import Preference, Signal, Utterance, prompt_text

__all__ = ["found", "texts_of"]

# What a database writes as it is: no quotes, line ends or letters that an encoding could write in another way.
_PLAIN = re.compile(r"[A-Za-z0-9 ,.:;!?()-]{12,60}")


def texts_of(signals: Iterable[Signal]) -> list[str]:
    """Return a piece of every text of these signals, in a form that can be searched for in a file."""
    texts: list[str] = []
    for signal in signals:
        if isinstance(signal, Preference):
            texts += [prompt_text(signal), signal.chosen, signal.rejected]
        elif isinstance(signal, Utterance):
            texts.append(signal.text)
    pieces = (max(_PLAIN.findall(text), key=len, default="") for text in texts)
    return sorted({piece for piece in pieces if piece})


def found(url: str, texts: Sequence[str]) -> int | None:
    """Return how many of the texts stand in the database's files; None if it keeps none here."""
    from sqlalchemy import make_url  # noqa: PLC0415 - loaded when used

    parsed = make_url(url)
    if not parsed.drivername.startswith("sqlite") or parsed.database in (None, "", ":memory:"):
        return None
    base = Path(str(parsed.database)).expanduser()
    there = [
        p for p in (base, *(base.with_name(base.name + end) for end in ("-wal", "-journal", "-shm"))) if p.exists()
    ]
    data = b"\n".join(path.read_bytes() for path in there)
    return sum(text.encode() in data for text in texts)
