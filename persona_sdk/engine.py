"""`Personalizer`: the one object an app holds. Every decision is made in a synchronous method; async ones run it."""

from __future__ import annotations

import copy
import functools
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError

from persona_sdk.deriving import owned
from persona_sdk.errors import InputError, NotFoundError
from persona_sdk.explanation import Explanation, PersonaDiff, diff, explain
from persona_sdk.gating import gate
from persona_sdk.hooks import PluginHost, PluginStatus
from persona_sdk.inference import Population
from persona_sdk.language import Spent
from persona_sdk.learning import BackgroundLearner, Learner
from persona_sdk.memory import Forgotten, Memory, Ruling, Verdict
from persona_sdk.models import ChatCall, GateDecision, Persona, Tailored
from persona_sdk.pipeline import Guard, Pipeline
from persona_sdk.recent import RecentCall, RecentCalls
from persona_sdk.recording import Answered, Prompt, Recording
from persona_sdk.settings import Settings
from persona_sdk.signals import Signal, input_error
from persona_sdk.tailoring import TailorContext
from persona_sdk.twins import in_thread

if TYPE_CHECKING:
    from persona_sdk.chat import PersonalizedChat

__all__ = ["Personalizer"]


class Personalizer(Recording):
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
        tailors = [registry.tailor(name, self._settings) for name in self._settings.tailors]
        strict = self._settings.strict_plugins
        self._pipeline = Pipeline(tailors, self._host.on_skip, strict=strict)
        self._required = Pipeline([t for t in tailors if t.required], self._host.on_skip, strict=strict)
        self._recall_guard = Guard(self._settings.memory)
        self._background = BackgroundLearner(self._catch_up, self._memory.pending)
        self._recent = RecentCalls()

    @functools.cached_property
    def _learner(self) -> Learner:
        inferrer = self._host.registry.inferrer(self._settings.inferrer, self._settings)
        return Learner(self._memory, inferrer, self._host.on_persona)

    # What people do

    @property
    def tenant(self) -> str:
        """The tenant whose people this object serves."""
        return self._tenant

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
        kept = self._recent.get(response_id)
        if kept is None or not kept.answer:
            return None
        whose = (kept.tailored.call.tenant, kept.tailored.call.user_id)
        return (kept.asked, kept.answer) if whose == (self._tenant, user_id) else None

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
        note = "nothing is known of this person yet" if progress is None else progress.note or "not learnt from yet"
        return Persona(tenant=self._tenant, user_id=user_id, note=note)

    def learn(self, user_id: str) -> Persona:
        """Learn from all of a person's signals now, whether new or not, and return their persona."""
        return self._learner.learn(self._tenant, user_id)

    def _catch_up(self, tenant: str, user_id: str) -> None:
        progress = self._memory.progress(tenant, user_id)
        if progress is not None and progress.pending:
            self._learner.catch_up(tenant, user_id)

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
        return self._learner.refit(self._tenant, progress)

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

    def forget(self, user_id: str) -> Forgotten:
        """Erase everything about a person; no byte of their text stays in the database files."""
        forgotten = self._memory.forget(self._tenant, user_id)
        self._recent.forget(self._tenant, user_id)
        self._host.on_forget(self._tenant, user_id)
        return forgotten

    # Chat

    def tailor(
        self,
        user_id: str,
        messages: Prompt,
        *,
        model: str | None = None,
        n: int = 1,
        params: Mapping[str, Any] | None = None,
    ) -> Tailored:
        """Tailor a call to a person. The messages given are never touched; nothing slow or failing here stops a chat.

        `model`, `n` and `params` (sampling parameters) are what the app means to send, for tailors to see and change.

        Raises:
            InputError: the messages are not OpenAI-shaped, or the user id is unusable.
            PluginError: a tailor that is `required` failed.
        """
        deadline = time.monotonic() + self._settings.time_budget
        asked = self._asked(user_id, messages, model=model, n=n, params={} if params is None else params)
        persona, decision = self._recall(asked, deadline)
        pipeline = self._pipeline if decision.open else self._required
        tailored_call, steps = pipeline.run(asked, self._context(persona, decision), deadline)
        tailored = Tailored(
            call_id=uuid.uuid4().hex,
            call=tailored_call,
            persona_version=persona.version,
            gate=decision,
            steps=steps,
        )
        self._recent.add(RecentCall(tailored, asked.messages))
        self._host.on_tailored(tailored)
        return tailored

    def _asked(self, user_id: str, messages: Prompt, **fields: Any) -> ChatCall:
        conversation = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        try:
            return ChatCall.model_validate(
                {"user_id": user_id, "tenant": self._tenant, "messages": tuple(conversation), **fields}
            )
        except (ValidationError, TypeError) as error:
            if isinstance(error, TypeError):
                raise InputError("messages: must be text or a list of messages", field="messages") from None
            raise input_error(error) from None

    def _recall(self, call: ChatCall, deadline: float) -> tuple[Persona, GateDecision]:
        """Read the persona and ask the gate; whatever fails or is late in that, the chat goes on without a persona."""

        def recall() -> tuple[Persona, GateDecision]:
            persona = self._known(call.user_id)
            return persona, gate(persona, call)

        recalled, failure = self._recall_guard.attempt(deadline - time.monotonic(), recall)
        if recalled is not None:
            return recalled
        self._host.on_skip("recall", self._settings.memory, failure)
        reason = f"memory could not be read: {failure}"
        return Persona(tenant=self._tenant, user_id=call.user_id, note=reason), GateDecision(open=False, reason=reason)

    def _context(self, persona: Persona, decision: GateDecision) -> TailorContext:
        return TailorContext(
            persona=persona,
            traits=decision.traits,
            score=functools.partial(self._score, persona, frozenset(decision.silent)),
            max_tokens=self._settings.max_tokens,
        )

    def _score(self, persona: Persona, silent: frozenset[str], call: ChatCall, answers: Sequence[str]) -> list[float]:
        state = owned(self._memory.state(persona.tenant, persona.user_id, persona.version), self._settings.inferrer)
        scorer = self._host.registry.scorer(self._settings.inferrer, self._settings) if state is not None else None
        if state is None or scorer is None:
            return []
        population = self._learner.population(persona.tenant)
        return scorer.score(state, population, call.question, answers, silent)

    def choose(self, tailored: Tailored, answers: Sequence[str]) -> int:
        """Return the index of the answer this person is expected to choose; 0 when nothing can tell."""
        if len(answers) < 2 or not tailored.gate.open:
            return 0
        deadline = time.monotonic() + self._settings.time_budget
        persona, _ = self._recall(tailored.call, deadline)
        return self._pipeline.choose(tailored.call, answers, self._context(persona, tailored.gate), deadline)

    def score(self, user_id: str, prompt: str, answers: Sequence[str]) -> list[float]:
        """Return one utility per answer, in log-odds, for this person; an empty list when nothing is known of them."""
        call = self._asked(user_id, prompt)
        return self._score(self.persona(user_id), frozenset(), call, answers)

    def answered(self, tailored: Tailored, answer: str) -> None:
        """Tell that a tailored call was answered, so that feedback can refer to it by `tailored.call_id`."""
        self._recent.answered(tailored.call_id, answer)
        self._host.on_answer(tailored, answer)

    def explain(self, about: Tailored | str) -> Explanation:
        """Explain a tailored call (or its call id, or a person's persona by user id): traits, evidence, the gate."""
        kept = None if isinstance(about, Tailored) else self._recent.get(about)
        tailored = about if isinstance(about, Tailored) else kept.tailored if kept else None
        if isinstance(about, Tailored) and about.call.tenant != self._tenant:
            raise NotFoundError("this tenant made no such call")
        if tailored is not None and tailored.call.tenant == self._tenant:
            user_id, decision, steps = tailored.call.user_id, tailored.gate, tailored.steps
            known = {v.version: v for v in self._memory.versions(tailored.call.tenant, user_id)}
            persona = known.get(tailored.persona_version, Persona(tenant=self._tenant, user_id=user_id))
        else:
            persona = self.persona(str(about))
            user_id, steps = persona.user_id, ()
            decision = GateDecision(open=bool(persona), reason=persona.note or "what is known of this person")
        signals = {s.id: s for s in self.signals(user_id)}
        return explain(persona, decision, steps, signals)

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
    aobserve = in_thread(observe)
    apersona = in_thread(persona)
    alearn = in_thread(learn)
    alearn_pending = in_thread(learn_pending)
    arefit = in_thread(refit)
    aspent = in_thread(spent)
    aflush = in_thread(flush)
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
    aforget = in_thread(forget)
    atailor = in_thread(tailor)
    achoose = in_thread(choose)
    ascore = in_thread(score)
    aanswered = in_thread(answered)
    aexplain = in_thread(explain)
    aclose = in_thread(close)
