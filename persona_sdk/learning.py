"""From a person's signals to their current persona: infer, verify, settle, remember. Never inside a chat call."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from persona_sdk.errors import InputError, ModelError, NotFoundError, PersonaError, PluginTypeError
from persona_sdk.inference import History, Inference, InferenceRequest, Inferrer, Population
from persona_sdk.journal import MemoryJournal
from persona_sdk.language import Spent
from persona_sdk.memory import Memory, Pending, StoredSignal, Verdict
from persona_sdk.models import Lineage, Persona, Trait
from persona_sdk.pipeline import contained, fault
from persona_sdk.signals import Utterance
from persona_sdk.verification import Verification, verify
from persona_sdk.workers import side_by_side

__all__ = ["BackgroundLearner", "Learner", "settle"]

_log = logging.getLogger("persona_sdk")

#: Seconds for which a population read from memory is used before another process's refit is looked for.
_POPULATION_AGE = 30.0
#: People read from memory at a time.
_PAGE = 1000

Told = Callable[[Persona, bool, str], None]


class Learner:
    """Brings personas up to date. `told` hears of every proposal, believed or not."""

    def __init__(self, memory: Memory, inferrer: Inferrer, told: Told) -> None:
        self._memory = memory
        self._inferrer = inferrer
        self._told = told
        self._populations: dict[str, tuple[float, Population | None]] = {}
        self._locks = [threading.RLock() for _ in range(1024)]  # so many that two people seldom share one

    def learn(self, tenant: str, user_id: str) -> Persona:
        """Learn from all of one person's signals and return their current persona, changed or not.

        One person is learnt from by one thread at a time, so that who has read less never writes last.
        """
        with self._lock(tenant, user_id):
            return self._learn(tenant, user_id)

    def catch_up(self, tenant: str, user_id: str) -> None:
        """Learn from one person if there are signals that have not been learnt from."""
        with self._lock(tenant, user_id):
            progress = self._memory.progress(tenant, user_id)
            if progress is not None and progress.pending:
                self._learn(tenant, user_id)

    def learn_pending(
        self, tenant: str, progress: Callable[[Iterable[str]], Iterable[str]] = iter, workers: int = 1
    ) -> int:
        """Learn from everyone in the tenant whose signals are new; see `Personalizer.learn_pending`."""
        if workers < 1:
            raise InputError(f"workers: must be at least 1, not {workers}", field="workers")
        learnt: list[str] = []
        failed: set[str] = set()
        uncontrolled: list[str] = []  # whoever is learnt first has nobody to be compared with yet

        def learn(user_id: str) -> None:
            persona = self._attempt(tenant, user_id)
            if persona is None:
                failed.add(user_id)
                return
            learnt.append(user_id)
            if persona.lift is not None and persona.lift.accuracy_other is None:
                uncontrolled.append(user_id)

        def waiting() -> list[str]:  # those who failed still are, and must not hide the others
            return [p.user_id for p in self._memory.pending(tenant, _PAGE + len(failed)) if p.user_id not in failed]

        while batch := waiting():
            side_by_side(learn, progress(batch), workers)
        if failed:
            _log.warning("%d of %d people could not be learnt from", len(failed), len(failed) + len(learnt))
        self._compare(tenant, uncontrolled if len(learnt) > 1 else [], workers)
        return len(learnt)

    def _attempt(self, tenant: str, user_id: str) -> Persona | None:
        """Learn from one person; None, and a line in the log, if that failed for reasons of their own."""
        try:
            return self.learn(tenant, user_id)
        except PersonaError as error:
            if isinstance(error, ModelError) and error.final:
                raise
            _log.warning("learning from one person failed, they stay pending: %s", fault(error))
            return None

    def _compare(self, tenant: str, uncontrolled: Sequence[str], workers: int) -> None:
        """Learn those anew who had nobody to be compared with, if there is somebody by now."""
        if not uncontrolled:
            return
        first = self._attempt(tenant, uncontrolled[0])
        if first is not None and first.lift is not None and first.lift.accuracy_other is not None:
            # With an inferrer that never compares, only the first was learnt in vain.
            side_by_side(lambda user_id: self._attempt(tenant, user_id), uncontrolled[1:], workers)

    def spent(self) -> Spent:
        """Return what the inferrer has asked of models so far."""
        return self._inferrer.spent()

    def _lock(self, tenant: str, user_id: str) -> threading.RLock:
        return self._locks[hash((tenant, user_id)) % len(self._locks)]

    def _learn(self, tenant: str, user_id: str) -> Persona:
        stored = self._memory.signals(tenant, user_id)
        if not stored:
            return Persona(tenant=tenant, user_id=user_id, note="nothing is known of this person yet")
        current = self._memory.current(tenant, user_id)
        verdicts: Mapping[str, Verdict] = self._memory.verdicts(tenant, user_id)
        population = self.population(tenant)
        read = current.lineage.through if current else 0
        verdicts = self._said_again(tenant, user_id, stored, verdicts)
        inference = self._infer(
            InferenceRequest(
                tenant=tenant,
                user_id=user_id,
                signals=[s.signal for s in stored],
                population=population,
                read_before=sum(s.seq <= read for s in stored),
                other_state=self._memory.other_state(tenant, user_id),
                rejected=frozenset(k for k, v in verdicts.items() if v.ruling == "rejected"),
                pinned=frozenset(k for k, v in verdicts.items() if v.ruling == "pinned"),
                journal=MemoryJournal(self._memory, tenant, user_id),
            )
        )
        verification = verify(inference)
        traits = settle(inference, verification, current, verdicts)
        note = inference.note if verification.accepted else verification.reason
        # What was measured of the version before says nothing of this one once a ruling or their word changed it.
        kept = current if current and _inferred(current.traits) == _inferred(traits) else None
        proposal = Persona(
            tenant=tenant,
            user_id=user_id,
            traits=traits,
            summary=" ".join(t.statement for t in traits),
            lift=verification.lift if verification.accepted else kept.lift if kept else None,
            lineage=Lineage(
                inferrer=self._inferrer.name,
                population=population.fingerprint if population else "",
                through=stored[-1].seq,
                signals=len(stored),
                parent=current.version if current else None,
                worded=_worded(current, traits),
                reason=verification.reason,
            ),
            note=note,
        )
        state = inference.state if verification.accepted else self._state_of(kept) if kept else None
        return self._remember(proposal, current, state, verification)

    def _infer(self, request: InferenceRequest) -> Inference:
        inference = self._inferrer.infer(request)
        if not isinstance(inference, Inference):
            name, kind = self._inferrer.name, type(inference).__name__
            raise PluginTypeError(f"infer() of inferrer {name!r} must return an Inference, not {kind}", plugin=name)
        return inference

    def _said_again(
        self, tenant: str, user_id: str, stored: Sequence[StoredSignal], verdicts: Mapping[str, Verdict]
    ) -> Mapping[str, Verdict]:
        """Lift the tombstones of what a person has said anew since; a ruling is always followed by learning."""
        progress = self._memory.progress(tenant, user_id)
        learnt = progress.learnt if progress else 0
        new = [s.signal for s in stored if s.seq > learnt and isinstance(s.signal, Utterance)]
        rejected = {key for key, verdict in verdicts.items() if verdict.ruling == "rejected"}
        if not new or not rejected:
            return verdicts
        journal = MemoryJournal(self._memory, tenant, user_id)
        said = self._infer(InferenceRequest(tenant=tenant, user_id=user_id, signals=new, journal=journal))
        again = rejected & {t.id for t in said.traits if t.stated}
        for key in again:
            self._memory.rule(tenant, user_id, key, None)
        return {key: verdict for key, verdict in verdicts.items() if key not in again}

    def _remember(
        self,
        proposal: Persona,
        current: Persona | None,
        state: Mapping[str, object] | None,
        verification: Verification,
    ) -> Persona:
        tenant, user_id = proposal.tenant, proposal.user_id
        through = proposal.lineage.through
        believed = bool(proposal.traits) or verification.accepted
        unchanged = current is not None and _said(current) == _said(proposal)
        try:
            if (believed or current) and not unchanged:
                self._memory.remember(proposal, state)
            self._memory.mark_learnt(tenant, user_id, through, proposal.note)
        except NotFoundError:  # forgotten while we were learning: what was derived must not come back
            return Persona(tenant=tenant, user_id=user_id, note="nothing is known of this person yet")
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
        return self._memory.set_current(tenant, user_id, version, pinned=pinned)

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
        return population


def settle(
    inference: Inference, verification: Verification, current: Persona | None, verdicts: Mapping[str, Verdict]
) -> tuple[Trait, ...]:
    """Decide which traits stand.

    What the person said stands on their word. What was inferred stands if it was believed, otherwise what had been
    believed before stays unless it was withdrawn. What the person rejected is out, what they pinned is in and its
    contrary out, and their word on a subject silences what was inferred about it.
    """
    ruled = {key: verdict.ruling for key, verdict in verdicts.items()}
    said = [t for t in inference.traits if t.stated and ruled.get(t.id) != "rejected"]
    stated = [t.model_copy(update={"status": "pinned"}) for t in said]
    before = [t for t in (current.traits if current else ()) if not t.stated]
    if verification.accepted:
        inferred = [t.model_copy(update={"status": "verified"}) for t in inference.traits if not t.stated]
        proposed = {t.id for t in inferred}
        inferred += [t for t in before if ruled.get(t.id) == "pinned" and t.id not in proposed]
    else:
        inferred = [t for t in before if not verification.withdrawn or ruled.get(t.id) == "pinned"]
    spoken_of = {t.key for t in stated if not t.scope}
    kept_against = {t.key: t.id for t in inferred if ruled.get(t.id) == "pinned"}
    inferred = [t for t in inferred if kept_against.get(t.key, t.id) == t.id]
    kept = [*stated, *(t for t in inferred if t.key not in spoken_of)]
    return under_rulings(kept, verdicts)


def _worded(current: Persona | None, traits: Sequence[Trait]) -> int:
    """Return the version since which the traits have read as they do, 0 if they read differently now."""
    if current is None or [(t.id, t.statement) for t in current.traits] != [(t.id, t.statement) for t in traits]:
        return 0
    return current.lineage.worded or current.version


def _said(persona: Persona) -> tuple[object, ...]:
    """What makes a version worth storing: what it claims, how well that predicts, and what it was measured against."""
    return persona.traits, persona.lift, persona.lineage.population


def _inferred(traits: Sequence[Trait]) -> list[Trait]:
    return [t.model_copy(update={"status": "verified"}) for t in traits if not t.stated]


def under_rulings(traits: Sequence[Trait], verdicts: Mapping[str, Verdict]) -> tuple[Trait, ...]:
    """Leave out the traits a person rejected and mark those they pinned."""
    ruled = {key: verdict.ruling for key, verdict in verdicts.items()}
    return tuple(
        t.model_copy(update={"status": "pinned"}) if ruled.get(t.id) == "pinned" else t
        for t in traits
        if ruled.get(t.id) != "rejected"
    )


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

    def close(self) -> None:
        """Stop after the person being learnt from; the others stay pending in memory."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=10)

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
