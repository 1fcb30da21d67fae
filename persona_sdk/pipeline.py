"""The request path: tailors in order, each within the time that is left, none able to break a chat."""

from __future__ import annotations

import contextvars
import logging
import math
import operator
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from queue import SimpleQueue
from threading import TIMEOUT_MAX, Lock, Thread
from typing import Any, TypeAlias, TypeVar, cast

from persona_sdk.errors import PersonaError, PluginError, PluginOrderError, PluginTypeError
from persona_sdk.models import ChatCall, Message, TailorStep
from persona_sdk.tailoring import Tailor, TailorContext, TailorResult
from persona_sdk.text import estimate_tokens

__all__ = ["Guard", "OverrunError", "Pipeline", "contained", "fault", "order", "within"]

#: Failures in a row, or runs that still hang, after which a plugin rests; and for how many seconds.
STRIKES, REST = 3, 60.0
#: A required tailor always gets this many seconds: what others wasted must not make a call fail.
REQUIRED_SECONDS = 0.25
#: Idle worker threads kept for the next call.
SPARE_WORKERS = 8

T = TypeVar("T")
Clock: TypeAlias = Callable[[], float]
OnSkip: TypeAlias = Callable[[str, str, str], None]
_log = logging.getLogger("persona_sdk")


class _Job:
    """One function call, its outcome, and a lock that opens when there is one."""

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.fn, self.args, self.context = fn, args, contextvars.copy_context()
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = Lock()
        self.done.acquire()


class OverrunError(TimeoutError):
    """A plugin took longer than it may; its thread is left to end by itself."""

    def __init__(self, seconds: float, job: _Job | None = None) -> None:
        super().__init__(f"took longer than the {max(0.0, seconds):.3f} s that were left")
        self.job = job


# A worker is a daemon thread reading from its queue: it never keeps the interpreter from exiting. Only idle workers
# are in the pool, so a stuck one is replaced simply by not being found there.
_idle: deque[SimpleQueue[_Job]] = deque()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # threads do not survive a fork


def _serve(jobs: SimpleQueue[_Job]) -> None:
    spare = True
    while spare:
        job = jobs.get()
        try:
            job.result = job.context.run(job.fn, *job.args)
        except BaseException as error:  # noqa: BLE001 - handed to the caller, who decides
            job.error = error
        if spare := len(_idle) < SPARE_WORKERS:
            _idle.append(jobs)  # before the caller wakes up, so that its next job finds this worker
        job.done.release()
        del job  # an idle worker must not keep anybody's messages alive


def within(seconds: float, fn: Callable[..., T], *args: Any) -> T:
    """Return `fn(*args)`, run in a daemon thread with the caller's context variables, if it ends within `seconds`.

    Raises:
        OverrunError: (a TimeoutError) time is up; `fn` goes on in its thread and its result is dropped.
        Exception: whatever `fn` raised; a `SystemExit` and its like become a PluginError.
    """
    if seconds <= 0:
        raise OverrunError(seconds)
    job = _Job(fn, args)
    try:
        jobs = _idle.pop()
    except IndexError:
        jobs = SimpleQueue()
        Thread(target=_serve, args=(jobs,), name="persona-worker", daemon=True).start()
    jobs.put(job)
    if not job.done.acquire(timeout=min(seconds, TIMEOUT_MAX)):
        raise OverrunError(seconds, job)
    error, job.error = job.error, None  # no cycle between the error's traceback and the job
    if error is None:
        return cast("T", job.result)
    raise error if isinstance(error, Exception) else PluginError(f"raised {type(error).__name__}")


def contained(fn: Callable[..., T], *args: Any) -> tuple[T | None, str]:
    """Return `fn(*args)` and "", or None and what went wrong; never raises. For work that nobody waits for."""
    try:
        return fn(*args), ""
    except Exception as error:  # noqa: BLE001 - a stranger's code must not end the thread that runs it
        return None, fault(error)


class Guard:
    """Runs one plugin's code `within` a time, and lets the plugin rest when it keeps failing.

    After three failures in a row it is not tried for a minute, and never while three of its earlier runs still hang,
    so that hung threads cannot pile up from call to call. Safe to use from several threads.
    """

    def __init__(self, plugin: str, *, clock: Clock = time.monotonic) -> None:
        self._plugin, self._clock, self._lock = plugin, clock, Lock()
        self._failures, self._until = 0, 0.0
        self._late: list[_Job] = []

    def run(self, seconds: float, fn: Callable[..., T], *args: Any) -> T:
        """Return `fn(*args)`; raise what it raised, OverrunError, or a PluginError while the plugin rests."""
        if self._failures or self._late:
            self._check()
        try:
            result = within(seconds, fn, *args)
        except Exception as error:
            if isinstance(error, OverrunError) and error.job is None:
                raise  # others spent its time: not its failure
            with self._lock:
                self._failures, self._until = self._failures + 1, self._clock() + REST
                self._late += [error.job] if isinstance(error, OverrunError) and error.job else []
            raise
        self._failures = 0
        return result

    def attempt(self, seconds: float, fn: Callable[..., T], *args: Any) -> tuple[T | None, str]:
        """Return what `run` returns and "", or None and why it failed; never raises."""
        try:
            return self.run(seconds, fn, *args), ""
        except Exception as error:  # noqa: BLE001 - a stranger's code must not break a chat
            return None, fault(error)

    def _check(self) -> None:
        with self._lock:
            self._late = [job for job in self._late if job.done.locked()]
            if len(self._late) >= STRIKES:
                raise PluginError(f"rests: {len(self._late)} earlier runs still hang", plugin=self._plugin)
            if self._failures >= STRIKES and self._clock() < self._until:
                raise PluginError(f"rests {REST:.0f} s after {STRIKES} failures in a row", plugin=self._plugin)


def fault(error: BaseException) -> str:
    """Describe an exception without repeating people's text: foreign messages may quote it, ours never do."""
    if isinstance(error, PersonaError | OverrunError):
        return str(error) or type(error).__name__
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" at {trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
    return f"raised {type(error).__name__}{where}"


def order(tailors: Sequence[Tailor]) -> list[Tailor]:
    """Return the tailors as configured, each moved back only as far as its `after` and `requires` demand.

    Raises:
        PluginOrderError: naming tailors that are configured twice, missing, or waiting for each other.
    """
    names = [tailor.name for tailor in tailors]
    for tailor in tailors:
        if names.count(tailor.name) > 1:
            raise PluginOrderError(f"tailor {tailor.name!r} is configured twice", plugin=tailor.name)
        if missing := [needed for needed in tailor.requires if needed not in names]:
            text = f"tailor {tailor.name!r} requires {missing[0]!r}, which is not configured"
            raise PluginOrderError(text, plugin=tailor.name)
    waiting = {t.name: (t, {n for n in (*t.after, *t.requires) if n in names}) for t in tailors}
    ordered: list[Tailor] = []
    while waiting:
        ready = next((name for name, (_, before) in waiting.items() if not before & waiting.keys()), None)
        if ready is None:
            path = [next(iter(waiting))]
            while path.count(path[-1]) == 1:
                path.append(min(waiting[path[-1]][1] & waiting.keys()))
            circle = " → ".join(path[path.index(path[-1]) :])
            raise PluginOrderError(f"tailors wait for each other: {circle}", plugin=path[-1])
        ordered.append(waiting.pop(ready)[0])
    return ordered


class Pipeline:
    """A chain of tailors. What goes wrong in one is told to `on_skip(stage, plugin, reason)`, and the chat goes on.

    A tailor that is `required` makes the call fail instead. With `strict`, so does a result of the wrong type.
    """

    def __init__(
        self, tailors: Sequence[Tailor], on_skip: OnSkip, *, strict: bool = False, clock: Clock = time.monotonic
    ) -> None:
        self.tailors = tuple(order(tailors))
        self._on_skip, self._strict, self._clock = on_skip, strict, clock
        self._tailoring = {t.name: Guard(t.name, clock=clock) for t in self.tailors}
        self._choosing = {t.name: Guard(t.name, clock=clock) for t in self.tailors}

    def run(self, call: ChatCall, context: TailorContext, deadline: float) -> tuple[ChatCall, tuple[TailorStep, ...]]:
        """Return the tailored call and what each tailor did, by `deadline` on the monotonic clock.

        Raises:
            PluginError: a required tailor failed; its exception is the cause.
            PluginTypeError: a tailor returned something else than its interface allows, and this is `strict`.
        """
        steps: list[TailorStep] = []
        tokens = context.max_tokens
        for tailor in self.tailors:
            left = max(deadline - self._clock(), REQUIRED_SECONDS if tailor.required else 0)
            rest = replace(context, max_tokens=tokens)
            try:
                new, step = self._tailoring[tailor.name].run(left, _tailor, tailor, call, rest)
            except Exception as error:  # noqa: BLE001 - a stranger's code must not break a chat
                step = TailorStep(tailor=tailor.name, skipped=self._skip("tailor", tailor, error))
            if not step.skipped:
                call, tokens = new, tokens - max(0, step.tokens_added)
            steps.append(step)
        return call, tuple(steps)

    def choose(self, call: ChatCall, answers: Sequence[str], context: TailorContext, deadline: float = math.inf) -> int:
        """Return the index of the answer to give: the first tailor with an opinion decides, 0 if none has one."""
        for tailor in self.tailors if len(answers) > 1 else ():
            left = deadline - self._clock()
            try:
                index = self._choosing[tailor.name].run(left, _choose, tailor, call, tuple(answers), context)
                if index is not None:
                    return index
            except Exception as error:  # noqa: BLE001 - the model has answered: whatever happens, one is given
                self._skip("choose", tailor, error)
        return 0

    def utilities(
        self, call: ChatCall, answers: Sequence[str], context: TailorContext, deadline: float = math.inf
    ) -> list[float] | None:
        """Return what all tailors together add to each answer's utility, None if none adds anything."""
        total: list[float] | None = None
        for tailor in self.tailors:
            if type(tailor).utilities is Tailor.utilities:
                continue
            left = deadline - self._clock()
            try:
                added = self._choosing[tailor.name].run(left, _utilities, tailor, call, tuple(answers), context)
            except Exception as error:  # noqa: BLE001 - a stranger's code must not break a chat
                self._skip("choose", tailor, error)
                continue
            if added:
                total = [a + b for a, b in zip(total or [0.0] * len(added), added, strict=True)]
        return total

    def _skip(self, stage: str, tailor: Tailor, error: Exception) -> str:
        reason = fault(error)
        try:
            self._on_skip(stage, tailor.name, reason)
        except Exception as broken:  # noqa: BLE001 - telling about a fault must not become one
            _log.error("on_skip %s", fault(broken))
        if stage == "tailor" and tailor.required:
            raise PluginError(f"required tailor {tailor.name!r} failed: {reason}", plugin=tailor.name) from error
        if stage == "tailor" and self._strict and isinstance(error, PluginTypeError):
            raise error
        return reason


def _copy(call: ChatCall) -> ChatCall:
    """Return a call whose lists and dicts a tailor may spoil; plain messages stay the very same objects."""
    plain = [type(m.content) is str and not m.model_extra for m in call.messages]
    if not call.params and all(plain):
        return call
    messages = (m if p else m.model_copy(deep=True) for m, p in zip(call.messages, plain, strict=True))
    return call.override(messages=tuple(messages), params=deepcopy(dict(call.params)))


def _choose(tailor: Tailor, call: ChatCall, answers: tuple[str, ...], context: TailorContext) -> int | None:
    index = tailor.choose(_copy(call), answers, context)
    if index is None:
        return None
    number = not isinstance(index, bool) and hasattr(index, "__index__")
    if not number or not 0 <= operator.index(index) < len(answers):
        raise _wrong(tailor, "choose", f"None or the index of one of the {len(answers)} answers")
    return operator.index(index)


def _utilities(tailor: Tailor, call: ChatCall, answers: tuple[str, ...], context: TailorContext) -> list[float]:
    added = tailor.utilities(_copy(call), answers, context)
    numbers = isinstance(added, list | tuple) and all(isinstance(u, int | float) and math.isfinite(u) for u in added)
    if not numbers or len(added) not in (0, len(answers)):
        raise _wrong(tailor, "utilities", f"nothing, or a finite number for each of the {len(answers)} answers")
    return list(added)


def _tailor(tailor: Tailor, call: ChatCall, context: TailorContext) -> TailorResult:
    """Run one tailor and check what it returns: `override` does not validate, and a call belongs to one person."""
    result = tailor.tailor(_copy(call), context)
    new, step = result if isinstance(result, TailorResult) else (None, None)
    if not isinstance(new, ChatCall) or not isinstance(step, TailorStep):
        raise _wrong(tailor, "tailor", f"a TailorResult of a ChatCall and a TailorStep, not {type(result).__name__}")
    if (new.user_id, new.tenant) != (call.user_id, call.tenant):
        raise _wrong(tailor, "tailor", "a call of the same user and tenant")
    sound = isinstance(new.messages, tuple) and all(isinstance(m, Message) for m in new.messages)
    if not sound or (call.messages and not new.messages) or not isinstance(new.n, int) or new.n < 1:
        raise _wrong(tailor, "tailor", "a call with a tuple of Message, not an empty one, and n of at least 1")
    added = max(step.tokens_added, _tokens(new) - _tokens(call) if new.messages != call.messages else 0)
    if added > context.max_tokens and not step.skipped:
        raise PluginError(f"adds {added} tokens, {context.max_tokens} are left", plugin=tailor.name)
    return TailorResult(new, step.model_copy(update={"tailor": tailor.name}))


def _tokens(call: ChatCall) -> int:
    return sum(estimate_tokens(m.text) for m in call.messages)


def _wrong(tailor: Tailor, method: str, wanted: str) -> PluginTypeError:
    return PluginTypeError(f"{method}() of tailor {tailor.name!r} must return {wanted}", plugin=tailor.name)
