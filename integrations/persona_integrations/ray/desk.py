"""The journal on Ray: workers ask a desk, and the process that has the memory serves it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, TypeAlias

import ray

from persona_sdk.errors import PersonaError, StorageError
from persona_sdk.journal import MemoryJournal

__all__ = ["DeskJournal", "Journals", "open_desk"]

Journals: TypeAlias = Callable[[str], MemoryJournal]
#: A question that waits at the desk: its number, whose journal, digests to look up, answers to keep.
_Waiting: TypeAlias = tuple[int, str, Sequence[str], Mapping[str, str]]


class Desk:
    """The actor in between: workers wait here for what the process with the memory says."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self._numbers = count()

    async def ask(self, user_id: str, digests: Sequence[str], answers: Mapping[str, str]) -> Any:
        """Return the answers known by these digests, or None once `answers` were kept; or what went wrong."""
        number = next(self._numbers)
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        await self._asked.put((number, user_id, digests, answers))
        return await reply

    async def take(self) -> list[_Waiting]:
        """Return all questions that wait, as soon as there is one."""
        taken = [await self._asked.get()]
        while not self._asked.empty():
            taken.append(self._asked.get_nowait())
        return taken

    async def give(self, replies: Mapping[int, Any]) -> None:
        """Pass replies on to those who wait for them."""
        for number, reply in replies.items():
            self._replies.pop(number).set_result(reply)


class DeskJournal:
    """One person's journal, used from another process: an answer is durable when `put` returns, as it is everywhere."""

    def __init__(self, desk: Any, user_id: str) -> None:
        self._desk, self._user_id = desk, user_id

    def get(self, digests: Sequence[str]) -> dict[str, str]:
        """Return the answers known, by digest."""
        found: dict[str, str] = self._ask(list(digests), {})
        return found

    def put(self, answers: Mapping[str, str]) -> None:
        """Keep answers by digest, durably; those known already are left as they are."""
        self._ask((), dict(answers))

    def _ask(self, digests: Sequence[str], answers: Mapping[str, str]) -> Any:
        reply = ray.get(self._desk.ask.remote(self._user_id, digests, answers))
        if isinstance(reply, PersonaError):
            raise reply
        return reply


@contextmanager
def open_desk(journals: Journals) -> Iterator[Any]:
    """Serve journals to workers from a thread of this process; what it yields goes to `DeskJournal`."""
    desk = ray.remote(num_cpus=0, max_concurrency=1000)(Desk).remote()
    threading.Thread(target=_serve, args=(desk, journals), name="persona-desk", daemon=True).start()
    try:
        yield desk
    finally:
        ray.kill(desk)  # the thread hears of it and ends


def _serve(desk: Any, journals: Journals) -> None:
    while True:
        try:
            waiting = ray.get(desk.take.remote())
            ray.get(desk.give.remote({number: _reply(journals(user), *asked) for number, user, *asked in waiting}))
        except (ray.exceptions.RayError, ValueError):  # closed, or Ray was shut down
            return


def _reply(journal: MemoryJournal, digests: Sequence[str], answers: Mapping[str, str]) -> Any:
    try:
        return journal.put(answers) if answers else journal.get(digests)
    except PersonaError as error:  # it is raised where the answer was asked for
        return error if isinstance(error, StorageError) else StorageError(type(error).__name__)
