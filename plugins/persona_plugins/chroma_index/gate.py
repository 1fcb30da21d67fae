"""A gate through which many go together, or one alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Gate"]


class Gate:
    """Threads use something together, or one replaces it alone. Neither may be nested in the other."""

    def __init__(self) -> None:
        self._free = threading.Condition(threading.Lock())
        self._inside = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Be inside with others."""
        with self._free:
            self._inside += 1
        try:
            yield
        finally:
            with self._free:
                self._inside -= 1
                self._free.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be inside without others: wait until they have left, and keep new ones out."""
        with self._free:
            self._free.wait_for(lambda: self._inside == 0)
            yield
