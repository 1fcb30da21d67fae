"""Where adapters are and whether they may be used, remembered for a moment: a call shall not wait for a registry."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from persona_sdk.errors import PersonaError, StorageError
from persona_sdk.tuning.registry import REGISTRY

__all__ = ["Found", "Lookup", "Source"]

#: Seconds that what was found is remembered, and names of which it is. Callers choose names, so there may be many.
_FRESH, _NAMES = 1.0, 1024


class Source(Protocol):
    """Where adapters are found by name: `persona_sdk.tuning.adapters.Adapters`, or anything like it.

    A folder is never changed: an adapter that is trained anew is in another one.
    """

    def path(self, name: str) -> Path:
        """Return the folder of an adapter; a NotFoundError if there is none of this name."""
        ...

    def usable(self, name: str) -> bool:
        """Return whether it may be given to people."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """An adapter's folder, and whether it may be given to people."""

    folder: Path
    usable: bool


class Lookup:
    """Finds adapters by name. What was found, or why nothing was, holds for a second, and no longer than the registry.

    A registry that could not be read is tried again after a second, whatever is looked for. Threads may share it.
    """

    def __init__(self, adapters: Source) -> None:
        self._adapters = adapters
        self._known: OrderedDict[str, tuple[Found | PersonaError, Any, float]] = OrderedDict()
        self._failed: tuple[StorageError | None, float] = None, 0.0
        self._lock = Lock()

    def find(self, name: str, *, fresh: bool = False) -> Found:
        """Return where an adapter is; with `fresh` it is looked up, whatever is remembered.

        Raises:
            NotFoundError: there is none of this name.
            StorageError: the registry cannot be read.
        """
        seen, now = self.state(), time.monotonic()
        with self._lock:
            found, then, at = self._known.get(name, (None, None, 0.0))
            failure, since = self._failed
        if found is None or fresh or then != seen or now - at >= _FRESH:
            recent = None if fresh or now - since >= _FRESH else failure
            found = recent or self._looked_up(name, seen)
        if isinstance(found, PersonaError):
            raise found.with_traceback(None)
        return found

    def state(self) -> Any:
        """Return what changes whenever the registry does, None where there is none.

        The file is not opened: closing it would take SQLite's locks from other threads.
        """
        folder = getattr(self._adapters, "folder", None)
        if folder is None:
            return None
        try:
            about = os.stat(Path(folder) / REGISTRY)
        except OSError:
            return None
        return about.st_mtime_ns, about.st_size, about.st_ino

    def _looked_up(self, name: str, seen: Any) -> Found | PersonaError:
        found: Found | PersonaError
        try:
            # In this order: one that replaces a withdrawn one between the two is refused once, and not used wrongly.
            usable = self._adapters.usable(name)
            found = Found(self._adapters.path(name), usable)
        except PersonaError as error:
            found = error
        with self._lock:
            if isinstance(found, StorageError):
                self._failed = found, time.monotonic()
                return found
            self._known[name] = found, seen, time.monotonic()
            self._known.move_to_end(name)
            while len(self._known) > _NAMES:
                self._known.popitem(last=False)
        return found
