"""Progress on stderr, with the time left; nothing at all when that is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from persona_integrations.cli.terminal import error_console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Counted", "People", "counted", "people", "steps", "training", "waiting"]

#: Wraps the people being worked on, as `Personalizer.refit` and `learn_pending` ask for it.
People: TypeAlias = Callable[[Iterable[str]], Iterable[str]]
#: Is told how many people are done, from any thread.
Counted: TypeAlias = Callable[[int], None]
_COUNT = "{task.completed:,.0f} of {task.total:,.0f} people"


class _Live:
    """Text that is made anew each time it is shown."""

    def __init__(self, text: Callable[[], str]) -> None:
        self._text = text

    def __format__(self, _: str) -> str:
        return self._text()


def _progress(label: str, *columns: str) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    console = error_console()
    shown = [TextColumn("{task.description}", markup=False), BarColumn()]
    counts = [TextColumn(c) for c in columns]
    return Progress(*shown, *counts, TimeRemainingColumn(), console=console, transient=True, disable=_quiet())


def _quiet() -> bool:
    return not error_console().is_terminal


@contextmanager
def people(label: str, total: int, beside: Callable[[], str] = str) -> Iterator[People]:
    """Show progress over people, `total` at most (who needs no work is not handed over); `beside` adds some text."""
    with _progress(label, _COUNT, "{task.fields[beside]}") as progress:
        task = progress.add_task(label, total=total, beside=_Live(beside))

        def track(ids: Iterable[str]) -> Iterator[str]:
            done = progress.tasks[task].completed
            if isinstance(ids, Sequence) and done + len(ids) > total:
                progress.update(task, total=done + len(ids))
            for one in ids:
                yield one
                progress.advance(task)

        yield track


@contextmanager
def counted(label: str, total: int, beside: Callable[[], str] = str) -> Iterator[Counted]:
    """Show how many people are done, the time left, and what is `beside`; what it yields is told the number done."""
    with _progress(label, _COUNT, "{task.fields[beside]}") as progress:
        task = progress.add_task(label, total=total, beside=_Live(beside))

        def show(done: int) -> None:
            progress.update(task, completed=done, total=max(total, done))

        yield show


@contextmanager
def steps(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress up to `total`; what it yields is told how far the work has come, not by how much."""
    with _progress(label, "{task.percentage:>3.0f}%") as progress:
        task = progress.add_task(label, total=max(1, total))
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """Show that something of unknown length is going on."""
    with error_console().status(label) if not _quiet() else _nothing():
        yield


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def training(name: str) -> Iterator[Callable[[int, int, str, int, int], None]]:
    """Show the steps of each stage of a training run and the time left; what it yields is told of each step."""
    with _progress(name, "{task.completed:,.0f} of {task.total:,.0f} steps") as progress:
        tasks: dict[int, TaskID] = {}

        def show(number: int, stages: int, method: str, step: int, total: int) -> None:
            if number not in tasks:
                tasks[number] = progress.add_task(f"{name}: {method} ({number} of {stages})", total=max(1, total))
            progress.update(tasks[number], completed=step, total=max(1, total))

        yield show
