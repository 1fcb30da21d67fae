"""`Personalizer`: the one object an app holds. Every decision is made in a synchronous method; async ones run it."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

from persona_sdk.answering import STRANGER, Answering
from persona_sdk.errors import InputError, NotFoundError, SettingsError, StorageError
from persona_sdk.explanation import PersonaDiff, diff
from persona_sdk.hooks import PluginHost, PluginStatus
from persona_sdk.inference import Population
from persona_sdk.language import Spent
from persona_sdk.learning import BackgroundLearner, Learner
from persona_sdk.memory import Consent, Forgotten, Memory, Ruling, Verdict
from persona_sdk.models import Persona
from persona_sdk.pipeline import Guard, Pipeline, contained
from persona_sdk.recent import RecentCalls
from persona_sdk.recording import Answered, Recording
from persona_sdk.settings import Settings
from persona_sdk.signals import Signal
from persona_sdk.similar import IndexStatus, Neighbour, SimilarPeople
from persona_sdk.twins import in_thread

if TYPE_CHECKING:
    from persona_sdk.chat import PersonalizedChat

__all__ = ["Personalizer"]


class Personalizer(Answering):
    """Learns what each person prefers, verifies it, remembers it, and tailors chat calls to them.

    `Personalizer()` keeps everything in `persona.db` in the working directory. `database_url` is any SQLAlchemy URL;
    other keywords are `Settings`, which also read `PERSONA_*` environment variables. `plugins` are plugin objects
    given in code, beside the installed ones. Safe to share between threads; close it, or use it as a context manager.
    """

    def __init__(
        self,
        database_url: str | None = None,
        *,
        plugins: Sequence[object] = (),
        settings: Settings | None = None,
        **given: Any,
    ) -> None:
        self._settings = settings or Settings.load(database_url=database_url, **given)
        self._tenant, self._owner = self._settings.tenant, True
        self._host = PluginHost(self._settings, extra=plugins, strict=self._settings.strict_plugins)
        registry = self._host.registry
        self._memory: Memory = registry.memory(self._settings.memory, self._settings)
        registry.require("inferrer", self._settings.inferrer)  # built when first needed: it imports numpy
        if self._settings.similar is not None:
            registry.similar(self._settings.similar, self._settings)  # what is wrong with its options shows here
        tailors = [registry.tailor(name, self._settings) for name in self._settings.tailors]
        strict = self._settings.strict_plugins
        self._pipeline = Pipeline(tailors, self._host.on_skip, strict=strict)
        ungated = [t for t in tailors if t.required or not t.gated]
        self._ungated = Pipeline(ungated, self._host.on_skip, strict=strict)
        self._recall_guard = Guard(self._settings.memory)
        self._background = BackgroundLearner(self._catch_up, self._memory.pending)
        self._recent = RecentCalls()

    @functools.cached_property
    def _learner(self) -> Learner:
        inferrer = self._host.registry.inferrer(self._settings.inferrer, self._settings)
        return Learner(self._memory, inferrer, self._learnt, leans=self._settings.similar is not None)

    def _learnt(self, persona: Persona, accepted: bool, reason: str) -> None:
        if self._settings.similar is not None:
            contained(lambda: self._similar().news(persona.tenant))
        self._host.on_persona(persona, accepted, reason)

    # What people do

    @property
    def tenant(self) -> str:
        """The tenant whose people this object serves."""
        return self._tenant

    @property
    def settings(self) -> Settings:
        """How it was told to behave."""
        return self._settings

    def tenants(self) -> list[str]:
        """Return the tenants whose people have signals, sorted."""
        return self._memory.tenants()

    def for_tenant(self, tenant: str) -> Self:
        """Return a personalizer for another tenant on this one's memory and threads; closing it closes neither."""
        other = copy.copy(self)
        other._tenant, other._owner = tenant, False
        return other

    def observe(self, signals: Iterable[Signal]) -> int:
        """Append signals, all or none, and return how many were new. When it returns, they are durable.

        Raises:
            InputError: a signal belongs to another tenant.
            StorageError: they could not be written; none was.
        """
        batch = list(signals)
        if any(s.tenant != self._tenant for s in batch):
            raise InputError(f"tenant: a signal is not of the tenant {self._tenant!r}", field="tenant")
        if not batch:
            return 0
        new = [s for s, is_new in zip(batch, self._memory.append(batch), strict=True) if is_new]
        for signal in new:
            self._host.on_signal(signal)
        if self._settings.learning == "background":
            for user_id in dict.fromkeys(s.user_id for s in new):
                self._background.submit(self._tenant, user_id)
        return len(new)

    def _answered(self, user_id: str, response_id: str) -> Answered | None:
        try:
            known = self.call(response_id)
        except NotFoundError:
            return None
        return (known.asked, known.answer) if known.user_id == user_id else None

    # What is known of them

    def persona(self, user_id: str) -> Persona:
        """Return what is known of a person, learning first from signals that are new.

        A persona without traits says in its `note` why there is none.
        """
        self._catch_up(self._tenant, user_id)
        return self._known(user_id)

    def _known(self, user_id: str) -> Persona:
        persona = self._memory.current(self._tenant, user_id)
        if persona is not None:
            return persona
        progress = self._memory.progress(self._tenant, user_id)
        note = STRANGER if progress is None else progress.note or "not learnt from yet"
        return Persona(tenant=self._tenant, user_id=user_id, note=note)

    def learn(self, user_id: str) -> Persona:
        """Learn from all of a person's signals now, whether new or not, and return their persona."""
        return self._learner.learn(self._tenant, user_id)

    def _catch_up(self, tenant: str, user_id: str) -> None:
        progress = self._memory.progress(tenant, user_id)
        if progress is not None and progress.pending:
            self._learner.catch_up(tenant, user_id)

    def pending(self, limit: int = 1) -> list[str]:
        """Return people whose newest signal has not been learnt from yet, at most `limit`."""
        return [p.user_id for p in self._memory.pending(self._tenant, limit)]

    def learn_pending(self, progress: Callable[[Iterable[str]], Iterable[str]] = iter, *, workers: int = 1) -> int:
        """Learn from everyone whose signals are new, `workers` people at once; return how many were learnt from.

        A `PersonaError` in one person is logged, and they stay pending. Each persona is remembered as it is learnt.

        Raises:
            ModelError: asking on is of no use (budget, key); those at work were finished, the others stay pending.
        """
        return self._learner.learn_pending(self._tenant, progress, workers)

    def spent(self) -> Spent:
        """Return what the inferrer has asked of models since this object was made."""
        return self._learner.spent()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until background learning has caught up; False if `timeout` seconds were not enough."""
        return self._background.flush(timeout)

    def refit(self, progress: Callable[[Iterable[str]], Iterable[str]] = iter) -> Population | None:
        """Learn anew what the tenant's people have in common. Slow; never part of a chat call."""
        population = self._learner.refit(self._tenant, progress)
        if self._settings.similar is not None:
            self._similar().refitted(self._tenant)
        if population is not None:
            self._host.on_population(population)
        return population

    def users(self) -> list[str]:  # noqa: D102 - as in Recording
        return list(self._memory.users(self._tenant))

    def signals(self, user_id: str) -> list[Signal]:
        """Return a person's signals in the order they came."""
        return [s.signal for s in self._memory.signals(self._tenant, user_id)]

    def versions(self, user_id: str) -> list[Persona]:
        """Return all versions of a persona, oldest first."""
        return self._memory.versions(self._tenant, user_id)

    def diff(self, user_id: str, old: int, new: int) -> PersonaDiff:
        """Compare two versions of a persona."""
        return diff(self._version(user_id, old), self._version(user_id, new))

    def rollback(self, user_id: str, version: int) -> Persona:
        """Make an earlier version the current one; later signals can supersede it again."""
        return self._learner.restate(self._version(user_id, version), pinned=False)

    def pin(self, user_id: str, version: int | None = None) -> Persona:
        """Keep a version (the current one by default) whatever later signals say, until `unpin`."""
        return self._learner.restate(self._version(user_id, version), pinned=True)

    def unpin(self, user_id: str) -> Persona:
        """Let later signals change the persona again."""
        self._learner.restate(self._version(user_id, None), pinned=False)
        return self.learn(user_id)

    def _version(self, user_id: str, version: int | None) -> Persona:
        number = self._known(user_id).version if version is None else version
        known = {v.version: v for v in self.versions(user_id)}
        if number not in known:
            raise NotFoundError(f"there is no version {number} of this persona; there are {sorted(known) or 'none'}")
        return known[number]

    def reject(self, user_id: str, key: str) -> Persona:
        """Take a trait back: it goes, and later inference does not bring it back. `key` is the trait's key or id."""
        return self._rule(user_id, key, "rejected")

    def keep(self, user_id: str, key: str) -> Persona:
        """Keep a trait whatever later signals say."""
        return self._rule(user_id, key, "pinned")

    def _rule(self, user_id: str, key: str, ruling: Ruling) -> Persona:
        persona = self.persona(user_id)
        trait = next((t for t in persona.traits if key in (t.key, t.id)), None)
        if trait is None:
            raise NotFoundError(f"this persona has no trait {key!r}")
        self._memory.rule(self._tenant, user_id, trait.id, ruling, trait.statement)
        if persona.pinned:  # the version is kept, but not against its person's own word
            return self._learner.restate(persona, pinned=True)
        return self._learner.learn(self._tenant, user_id)

    def allow(self, user_id: str, trait_id: str) -> Persona:
        """Take an earlier `reject` or `keep` back; `trait_id` is the trait's id, as `rulings` lists it."""
        self._memory.rule(self._tenant, user_id, trait_id, None)
        return self._learner.learn(self._tenant, user_id)

    def rulings(self, user_id: str) -> list[Verdict]:
        """Return the traits a person took back or asked to keep; `allow` undoes them."""
        return list(self._memory.verdicts(self._tenant, user_id).values())

    # Similar people

    def neighbours(self, user_id: str, limit: int = 10) -> list[Neighbour]:
        """Return the people of this tenant who prefer most alike, the most similar first.

        Raises:
            SettingsError: no plugin for similar people is named: `Personalizer(similar="similar_personas")`.
            IndexUnavailableError: the index cannot be read now.
        """
        return self._similar().neighbours(self._tenant, user_id, limit)

    def rebuild_index(self, progress: Callable[[Iterable[str]], Iterable[str]] = iter) -> IndexStatus:
        """Learn anew what everyone leans to, verify what may be borrowed, and build the index from memory. Slow."""
        similar = self._similar()
        for user_id in progress(self._memory.users(self._tenant)):
            self._learner.lean(self._tenant, user_id)
        return similar.rebuild(self._tenant)

    def index_status(self) -> IndexStatus:
        """Return how the index of similar people stands."""
        return self._similar().status(self._tenant)

    def _similar(self) -> SimilarPeople:
        if self._settings.similar is None:
            raise SettingsError('nobody is compared with anybody: name a plugin for it, similar="similar_personas"')
        return self._host.registry.similar(self._settings.similar, self._settings)

    def consent(self, user_id: str) -> Consent:
        """Return whether a person lends what they prefer, in general words, and borrows from others."""
        return self._memory.consent(self._tenant, user_id)

    def share(self, user_id: str, *, lend: bool | None = None, borrow: bool | None = None) -> Consent:
        """Record whether a person lends and borrows, None for as it was; it holds from the next call on."""
        consent = self._memory.set_consent(self._tenant, user_id, lend=lend, borrow=borrow)
        if not consent.lend:
            self._leave(user_id)
        elif self._settings.similar is not None:
            contained(lambda: self._similar().news(self._tenant))
        return consent

    def _leave(self, user_id: str) -> None:
        """Take someone out of the index; memory has it already, and whoever reads the index asks memory."""
        if self._settings.similar is not None:
            _, failure = contained(lambda: self._similar().leave(self._tenant, user_id))
            if failure:
                self._host.on_skip("index", self._settings.similar, failure)

    def forget(self, user_id: str) -> Forgotten:
        """Erase everything about a person; no byte of their text stays in the database files.

        Every tailor is asked to erase what it keeps. Adapters trained on them are told only if `lora` is among the
        tailors; otherwise call `Adapters.forget` of `persona_sdk.tuning`, as `persona forget` does.

        Raises:
            StorageError: memory could not be erased; or it was, and a tailor could not erase what it keeps.
        """
        failed = []
        forgotten = self._memory.forget(self._tenant, user_id)
        self._recent.forget(self._tenant, user_id)
        self._leave(user_id)
        for tailor in self._pipeline.tailors:
            _, failure = contained(lambda t=tailor: t.forget(self._tenant, user_id))
            if failure:
                self._host.on_skip("forget", tailor.name, failure)
                failed.append(f"{tailor.name} ({failure})")
        self._host.on_forget(self._tenant, user_id)
        if failed:
            raise StorageError(
                f"they were erased from memory, but these tailors could not erase what they keep: {'; '.join(failed)};"
                " set that right, and forget them again (`persona forget USER`)"
            )
        return forgotten

    # The rest

    def wrap(self, model: Any, *, user_id: str | None = None) -> PersonalizedChat:
        """Wrap any LangChain chat model: the same calls, tailored to the person named in each call.

        The person is `config={"configurable": {"user_id": …}}` or the one bound here. Without either, the call goes
        through as it is.
        """
        from persona_sdk.chat import PersonalizedChat  # noqa: PLC0415 - imports langchain-core

        return PersonalizedChat(self, model, user_id=user_id)

    def plugins(self) -> list[PluginStatus]:
        """Return what became of every plugin found."""
        return self._host.statuses()

    def close(self) -> None:
        """Stop background learning and release the database. What is pending is learnt next time."""
        if self._owner:
            self._background.close()
            self._host.registry.close()
            self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    aimport_jsonl = in_thread(Recording.import_jsonl)
    aexport_jsonl = in_thread(Recording.export_jsonl)
    aprefer = in_thread(Recording.prefer)
    arate = in_thread(Recording.rate)
    aedited = in_thread(Recording.edited)
    aregenerated = in_thread(Recording.regenerated)
    asaid = in_thread(Recording.said)
    afeedback = in_thread(Recording.feedback)
    aobserve = in_thread(observe)
    apersona = in_thread(persona)
    alearn = in_thread(learn)
    alearn_pending = in_thread(learn_pending)
    apending = in_thread(pending)
    arefit = in_thread(refit)
    aspent = in_thread(spent)
    aflush = in_thread(flush)
    atenants = in_thread(tenants)
    ausers = in_thread(users)
    asignals = in_thread(signals)
    aversions = in_thread(versions)
    adiff = in_thread(diff)
    arollback = in_thread(rollback)
    apin = in_thread(pin)
    aunpin = in_thread(unpin)
    areject = in_thread(reject)
    akeep = in_thread(keep)
    aallow = in_thread(allow)
    arulings = in_thread(rulings)
    aneighbours = in_thread(neighbours)
    arebuild_index = in_thread(rebuild_index)
    aindex_status = in_thread(index_status)
    aconsent = in_thread(consent)
    ashare = in_thread(share)
    aforget = in_thread(forget)
    atailor = in_thread(Answering.tailor)
    auntailored = in_thread(Answering.untailored)
    achoose = in_thread(Answering.choose)
    ascore = in_thread(Answering.score)
    aanswered = in_thread(Answering.answered)
    acall = in_thread(Answering.call)
    anotice = in_thread(Answering.notice)
    aexplain = in_thread(Answering.explain)
    aclose = in_thread(close)
