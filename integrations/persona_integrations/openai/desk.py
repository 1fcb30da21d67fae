"""What is done for the person of a request: decided here, without an HTTP client, for sync and async alike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from persona_sdk.engine import Personalizer
from persona_sdk.errors import PluginError
from persona_sdk.models import Tailored
from persona_sdk.pipeline import contained
from persona_sdk.wire import Answer, Wire, WireRequest, wire_of

__all__ = ["HEADER", "Desk", "Exchange"]

#: Names the person of a call.
HEADER = "X-Persona-User"
#: What a request has that asks for something else than a text: there is no choosing among such answers.
_NO_TEXT = ("tools", "functions", "response_format", "text", "modalities", "background")

_log = logging.getLogger("persona_sdk")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request of a person, and what was made of it."""

    wire: Wire
    asked: WireRequest
    tailored: Tailored

    @property
    def body(self) -> bytes:
        """What to send: the very bytes that were given, where nothing was changed."""
        return self.wire.write(self.asked, self.tailored.call)

    @property
    def n(self) -> int:
        """How many answers to ask for, to give the best of them; 1 where there is nothing to choose."""
        once = self.asked.stream or self.asked.n > 1 or any(self.asked.body.get(name) for name in _NO_TEXT)
        return 1 if once else self.tailored.call.n

    def read(self, body: bytes, *, streaming: bool) -> Answer:
        """Return what a body says that came at once."""
        reader = self.wire.reader(streaming=streaming)
        reader.feed(body)
        return reader.finish()


@dataclass(frozen=True, slots=True)
class Desk:
    """Tailors requests, chooses among answers, and tells the engine of them. Only `begin` lets anything out."""

    personalizer: Personalizer
    user_id: str | None = None
    learn: bool = False

    def for_user(self, user_id: str) -> Desk:
        """Return the same for one person, whom the header of a call still overrides."""
        return replace(self, user_id=user_id)

    def begin(self, path: str, raw: bytes, named: str | None) -> Exchange | None:
        """Return a request tailored to whom it names, None if it has to go as it came.

        Raises:
            PluginError: a tailor that is `required` failed.
        """
        wire = wire_of(path)
        asked = wire.read(raw) if wire is not None else None
        if wire is None or asked is None:
            return None
        user_id = named or self.user_id or asked.user_id
        tailored = self._tailored(user_id, asked) if user_id else None
        return None if tailored is None else Exchange(wire, asked, tailored)

    def _tailored(self, user_id: str, asked: WireRequest) -> Tailored | None:
        def attempt() -> Tailored | PluginError:
            try:
                return self.personalizer.tailor(user_id, asked.messages, model=asked.model, n=asked.n)
            except PluginError as error:
                return error

        outcome, failure = contained(attempt)
        if isinstance(outcome, PluginError):
            raise outcome  # to go on without a tailor that is `required`, a privacy filter say, would be worse
        if outcome is None:
            _log.warning("a call goes out untailored: %s", failure)
        return outcome

    def choose(self, exchange: Exchange, answers: Sequence[Answer]) -> int:
        """Return which of several answers to give, the first if nothing can tell."""
        index, failure = contained(self.personalizer.choose, exchange.tailored, [a.text for a in answers])
        if failure:
            _log.warning("the first of several answers is given: %s", failure)
        return index or 0

    def tell(self, exchange: Exchange, answer: Answer | None) -> None:
        """Tell the engine of a call: what it shows, if we may learn from it, and its answer, if there is one.

        In this order: an answer that is known already would make of this call a wish for another one.
        """
        call = exchange.tailored.call
        if self.learn:
            self._tell(partial(self.personalizer.notice, call.user_id, exchange.asked.messages, "openai"))
        if answer is not None:
            about = (exchange.tailored, answer.text, answer.response_id)
            self._tell(partial(self.personalizer.answered, *about, complete=answer.complete))

    def _tell(self, work: Callable[[], object]) -> None:
        _, failure = contained(work)
        if failure:  # the person has the answer: nothing here may take it away
            _log.warning("a call could not be kept for feedback and learning: %s", failure)
