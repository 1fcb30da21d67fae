"""Work in daemon threads, which never keep the interpreter from exiting: one call with a limit, or many side by side.

An exception is captured as the outcome of a call by tenacity, and always ends up with whoever waits for it.
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX, Semaphore, Thread
from typing import Any, TypeVar

__all__ = ["outcome", "side_by_side"]

T = TypeVar("T")


def outcome(seconds: float, fn: Callable[..., T], *args: Any) -> Future[T]:
    """Return what became of `fn(*args)`, run in a daemon thread: its result, its exception, or a TimeoutError.

    After `seconds` it is no longer waited for; it goes on in its thread, and what it returns is dropped.
    """
    done: SimpleQueue[Future[T]] = SimpleQueue()
    _begin(lambda: done.put(_captured(fn, *args)))
    try:
        return done.get(timeout=min(seconds, TIMEOUT_MAX))
    except Empty:
        late: Future[T] = Future()
        late.set_exception(TimeoutError(f"no answer within {seconds:g} s"))
        return late


def side_by_side(fn: Callable[[T], object], items: Iterable[T], count: int) -> None:
    """Run `fn` on every item, on at most `count` at once. With a `count` of 1, no thread is started.

    The first exception ends it: nothing more is begun, what is at work is finished, then it is raised. When the
    calling thread itself is interrupted (Ctrl-C), it leaves at once; what is at work goes on in its daemon thread.
    """
    if count <= 1:
        for item in items:
            fn(item)
        return
    free, failures = Semaphore(count), deque[BaseException]()

    def work(item: T) -> None:
        if failure := _captured(fn, item).exception():
            failures.append(failure)
        free.release()

    for item in items:
        free.acquire()
        if failures:
            free.release()
            break
        _begin(work, item)
    for _ in range(count):
        free.acquire()
    if failures:
        raise failures[0]


def _begin(fn: Callable[..., object], *args: Any) -> None:
    context = contextvars.copy_context()
    Thread(target=context.run, args=(fn, *args), name="persona-worker", daemon=True).start()


def _captured(fn: Callable[..., T], *args: Any) -> Future[T]:
    """Return what became of `fn(*args)`; never raises."""
    from tenacity import Retrying, retry_always, stop_after_attempt  # noqa: PLC0415 - needed by nobody who only chats

    stop = stop_after_attempt(1)
    once: Any = Retrying(retry=retry_always, stop=stop, retry_error_callback=lambda state: state.outcome)
    captured: Future[T] = once(fn, *args)
    return captured
