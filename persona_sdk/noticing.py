"""What a call shows by itself: what somebody says, that they ask again, and which answer they stay with."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from persona_sdk.calls import APP_ROLES, AnsweredCall, conversation_digest, not_text, question, spoken
from persona_sdk.models import Message, utc_now
from persona_sdk.signals import Regeneration, Signal, Utterance

__all__ = ["READ", "Notice"]

#: After this long, the same question is a new one, and not a wish for another answer.
_MEMORY_SPAN = timedelta(hours=1)
#: Nobody reads an answer and asks for another one sooner: two that came closer together are an app's own (steps of an
#: agent, say, that send the same messages), or were shown side by side.
READ = timedelta(seconds=1)
#: Longer messages are texts to be worked on, or prompts an app made, rather than something a person says.
_LONGEST_SAID = 4_000
#: The share of words that an edited question has in common with what it was.
_ALIKE = 0.5
#: Longer questions are not compared word by word: somebody waits for the answer.
_LONGEST_COMPARED = 100_000
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Notice:
    """One call as it comes in, and what it shows. Decides without I/O.

    `asked` are messages as `texts_only` gives them. `conversations` and `befores` are what to look for among the
    person's earlier calls (see `AnsweredCall`), `signals` says what follows from those that were found. The ids of
    signals stand for what happened, so that a call that is noticed again (a client that tries again, two workers)
    records nothing twice.
    """

    tenant: str
    user_id: str
    asked: tuple[Message, ...]
    source: str = "noticed"

    @property
    def _said(self) -> tuple[Message, ...]:
        """The conversation, if the last thing in it is what a person said."""
        last = next((m for m in reversed(self.asked) if m.role not in APP_ROLES), None)
        return spoken(self.asked) if last is not None and last.role == "user" and last.text.strip() else ()

    @property
    def _gone_on_from(self) -> tuple[tuple[Message, ...], tuple[str, ...]]:
        """The conversation up to the question before, and what its answer says; nothing if this is the first."""
        said = list(self._said)
        while said and said[-1].role == "user":
            said.pop()
        answers: list[str] = []
        while said and said[-1].role == "assistant":
            answers.insert(0, said.pop().text.strip())
        return (tuple(said), tuple(answers)) if answers and said else ((), ())

    @property
    def _questions(self) -> list[tuple[Message, ...]]:
        """The conversations that an earlier call may have answered: this one, and the one before it."""
        return [said for said in (self._said, self._gone_on_from[0]) if said]

    @property
    def conversations(self) -> tuple[str, ...]:
        """The digests of conversations that an earlier call may have answered."""
        return tuple(conversation_digest(said) for said in self._questions)

    @property
    def befores(self) -> tuple[str, ...]:
        """The digests of what stands before a question that may have been asked in other words."""
        return tuple(conversation_digest(said[:-1]) for said in self._questions)

    def signals(self, earlier: Sequence[AnsweredCall], now: datetime | None = None) -> list[Signal]:
        """Return what this call shows, beside what is `earlier` (the newest first)."""
        if not self._said:
            return []
        fresh = [c for c in earlier if c.complete and c.answer.strip() and (now or utc_now()) - c.at <= _MEMORY_SPAN]
        return [*self._utterance(), *self._again(fresh), *self._stayed(fresh)]

    def _utterance(self) -> Iterator[Signal]:
        text = self._said[-1].text
        if len(text) <= _LONGEST_SAID:
            yield from self._made(Utterance, "said", (self.conversations[0],), text=text)

    def _again(self, earlier: Sequence[AnsweredCall]) -> Iterator[Signal]:
        """The same conversation again, or the same but for the question's words: they want another answer."""
        of_this = _same(earlier, self._said)
        if of_this:
            last = of_this[0]
            about = {"prompt": self.asked, "response": last.answer, "response_id": last.response_id}
            yield from self._made(Regeneration, "again", (last.call_id,), **about)

    def _stayed(self, earlier: Sequence[AnsweredCall]) -> Iterator[Signal]:
        """They go on from one of several answers: it is the one they stayed with."""
        said, answers = self._gone_on_from
        of_that = _same(earlier, said) if said else []
        kept = next((c for c in of_that if c.answer.strip() == answers[-1]), None)
        for other in of_that if kept else ():
            if kept and other.answer.strip() not in answers and abs(kept.at - other.at) >= READ:
                about = {"prompt": kept.asked, "response": other.answer, "kept": kept.answer}
                ids = (other.call_id, kept.call_id)
                yield from self._made(Regeneration, "stayed", ids, response_id=kept.response_id, **about)

    def _made(self, kind: Any, what: str, ids: tuple[str, ...], **fields: Any) -> Iterator[Signal]:
        """Make a signal; what cannot be one (a text that cannot be stored, say) is not noticed."""
        about = hashlib.sha256("\n".join((what, *ids)).encode("utf-8", "surrogatepass")).hexdigest()[:32]
        try:
            yield kind(id=f"{what}:{about}", user_id=self.user_id, tenant=self.tenant, source=self.source, **fields)
        except ValidationError:
            return


def _same(earlier: Sequence[AnsweredCall], said: tuple[Message, ...]) -> list[AnsweredCall]:
    """Return the calls that answered this question after the same conversation, in these words or in similar ones."""
    here, before = conversation_digest(said), conversation_digest(said[:-1])
    same = [c for c in earlier if c.conversation == here or (c.before == before and _edited(question(c.asked), said))]
    # What a model says before it calls a tool is no answer of its own.
    steps = {m.text.strip() for c in same for m in spoken(c.asked)[len(question(c.asked)) :]}
    return [c for c in same if c.answer.strip() not in steps]


def _edited(one: Sequence[Message], other: Sequence[Message]) -> bool:
    """Whether two questions after the same conversation are one, edited: at least half of all words are in both.

    Where nothing was said before, they may as well be the first questions of two conversations ("capital of Peru",
    "capital of Chile"): there, words may only have been added, or left out.
    """
    if not one or not_text(one[-1]) != not_text(other[-1]):
        return False
    texts = one[-1].text, other[-1].text
    if max(map(len, texts)) > _LONGEST_COMPARED:
        return False
    words, others = (set(_WORD.findall(text.lower())) for text in texts)
    both = words & others
    nested = both in (words, others)
    return bool(both) and len(both) >= _ALIKE * len(words | others) and (nested or len(other) > 1)
