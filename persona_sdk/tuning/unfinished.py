"""Runs that are not finished: `.runs/NAME/` beside the adapters has what a run needs to go on, its weights among it.

`run.json` there names the people whose signals are in it by their keys, and when it was begun.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from persona_sdk.tuning import folders

__all__ = ["RUNS", "Unfinished", "discard", "discard_doomed", "leftovers", "unfinished"]

#: The folder of runs in the folder of adapters.
RUNS = ".runs"
_RUN = "run.json"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run's work folder; `keys` of the people in it and `begun` are None where it does not say, or is damaged."""

    path: Path
    keys: frozenset[str] | None
    begun: float | None


def unfinished(root: Path) -> list[Unfinished]:
    """Return the runs under a folder of adapters that are not finished, by name."""
    try:
        found = sorted(path for path in (root / RUNS).iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return []
    return [Unfinished(path, *_noted(path / _RUN)) for path in found]


def discard(root: Path, key: str) -> list[str]:
    """Delete the runs that somebody's signals are in, and those that do not say; return what could not be deleted."""
    return _removed(root, [one for one in unfinished(root) if one.keys is None or key in one.keys])


def discard_doomed(root: Path, forgotten: Mapping[str, float]) -> list[str]:
    """Delete the runs that hold somebody who was forgotten since they were begun: they can never be added.

    `forgotten` says when, by key. Return what could not be deleted.
    """
    doomed = [
        one
        for one in unfinished(root)
        if one.begun is not None and any(forgotten.get(key, -1.0) >= one.begun for key in one.keys or ())
    ]
    return _removed(root, doomed)


def leftovers(root: Path) -> list[str]:
    """Say which runs are not finished, a sentence each."""
    return [
        f"{one.path}: holds weights of a run that did not finish; if it is not at work, start the same training again,"
        " or delete the folder"
        if one.keys is not None
        else f"{one.path}: holds a run that does not say whose signals are in it, and is damaged; delete the folder"
        for one in unfinished(root)
    ]


def _removed(root: Path, runs: list[Unfinished]) -> list[str]:
    return [one.path.relative_to(root).as_posix() for one in runs if not folders.remove(one.path)]


def _noted(file: Path) -> tuple[frozenset[str] | None, float | None]:
    try:
        noted = json.loads(file.read_text(encoding="utf-8"))
        keys = noted["keys"]
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            return None, None
        return frozenset(keys), datetime.fromisoformat(noted["begun"]).timestamp()
    except (OSError, ValueError, KeyError, TypeError):
        return None, None
