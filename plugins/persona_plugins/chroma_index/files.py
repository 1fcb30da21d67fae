"""The files of a Chroma folder: whether they are as they were left, and what Chroma leaves behind."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from persona_plugins.chroma_index.lock import LOCK
from persona_sdk.errors import IndexUnavailableError

__all__ = ["emptied", "locked", "seal", "set_aside", "tidy", "unsealed"]

_SEAL = "persona.seal"
_DATABASE = "chroma.sqlite3"
_GRAPH = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def seal(folder: Path) -> None:
    """Write down sizes and times of all files: it was closed in good order, and whatever differs later was tampered."""
    with suppress(OSError):  # without a seal the folder is looked through when it is next opened
        (folder / _SEAL).write_text(json.dumps(_state(folder)), "ascii")


def unsealed(folder: Path) -> bool:
    """Break the seal, and say whether everything was as it was left; a folder without a database is."""
    if not (folder / _DATABASE).exists():
        return True
    try:
        left = json.loads((folder / _SEAL).read_text("ascii"))
        (folder / _SEAL).unlink()
        return bool(left == _state(folder))
    except (OSError, ValueError):
        return False


def emptied(folder: Path) -> bool:
    """Say whether graphs are there while the database, which knows whose they are, is not."""
    database = folder / _DATABASE
    return bool(_graphs(folder)) and (not database.exists() or not database.stat().st_size)


def locked(folder: Path, patience: float = 1.0) -> bool:
    """Say whether another program keeps the database locked for `patience` seconds: Chroma would wait for ever."""
    if not (folder / _DATABASE).exists():
        return False
    with closing(sqlite3.connect(folder / _DATABASE, timeout=patience, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            return "locked" in str(error)
        except sqlite3.DatabaseError:  # it is damaged, as Chroma will say as well
            return False
    return False


def set_aside(folder: Path) -> Path:
    """Move what is in the folder, except for the lock on it, to the first free `FOLDER.corrupt-N`.

    Raises:
        IndexUnavailableError: that is not permitted.
    """
    number = 1
    while (aside := folder.with_name(f"{folder.name}.corrupt-{number}")).exists():
        number += 1
    try:
        aside.mkdir()
        for file in folder.iterdir():
            if file.name != LOCK:
                file.rename(aside / file.name)
    except OSError as error:
        message = f"the index {folder} is damaged, and cannot be moved aside ({error.strerror}); delete it"
        raise IndexUnavailableError(message) from error
    return aside


def tidy(folder: Path) -> None:
    """Delete graphs that belong to no collection any more, and free pages of the database; nobody may have it open.

    Takes as long as copying the database, which holds keys and stamps: seconds at a million.
    """
    with suppress(OSError, sqlite3.Error), closing(sqlite3.connect(folder / _DATABASE, timeout=5)) as database:
        known = {row[0] for row in database.execute("SELECT id FROM segments")}
        for graph in _graphs(folder):
            if graph.name not in known:
                shutil.rmtree(graph)
        database.execute("VACUUM")


def _graphs(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if _GRAPH.fullmatch(path.name)]


def _state(folder: Path) -> dict[str, list[int]]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in (LOCK, _SEAL))
    return {str(p.relative_to(folder)): [p.stat().st_size, p.stat().st_mtime_ns] for p in files}
