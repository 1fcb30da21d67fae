"""Writes down what requests show, beside them: in order, one after the other, and none is lost while the process lives.

The queue is bounded. When it is full, requests wait for it after their answer was sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from persona_integrations.server.metrics import Metrics
from persona_sdk.errors import StorageBusyError
from persona_sdk.pipeline import contained

__all__ = ["Recorder"]

_log = logging.getLogger("persona_sdk")
#: Seconds to wait before a record is tried again that memory was too busy for, and how often.
_PAUSE, _TRIES = 0.2, 50
#: Seconds that a request waits for what came before it to be written.
_PATIENCE = 10.0


class Recorder:
    """A queue of functions that write, and the one thread that runs them."""

    def __init__(self, size: int, metrics: Metrics) -> None:
        self._queue: asyncio.Queue[tuple[str, Callable[[], object]]] = asyncio.Queue(size)
        self._metrics = metrics
        self._added = self._written = 0
        self._progress = asyncio.Condition()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="persona-recorder")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write, in the running event loop."""
        self._task = asyncio.create_task(self._run())

    def offer(self, what: str, write: Callable[[], object]) -> bool:
        """Have something written if there is room in the queue; return whether there was."""
        if self._queue.full():
            return False
        self._queue.put_nowait((what, write))
        self._added += 1
        self._metrics.queued.set(self._queue.qsize())
        return True

    async def add(self, what: str, write: Callable[[], object]) -> None:
        """Have something written, once what came before it is; waits while the queue is full."""
        self._added += 1
        try:
            await self._queue.put((what, write))
        except asyncio.CancelledError:
            self._added -= 1
            raise
        self._metrics.queued.set(self._queue.qsize())

    async def catch_up(self) -> None:
        """Return once everything is written that is in the queue now.

        Raises:
            StorageBusyError: that takes too long.
        """
        last = self._added
        try:
            async with asyncio.timeout(_PATIENCE), self._progress:
                await self._progress.wait_for(lambda: self._written >= last)
        except TimeoutError:
            raise StorageBusyError("what was seen before is still being written") from None

    async def close(self) -> None:
        """Write what is in the queue, and end."""
        await self._queue.join()
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._queue.get()]
            while not self._queue.empty() and len(batch) < 64:  # one change of threads for many records
                batch.append(self._queue.get_nowait())
            try:
                await loop.run_in_executor(self._thread, self._write, batch)
            finally:
                for _ in batch:
                    self._queue.task_done()
                self._metrics.queued.set(self._queue.qsize())
            self._written += len(batch)
            async with self._progress:
                self._progress.notify_all()

    def _write(self, batch: list[tuple[str, Callable[[], object]]]) -> None:
        for what, write in batch:
            _, failure = contained(_patiently, write)
            self._metrics.recorded.labels(what, "failed" if failure else "written").inc()
            if failure:
                _log.error("gateway: %s could not be recorded: %s", what, failure)


def _patiently(write: Callable[[], object]) -> None:
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed  # noqa: PLC0415

    retrying = Retrying(
        retry=retry_if_exception_type(StorageBusyError),
        stop=stop_after_attempt(_TRIES),
        wait=wait_fixed(_PAUSE),
        reraise=True,
    )
    retrying(write)
