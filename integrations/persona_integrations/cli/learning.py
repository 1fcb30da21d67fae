"""Learning from everyone who waits: progress, what becomes of Ctrl-C and spent budgets, and who could not be learnt."""

from __future__ import annotations

import shlex
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from persona_integrations.cli import asking, progress
from persona_integrations.cli.terminal import complain, one_line, output
from persona_sdk.errors import ModelError
from persona_sdk.hooks import hookimpl
from persona_sdk.language import Spent

if TYPE_CHECKING:
    from persona_sdk.engine import Personalizer
    from persona_sdk.inference import Population
    from persona_sdk.models import Persona

__all__ = ["Run", "Watch"]

#: How many people that could not be learnt from are named.
_SHOWN = 20
#: The personalizer hands over people waiting to be learnt in batches of this many; a smaller one is the last.
_PAGE = 1000


class Watch:
    """A plugin that notes who was learnt from, when it is done and not only begun."""

    def __init__(self) -> None:
        self.learnt: set[str] = set()
        self.told: Callable[[int], None] = lambda _: None
        self._lock = threading.Lock()

    @hookimpl
    def persona_on_persona(self, persona: Persona, accepted: bool, reason: str) -> None:
        """Count one more person, once."""
        with self._lock:
            self.learnt.add(persona.user_id)
            self.told(len(self.learnt))


@dataclass
class Run:
    """One run over everyone who waits. `stopped` says why it ended before its time, `code` what to exit with."""

    personalizer: Personalizer
    watch: Watch
    workers: int = 1
    ray: bool = False
    ray_address: str | None = None
    population: Population | None = None
    spent: Spent = field(default_factory=Spent)
    failed: list[str] = field(default_factory=list)
    stopped: str = ""
    code: int = 0

    def learn(self) -> None:
        """Learn first what all have in common, then everyone, as far as Ctrl-C, budget and key allow."""
        begun: dict[str, None] = {}
        try:
            self._learn(begun)
            self.failed = [user for user in begun if user not in self.watch.learnt]
        except KeyboardInterrupt:
            self.stopped, self.code = "interrupted", 130
        except ModelError as error:
            if not error.final:
                raise
            self.stopped, self.code = str(error), 1
        self.spent = self.personalizer.spent()

    def _learn(self, begun: dict[str, None]) -> None:
        shown: progress.Counted | None = None

        def over(batch: Iterable[str]) -> Iterable[str]:
            nonlocal shown
            waiting = list(batch)
            if shown is None:
                users = len(self.personalizer.users())
                self._refit(users)
                total = len(waiting) if len(waiting) < _PAGE else users
                shown = stack.enter_context(progress.counted("personas", total, self._said))
                self.watch.told = shown
            for user in waiting:
                begun[user] = None
                yield user

        with ExitStack() as stack:
            if self.ray:
                from persona_integrations.ray import learn_with_ray  # noqa: PLC0415 - an optional install

                learn_with_ray(self.personalizer, workers=self.workers, address=self.ray_address, progress=over)
            else:
                self.personalizer.learn_pending(over, workers=self.workers)

    def _refit(self, users: int) -> None:
        with progress.people("what people have in common", users, self._said) as track:
            self.population = self.personalizer.refit(track)

    def _said(self) -> str:
        return asking.brief(self.personalizer.spent())

    def as_dict(self) -> dict[str, Any]:
        """Return this, JSON-ready."""
        found = self.population
        return {
            "learnt": len(self.watch.learnt),
            "population": None if found is None else {"users": found.users, "choices": found.choices},
            "failed": self.failed,
            "spent": asking.as_dict(self.spent),
            "stopped": self.stopped or None,
        }

    def print(self) -> None:
        """Print what was learnt and what it took."""
        count = len(self.watch.learnt)
        learnt = "1 person" if count == 1 else f"{count:,} people"
        common = f", and what {self.population.users:,} people have in common" if self.population else ""
        look = "" if self.stopped else "  Look: persona show USER"
        output().print(f"{learnt} learnt{common}.{look}", soft_wrap=True)
        if said := asking.account(self.spent):
            output().print(f"Asked: {said}.", soft_wrap=True)

    def complain(self) -> None:
        """Say on stderr who could not be learnt from, or why it stopped and how to go on."""
        if self.failed:
            names = ", ".join(one_line(user, 60) for user in self.failed[:_SHOWN])
            more = f" and {len(self.failed) - _SHOWN:,} more" if len(self.failed) > _SHOWN else ""
            complain(f"{len(self.failed):,} could not be learnt from and stay pending: {names}{more}")
        if self.stopped:
            complain(f"stopped: {self.stopped}")
            complain(
                f"every persona learnt and every answer is kept; to go on: {shlex.join(['persona', *sys.argv[1:]])}"
            )
