"""The chat path of a `Personalizer`: recall, gate, tailor, choose among answers, and say why."""

from __future__ import annotations

import math
import time
import uuid
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from persona_sdk.calls import AnsweredCall, texts_only
from persona_sdk.deriving import owned
from persona_sdk.errors import InputError, NotFoundError
from persona_sdk.explanation import Explanation, explain
from persona_sdk.gating import gate
from persona_sdk.hooks import PluginHost
from persona_sdk.learning import Learner
from persona_sdk.memory import Memory
from persona_sdk.models import ChatCall, GateDecision, Message, Persona, Tailored
from persona_sdk.noticing import Notice
from persona_sdk.pipeline import Guard, Pipeline
from persona_sdk.recent import RecentCall, RecentCalls
from persona_sdk.recording import Prompt, Recording
from persona_sdk.settings import Settings
from persona_sdk.signals import Signal, input_error
from persona_sdk.tailoring import TailorContext

__all__ = ["STRANGER", "Answering"]

#: The note of a persona, and so the gate's reason, where somebody has no signals.
STRANGER = "nothing is known of this person yet"


class Answering(Recording):
    """What happens around a call to a chat model. Nothing slow or failing here stops a chat."""

    _settings: Settings
    _tenant: str
    _host: PluginHost
    _memory: Memory
    _recent: RecentCalls
    #: All tailors, and those that run even where no trait of the person's own is relevant.
    _pipeline: Pipeline
    _ungated: Pipeline
    _recall_guard: Guard

    @property
    @abstractmethod
    def _learner(self) -> Learner: ...

    @abstractmethod
    def persona(self, user_id: str) -> Persona:
        """Return what is known of a person, learning first from signals that are new."""

    @abstractmethod
    def signals(self, user_id: str) -> list[Signal]:
        """Return a person's signals in the order they came."""

    @abstractmethod
    def _known(self, user_id: str) -> Persona:
        """Return what is known of a person, without learning."""

    @property
    def required(self) -> tuple[str, ...]:
        """The tailors without which no call may go out (`Tailor.required`), by name."""
        return tuple(tailor.name for tailor in self._pipeline.tailors if tailor.required)

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
        pipeline = self._pipeline if decision.open else self._ungated
        tailored_call, steps = pipeline.run(asked, self._context(persona, decision, deadline), deadline)
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

    def untailored(
        self, user_id: str, messages: Prompt, reason: str, *, model: str | None = None, n: int = 1
    ) -> Tailored:
        """Return a call as it came, for an app that cannot wait for `tailor`; feedback can refer to it all the same.

        Asks nothing of memory. `reason` is what `explain` gives for it.

        Raises:
            InputError: as `tailor`.
        """
        asked = self._asked(user_id, messages, model=model, n=n)
        decision = GateDecision(open=False, reason=reason)
        tailored = Tailored(call_id=uuid.uuid4().hex, call=asked, gate=decision)
        self._recent.add(RecentCall(tailored, asked.messages))
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

    def _context(self, persona: Persona, decision: GateDecision, deadline: float) -> TailorContext:
        pipeline = self._pipeline if decision.open else self._ungated
        context = TailorContext(
            persona=persona, traits=decision.traits, score=_cannot_score, max_tokens=self._settings.max_tokens
        )

        def score(call: ChatCall, answers: Sequence[str]) -> list[float]:
            added = pipeline.utilities(call, answers, context, deadline)
            own = self._own_score(persona, frozenset(decision.silent), call, answers, newcomer=added is not None)
            return own if added is None else [a + b for a, b in zip(own or [0.0] * len(added), added, strict=True)]

        return replace(context, score=score)

    def _own_score(
        self, persona: Persona, silent: frozenset[str], call: ChatCall, answers: Sequence[str], *, newcomer: bool
    ) -> list[float]:
        """Score answers by what was learnt of a person; a `newcomer` with nothing learnt yet is like everybody."""
        state = owned(self._memory.state(persona.tenant, persona.user_id, persona.version), self._settings.inferrer)
        if state is None and not newcomer:
            return []
        scorer = self._host.registry.scorer(self._settings.inferrer, self._settings)
        if scorer is None:
            return []
        return scorer.score(state or {}, self._learner.population(persona.tenant), call.question, answers, silent)

    def choose(self, tailored: Tailored, answers: Sequence[str]) -> int:
        """Return the index of the answer this person is expected to choose; 0 when nothing can tell."""
        pipeline = self._pipeline if tailored.gate.open else self._ungated
        if len(answers) < 2 or not pipeline.tailors:
            return 0
        deadline = time.monotonic() + self._settings.time_budget
        persona, _ = self._recall(tailored.call, deadline)
        return pipeline.choose(tailored.call, answers, self._context(persona, tailored.gate, deadline), deadline)

    def score(self, user_id: str, prompt: str, answers: Sequence[str]) -> list[float]:
        """Return one utility per answer, in log-odds, for this person; an empty list when nothing is known of them."""
        call = self._asked(user_id, prompt)
        everything = GateDecision(open=True, reason="an app asks")
        return list(self._context(self.persona(user_id), everything, math.inf).score(call, answers))

    def answered(self, tailored: Tailored, answer: str, response_id: str = "", *, complete: bool = True) -> None:
        """Tell that a tailored call was answered, so that feedback can refer to it by `tailored.call_id`.

        Or by `response_id`, which the app knows the answer by. With the setting `calls="memory"`, whoever shares the
        memory can refer to it; an answer without text (a call of a tool), and one to somebody without signals, stays
        with this process. One that is not `complete`, because the person stopped it, `notice` compares with nothing.

        Raises:
            InputError: the response id is unusable; or the texts are not Unicode, so that memory cannot keep them.
            StorageError: it could not be kept in memory. Here, as with unusable texts, this process knows it all the
                same.
        """
        recent = self._recent.get(tailored.call.tenant, tailored.call_id)
        call = None if recent is None else _record(tailored, recent.asked, answer, response_id, complete=complete)
        if call is not None:
            self._recent.answered(call)
        self._host.on_answer(tailored, answer)
        if call is not None and self._settings.calls == "memory" and answer.strip():
            self._keep(call)

    def _keep(self, call: AnsweredCall) -> None:
        """Give a call to memory, which from then on knows better than this process: they may be forgotten elsewhere."""
        if self._memory.keep_call(call):
            self._recent.answered(call, in_memory=True)
        elif call.gate != STRANGER and self._memory.progress(call.tenant, call.user_id) is None:
            self._recent.forget(call.tenant, call.user_id)  # they were, while they were being answered

    def call(self, response_id: str) -> AnsweredCall:
        """Return an answered call of this tenant by its call id or response id.

        Raises:
            NotFoundError: this process (or memory, see `answered`) knows no such answer, or does not any more.
        """
        recent = self._recent.get(self._tenant, response_id)
        found = recent.answered if recent is not None and not recent.in_memory else None
        if found is None and self._settings.calls == "memory":
            found = self._memory.kept_call(self._tenant, response_id)
        if found is None or not found.answer:
            raise NotFoundError("no answer is known by this response_id (any more)")
        return found

    def notice(self, user_id: str, messages: Prompt, source: str = "noticed") -> list[Signal]:
        """Record what a call shows by itself, and return it; the same call noticed again changes nothing.

        That is what the person says, that they ask the same again (a wish for another answer), and, where they go on
        from one of several answers, which one that is. The last two need answers that are kept (`calls="memory"`).
        """
        call = self._asked(user_id, messages)
        notice = Notice(self._tenant, user_id, texts_only(call.messages), source)
        earlier: list[AnsweredCall] = []
        if self._settings.calls == "memory" and notice.conversations:
            earlier = self._memory.related_calls(self._tenant, user_id, notice.conversations, notice.befores)
        found = notice.signals(earlier)
        self.observe(found)
        return found

    def explain(self, about: Tailored | str) -> Explanation:
        """Explain a tailored call (or its call id, or a person's persona by user id): traits, evidence, the gate."""
        made = self._made(about)
        if made is not None:
            known = {v.version: v for v in self._memory.versions(made.tenant, made.user_id)}
            persona = known.get(made.persona_version, Persona(tenant=self._tenant, user_id=made.user_id))
            decision, steps = GateDecision(open=bool(made.steps), reason=made.gate, silent=made.silent), made.steps
        else:
            persona, steps = self.persona(str(about)), ()
            decision = GateDecision(open=bool(persona), reason=persona.note or "what is known of this person")
        signals = {s.id: s for s in self.signals(persona.user_id)}
        return explain(persona, decision, steps, signals)

    def _made(self, about: Tailored | str) -> AnsweredCall | None:
        """Return the record of a tailored call of this tenant, answered or not; None if `about` is no call's id."""
        if isinstance(about, Tailored):
            if about.call.tenant != self._tenant:
                raise NotFoundError("this tenant made no such call")
            return AnsweredCall.of(about, (), "")
        recent = self._recent.get(self._tenant, about)
        if recent is not None and not recent.in_memory:
            return recent.answered or AnsweredCall.of(recent.tailored, (), "")
        return self._memory.kept_call(self._tenant, about) if self._settings.calls == "memory" else None


def _cannot_score(_call: ChatCall, _answers: Sequence[str]) -> list[float]:
    return []


def _record(
    tailored: Tailored, asked: Sequence[Message], answer: str, response_id: str, *, complete: bool
) -> AnsweredCall:
    try:
        return AnsweredCall.of(tailored, asked, answer, response_id, complete=complete)
    except ValidationError as error:
        raise input_error(error) from None
