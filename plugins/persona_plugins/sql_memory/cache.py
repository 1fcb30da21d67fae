"""Personas that were parsed once, kept for the next call."""

from __future__ import annotations

import threading
from collections import OrderedDict

from persona_sdk.models import Persona

__all__ = ["Personas"]


class Personas:
    """Personas by the row they are stored in: rows never change, so what was parsed once stays right."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[int, Persona] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, row: int) -> Persona | None:
        """Return the persona of a row, None if it is not kept."""
        with self._lock:
            persona = self._kept.get(row)
            if persona is not None:
                self._kept.move_to_end(row)
            return persona

    def put(self, row: int, persona: Persona) -> None:
        """Keep a persona, giving up the one not used for longest."""
        with self._lock:
            self._kept[row] = persona
            self._kept.move_to_end(row)
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._kept.clear()
