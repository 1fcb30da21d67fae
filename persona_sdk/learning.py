"""From a person's signals to their current persona: infer, verify, settle, remember. Never inside a chat call."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from persona_sdk.deriving import Outcome, Work, derive, owned, settle, under_rulings
from persona_sdk.errors import InputError, ModelError, NotFoundError, PersonaError
from persona_sdk.inference import History, InferenceRequest, Inferrer, Population
from persona_sdk.journal import MemoryJournal
from persona_sdk.language import Spent
from persona_sdk.leaning import lean
from persona_sdk.memory import Leaning, Memory, Pending
from persona_sdk.models import Persona
from persona_sdk.pipeline import contained, fault
from persona_sdk.signals import Utterance, choices_of
from persona_sdk.workers import side_by_side

__all__ = ["BackgroundLearner", "Learner", "settle"]

_log = logging.getLogger("persona_sdk")

#: Seconds for which a population read from memory is used before another process's refit is looked for.
_POPULATION_AGE = 30.0
#: People read from memory at a time.
_PAGE = 1000
_UNKNOWN = "nothing is known of this person yet"

Told = Callable[[Persona, bool, str], None]
#: Learns from people in other processes.
Elsewhere = Callable[[Iterable[str]], Iterable[tuple[str, Persona | None]]]


class Learner:
    """Brings personas up to date. `told` hears of every proposal, believed or not, and of every version chosen by hand.

    With `leans`, what people lean to is kept, too, for finding similar ones.
    """

    def __init__(self, memory: Memory, inferrer: Inferrer, told: Told, *, leans: bool = False) -> None:
        self._memory = memory
        self._inferrer = inferrer
        self._told = told
        self._leans = leans
        self._populations: dict[str, tuple[float, Population | None]] = {}
        self._held: dict[str, dict[str, Persona]] = {}  # by tenant: who had nobody to be compared with, in this run
        self._elsewhere, self._counting = Spent(), threading.Lock()
        self._locks = [threading.RLock() for _ in range(1024)]  # so many that two people seldom share one

    def learn(self, tenant: str, user_id: str) -> Persona:
        """Learn from all of one person's signals and return their current persona, changed or not.

        One person is learnt from by one thread at a time, so that who has read less never writes last.
        """
        with self._lock(tenant, user_id):
            return self._learn(tenant, user_id)

    def catch_up(self, tenant: str, user_id: str) -> None:
        """Learn from one person if there are signals that have not been learnt from.

        Where a model that is asked fails, they stay pending, and what was known of them stands.
        """
        with self._lock(tenant, user_id):
            progress = self._memory.progress(tenant, user_id)
            if progress is None or not progress.pending:
                return
            try:
                self._learn(tenant, user_id)
            except ModelError as error:
                _log.warning("learning from one person failed, they stay pending: %s", fault(error))

    def learn_pending(
        self,
        tenant: str,
        progress: Callable[[Iterable[str]], Iterable[str]] = iter,
        workers: int = 1,
        elsewhere: Elsewhere | None = None,
    ) -> int:
        """Learn from everyone in the tenant whose signals are new; see `Personalizer.learn_pending`.

        `elsewhere` learns from people in other processes, and yields what became of each, None for a failure.
        """
        if workers < 1:
            raise InputError(f"workers: must be at least 1, not {workers}", field="workers")
        held = self._held.setdefault(tenant, {})
        learnt: list[str] = []
        failed: set[str] = set()
        uncontrolled: list[str] = []  # whoever is learnt first has nobody to be compared with yet

        def count(user_id: str, persona: Persona | None) -> None:
            if persona is None:
                failed.add(user_id)
                return
            learnt.append(user_id)
            if persona.lift is not None and persona.lift.accuracy_other is None:
                uncontrolled.append(user_id)

        def waiting() -> list[str]:  # those who failed or are held still are, and must not hide the others
            passed = failed | held.keys()
            return [p.user_id for p in self._memory.pending(tenant, _PAGE + len(passed)) if p.user_id not in passed]

        try:
            while batch := waiting():
                if elsewhere is None:
                    side_by_side(
                        lambda user_id: count(user_id, self.attempt(tenant, user_id)), progress(batch), workers
                    )
                else:
                    for user_id, persona in elsewhere(progress(batch)):
                        count(user_id, persona)
        finally:
            self._held.pop(tenant, None)
        if failed:
            _log.warning("%d of %d people could not be learnt from", len(failed), len(failed) + len(learnt))
        self._compare(tenant, uncontrolled if len(learnt) > 1 else [], workers)
        for user_id, proposal in held.items():
            with suppress(NotFoundError):  # forgotten meanwhile
                self._memory.mark_learnt(tenant, user_id, proposal.lineage.through, proposal.note)
        return len(learnt)

    def attempt(self, tenant: str, user_id: str) -> Persona | None:
        """Learn from one person; None, and a line in the log, if that failed for reasons of their own."""
        return self.attempted(lambda: self.learn(tenant, user_id))

    def attempted(self, learn: Callable[[], Persona]) -> Persona | None:
        """Return what `learn` does; None, and a line in the log, if it failed for reasons of one person.

        That may be a plugin's own error, too: it must not keep everyone else from being learnt.
        """
        told: list[PersonaError] = []

        def once() -> Persona | None:
            try:
                return learn()
            except PersonaError as error:
                told.append(error)
                return None

        persona, failure = contained(once)
        for error in told:
            if isinstance(error, ModelError) and error.final:
                raise error
            failure = fault(error)
        if failure:
            _log.warning("learning from one person failed, they stay pending: %s", failure)
        return persona

    def _compare(self, tenant: str, uncontrolled: Sequence[str], workers: int) -> None:
        """Learn those anew who had nobody to be compared with, if there is somebody by now."""
        if not uncontrolled:
            return
        first = self.attempt(tenant, uncontrolled[0])
        if first is not None and first.lift is not None and first.lift.accuracy_other is not None:
            # With an inferrer that never compares, only the first was learnt in vain.
            side_by_side(lambda user_id: self.attempt(tenant, user_id), uncontrolled[1:], workers)

    def spent(self) -> Spent:
        """Return what the inferrer has asked of models so far."""
        with self._counting:
            return self._inferrer.spent() + self._elsewhere

    def spent_elsewhere(self, spent: Spent) -> None:
        """Count what the inferrer of another process asked of models."""
        with self._counting:
            self._elsewhere += spent

    def _lock(self, tenant: str, user_id: str) -> threading.RLock:
        return self._locks[hash((tenant, user_id)) % len(self._locks)]

    def _learn(self, tenant: str, user_id: str) -> Persona:
        work = self.gather(tenant, user_id)
        if work is None:
            return Persona(tenant=tenant, user_id=user_id, note=_UNKNOWN)
        return self.remember(work, derive(work, self._inferrer, MemoryJournal(self._memory, tenant, user_id)))

    def accept(self, work: Work, outcome: Outcome) -> Persona:
        """Remember what another process derived; if the person was learnt from meanwhile, learn from them here."""
        tenant, user_id = work.request.tenant, work.request.user_id
        with self._lock(tenant, user_id):
            now = self._memory.current(tenant, user_id)
            if (now.version if now else 0) != (work.current.version if work.current else 0):
                return self._learn(tenant, user_id)
            return self.remember(work, outcome)

    def gather(self, tenant: str, user_id: str) -> Work | None:
        """Read from memory all that is needed to learn from one person; None if nothing is known of them."""
        stored = self._memory.signals(tenant, user_id)
        if not stored:
            return None
        current = self._memory.current(tenant, user_id)
        verdicts = self._memory.verdicts(tenant, user_id)
        read = current.lineage.through if current else 0
        request = InferenceRequest(
            tenant=tenant,
            user_id=user_id,
            signals=[s.signal for s in stored],
            population=self.population(tenant),
            read_before=sum(s.seq <= read for s in stored),
            other_state=owned(self._memory.other_state(tenant, user_id), self._inferrer.name),
            rejected=frozenset(k for k, v in verdicts.items() if v.ruling == "rejected"),
            pinned=frozenset(k for k, v in verdicts.items() if v.ruling == "pinned"),
        )
        said: tuple[Utterance, ...] = ()
        if request.rejected:
            progress = self._memory.progress(tenant, user_id)
            learnt = progress.learnt if progress else 0
            said = tuple(s.signal for s in stored if s.seq > learnt and isinstance(s.signal, Utterance))
        leans = self._leans and not (current is not None and current.pinned)  # a pinned version is not to move
        return Work(request, current, verdicts, stored[-1].seq, said, leans)

    def remember(self, work: Work, outcome: Outcome) -> Persona:
        """Write down what learning from one person came to, and return their current persona, changed or not.

        While many are learnt from, whoever had nobody to be compared with stays pending: should the run be killed
        before they are learnt anew, the next one does it.
        """
        proposal, current, verification = outcome.proposal, work.current, outcome.verification
        tenant, user_id = proposal.tenant, proposal.user_id
        believed = bool(proposal.traits) or verification.accepted
        unchanged = current is not None and _said(current) == _said(proposal)
        state = self._state_of(current) if outcome.keeps_state and current else outcome.state
        try:
            for key in outcome.again:  # they said it anew: the tombstone goes
                self._memory.rule(tenant, user_id, key, None)
            if (believed or current) and not unchanged:
                self._memory.remember(proposal, state)
            if outcome.leaning is not None:
                choices = len(choices_of(work.request.signals))
                kept = Leaning(user_id, outcome.leaning, choices, work.through, self._inferrer.name)
                self._memory.lean(tenant, kept)
            held = self._held.get(tenant)
            if held is not None and outcome.state is not None and work.request.other_state is None:
                held[user_id] = proposal
            else:
                self._memory.mark_learnt(tenant, user_id, proposal.lineage.through, proposal.note)
        except NotFoundError:  # forgotten while we were learning: what was derived must not come back
            return Persona(tenant=tenant, user_id=user_id, note=_UNKNOWN)
        self._told(proposal, verification.accepted, verification.reason)
        now = self._memory.current(tenant, user_id)
        return proposal.model_copy(update={"version": 0, "traits": ()}) if now is None else now

    def restate(self, persona: Persona, *, pinned: bool) -> Persona:
        """Make a version the current one, without the traits its person took back: they do not return this way."""
        tenant, user_id = persona.tenant, persona.user_id
        traits = under_rulings(persona.traits, self._memory.verdicts(tenant, user_id))
        version = persona.version
        if traits != persona.traits:
            ruling = {"parent": version, "worded": 0, "reason": f"version {version} as ruled on"}
            lineage = persona.lineage.model_copy(update=ruling)
            summary = " ".join(t.statement for t in traits)
            ruled = persona.model_copy(update={"traits": traits, "summary": summary, "lineage": lineage})
            # The version's weights were learnt with what was taken back, and so was its lift measured.
            version = self._memory.remember(ruled.model_copy(update={"lift": None}), None, current=False).version
        now = self._memory.set_current(tenant, user_id, version, pinned=pinned)
        if self._leans:
            self.lean(tenant, user_id)
        self._told(now, True, f"version {now.version} was chosen by hand")
        return now

    def lean(self, tenant: str, user_id: str) -> None:
        """Keep what a person leans to, for finding similar people."""
        with self._lock(tenant, user_id):
            lean(self._memory, self._inferrer, self.population(tenant), tenant, user_id)

    def _state_of(self, current: Persona) -> dict[str, object] | None:
        state = self._memory.state(current.tenant, current.user_id, current.version)
        return dict(state) if state is not None else None

    def population(self, tenant: str) -> Population | None:
        """Return the tenant's population, at most half a minute old."""
        kept = self._populations.get(tenant)
        if kept is None or time.monotonic() - kept[0] > _POPULATION_AGE:
            found = self._memory.population(tenant, self._inferrer.name)
            kept = (time.monotonic(), found if found is not None and found.users else None)
            self._populations[tenant] = kept
        return kept[1]

    def refit(self, tenant: str, progress: Callable[[Iterable[str]], Iterable[str]] = iter) -> Population | None:
        """Learn anew what the tenant's people have in common. Personas follow as each person is next learnt from."""

        def histories() -> Iterator[History]:
            for user_id in progress(self._memory.users(tenant)):
                signals = [s.signal for s in self._memory.signals(tenant, user_id)]
                yield History(user_id, signals, MemoryJournal(self._memory, tenant, user_id))

        population = self._inferrer.fit_population(tenant, histories())
        if population is not None:
            self._memory.save_population(population)
        elif (old := self._memory.population(tenant, self._inferrer.name)) is not None:
            # Nobody is left to have it in common: keep an empty one, so that nothing of theirs stays in use.
            empty = {"fingerprint": "", "users": 0, "choices": 0, "data": {}}
            self._memory.save_population(old.model_copy(update=empty))
        self._populations.pop(tenant, None)
        if self._leans:  # their names and units are the population's
            for user_id in progress(self._memory.users(tenant)):
                self.lean(tenant, user_id)
        return population


def _said(persona: Persona) -> tuple[object, ...]:
    """What makes a version worth storing: what it claims, how well that predicts, and what it was measured against."""
    return persona.traits, persona.lift, persona.lineage.population


class BackgroundLearner:
    """A daemon thread that learns from people whose signals are new.

    With the first person of a tenant come those whom an earlier process left unlearnt (`pending`), so that a process
    that dies loses no work.
    """

    def __init__(
        self, learn: Callable[[str, str], object], pending: Callable[[str], Iterable[Pending]] = lambda _: ()
    ) -> None:
        self._learn = learn
        self._pending = pending
        self._resumed: set[str] = set()
        self._waiting: dict[tuple[str, str], None] = {}
        self._changed = threading.Condition()
        self._busy = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, tenant: str, user_id: str) -> None:
        """Ask for one person to be learnt from soon; asking again before that happens changes nothing."""
        left: list[Pending] = []
        if tenant not in self._resumed:
            self._resumed.add(tenant)
            left = list(self._pending(tenant))
        with self._changed:
            if self._closed:
                return
            self._waiting[(tenant, user_id)] = None
            self._waiting.update(dict.fromkeys((p.tenant, p.user_id) for p in left))
            if self._thread is None or not self._thread.is_alive():  # a fork leaves the thread behind
                self._start()
            self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everyone submitted has been learnt from; False if `timeout` seconds were not enough."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout)

    def close(self, timeout: float = 10) -> None:
        """Stop after the person being learnt from, waiting `timeout` seconds; the others stay pending in memory."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _run(self) -> None:
        while (user := self._next()) is not None:
            _, failure = contained(self._learn_one, *user)
            if failure:  # they stay pending in memory, and their next signal tries again
                _log.error("learning in the background failed: %s", failure)

    def _learn_one(self, tenant: str, user_id: str) -> None:
        try:
            self._learn(tenant, user_id)
        except PersonaError as error:
            _log.warning("learning in the background failed: %s", type(error).__name__)

    def _next(self) -> tuple[str, str] | None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            user = next(iter(self._waiting))
            del self._waiting[user]
            self._busy = True
            return user

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="persona-learning", daemon=True)
        self._thread.start()
