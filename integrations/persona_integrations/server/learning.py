"""Personas are brought up to date beside the requests. What is to be learnt stands in memory, so a restart loses none.

One worker of those that share a database learns at a time: it holds a lease, and another takes over when it dies.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress

from persona_integrations.server.leases import Leases
from persona_sdk.engine import Personalizer
from persona_sdk.pipeline import contained
from persona_sdk.settings import Settings

__all__ = ["Learning"]

_log = logging.getLogger("persona_sdk")
#: The longest pause, in seconds, between attempts that come to nothing.
_LONGEST = 300.0


class Learning:
    """A daemon thread that has everyone with new signals learnt from, every `interval` seconds.

    With `apart`, learning is done in a process of its own, which does not slow down answering; it has the installed
    plugins only. `told` hears how many people were learnt from.
    """

    def __init__(
        self,
        personalizer: Personalizer,
        leases: Leases,
        told: Callable[[int], None],
        *,
        interval: float,
        apart: bool,
    ) -> None:
        self._personalizer, self._leases, self._told = personalizer, leases, told
        self._interval, self._apart = interval, apart
        self._pool: ProcessPoolExecutor | None = None
        self._pid: int | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="persona-learning", daemon=True)

    def start(self) -> None:
        """Begin, with those whom an earlier process left."""
        self._thread.start()

    def close(self, timeout: float = 10) -> None:
        """End after who is being learnt from, waiting `timeout` seconds; the others stay to be learnt in memory."""
        self._ending.set()
        if self._pid is not None:  # what it is learning is whole or not at all, and is learnt again
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
        if self._thread.is_alive():
            self._thread.join(timeout)
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _run(self) -> None:
        pause = self._interval
        while not self._ending.wait(pause):
            learnt, failure = contained(self._round)
            if failure and not self._ending.is_set():
                _log.error("gateway: learning failed: %s", failure)
            idle = failure or learnt == -1  # somebody is left who cannot be learnt from
            pause = min(2 * pause, _LONGEST) if idle else self._interval
        contained(self._leases.release)

    def _round(self) -> int:
        """Learn from everyone who is waiting; return how many that were, -1 if some are left and none was."""
        # Longer than a round takes that only looks; a worker that is learning renews it before each tenant.
        if not self._leases.hold(max(10.0, 3 * self._interval)):
            return 0
        learnt, left = 0, False
        for tenant in self._personalizer.tenants():
            if self._ending.is_set() or not self._leases.hold(60.0):
                break
            if self._personalizer.for_tenant(tenant).pending():
                some = self._learn(tenant)
                learnt, left = learnt + some, left or not some
        self._told(learnt)
        return learnt if learnt or not left else -1

    def _learn(self, tenant: str) -> int:
        if not self._apart:
            return self._personalizer.for_tenant(tenant).learn_pending()
        if self._pool is None:
            # Not forked: threads and connections of this process must not be copied.
            context = multiprocessing.get_context("spawn")
            settings = self._personalizer.settings
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(settings,))
            self._pid = self._pool.submit(os.getpid).result()
        try:
            return self._pool.submit(_learn, tenant).result()
        except BrokenProcessPool:
            self._pool = self._pid = None  # it was killed; the next round starts another
            raise


_mine: list[Personalizer] = []


def _begin(settings: Settings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the gateway, which ends this
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _mine.append(Personalizer(settings=settings))


def _end_with_parent() -> None:
    """A gateway that was killed leaves nobody who would end this process; what it is learning is learnt again."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _learn(tenant: str) -> int:
    return _mine[0].for_tenant(tenant).learn_pending()
