"""The calls an app makes to say what a person did. Each returns once the signal is durable."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO, TypeAlias, TypedDict, TypeVar, Unpack

from pydantic import ValidationError

from persona_sdk.calls import AnsweredCall
from persona_sdk.errors import InputError
from persona_sdk.interchange import Problem, read_jsonl
from persona_sdk.models import Message
from persona_sdk.signals import Edit, Preference, Rating, Regeneration, Signal, Utterance, input_error

__all__ = ["About", "Answered", "ImportReport", "Prompt", "Recording"]

#: A prompt as text, or as the conversation so far.
Prompt: TypeAlias = str | Sequence[Message | Mapping[str, Any]]

S = TypeVar("S", Preference, Rating, Edit, Regeneration, Utterance)


class About(TypedDict, total=False):
    """What can be said about any signal: its id (makes it idempotent), the answer it refers to, when and where."""

    id: str
    response_id: str
    at: datetime
    source: str


#: How many imported signals are made durable together.
_BATCH = 1000


@dataclass(slots=True)
class ImportReport:
    """What an import did: signals read, how many of them were new, and the lines that could not be used."""

    read: int = 0
    new: int = 0
    problems: list[Problem] = field(default_factory=list)

    def count(self, batch: Sequence[Signal], new: int) -> None:
        """Add one batch that was appended."""
        self.read += len(batch)
        self.new += new


#: What a response id stands for: the question and the answer given, when this process gave it.
Answered: TypeAlias = tuple[tuple[Message, ...], str]


class Recording(ABC):
    """The signal methods of a `Personalizer`."""

    @property
    @abstractmethod
    def tenant(self) -> str:
        """The tenant whose people these are."""

    @abstractmethod
    def observe(self, signals: Iterable[Signal]) -> int:
        """Append signals durably; see `Personalizer.observe`."""

    @abstractmethod
    def users(self) -> list[str]:
        """Return the ids of everyone with signals."""

    @abstractmethod
    def signals(self, user_id: str) -> list[Signal]:
        """Return a person's signals in the order they came."""

    @abstractmethod
    def call(self, response_id: str) -> AnsweredCall:
        """Return an answered call of this tenant."""

    @abstractmethod
    def _answered(self, user_id: str, response_id: str) -> Answered | None:
        """Return what a response id stands for, if this process gave that answer to this person."""

    def prefer(self, user_id: str, *, prompt: Prompt, chosen: str, rejected: str, **about: Unpack[About]) -> Preference:
        """Record that a person took `chosen` over `rejected`.

        Raises:
            InputError: a text is empty, too long or not Unicode, or both are the same.
            StorageError: it could not be written; nothing was.
        """
        return self._record(Preference, user_id, about, prompt=prompt, chosen=chosen, rejected=rejected)

    def rate(
        self,
        user_id: str,
        score: float | bool,
        *,
        prompt: Prompt | None = None,
        response: str | None = None,
        **about: Unpack[About],
    ) -> Rating:
        """Record a thumb (`True`, `False`) or a score from −1 to 1 for an answer.

        The answer is given by `prompt` and `response`, or by the `response_id` of a call this process answered.
        """
        if isinstance(score, bool):
            score = 1.0 if score else -1.0
        prompt, response = self._which(user_id, prompt, response, about)
        return self._record(Rating, user_id, about, prompt=prompt, response=response, score=score)

    def edited(
        self,
        user_id: str,
        edited: str,
        *,
        prompt: Prompt | None = None,
        original: str | None = None,
        **about: Unpack[About],
    ) -> Edit:
        """Record that a person rewrote an answer into `edited`; the answer is given as for `rate`."""
        prompt, original = self._which(user_id, prompt, original, about)
        return self._record(Edit, user_id, about, prompt=prompt, original=original, edited=edited)

    def regenerated(
        self,
        user_id: str,
        *,
        prompt: Prompt | None = None,
        response: str | None = None,
        kept: str | None = None,
        **about: Unpack[About],
    ) -> Regeneration:
        """Record that a person asked for another answer; `kept` is the one they stayed with, once that is known."""
        prompt, response = self._which(user_id, prompt, response, about)
        return self._record(Regeneration, user_id, about, prompt=prompt, response=response, kept=kept)

    def said(self, user_id: str, text: str, **about: Unpack[About]) -> Utterance:
        """Record what a person said; what it says outright about them becomes a quoted trait."""
        return self._record(Utterance, user_id, about, text=text)

    def feedback(
        self,
        response_id: str,
        *,
        thumb: float | bool | None = None,
        edited: str | None = None,
        over: str | None = None,
        rejected: str | None = None,
        id: str | None = None,  # noqa: A002 - as in `About`
    ) -> Rating | Edit | Preference:
        """Record what somebody did with an answer that is known by its response id (see `answered`).

        Either a `thumb` (`True`, `False`, or a score from −1 to 1), or the text they made of it (`edited`), or what
        they took it over: another answer by its response id (`over`), or by its text (`rejected`).

        Raises:
            NotFoundError: no answer is known by the response id (any more).
            InputError: none or several of the four are given, or one cannot be used; nothing was written.
        """
        given = [v for v in (thumb, edited, over, rejected) if v is not None]
        if len(given) != 1:
            raise InputError(f"feedback is one of thumb, edited, over and rejected, not {len(given)} of them")
        call = self.call(response_id)
        about = About(response_id=call.response_id, **({} if id is None else {"id": id}))
        if thumb is not None:
            return self.rate(call.user_id, thumb, prompt=call.asked, response=call.answer, **about)
        if edited is not None:
            return self.edited(call.user_id, edited, prompt=call.asked, original=call.answer, **about)
        if over is not None:
            other = self.call(over)
            if other.user_id != call.user_id:
                raise InputError("over: that answer was given to somebody else", field="over")
            rejected = other.answer
        return self.prefer(call.user_id, prompt=call.asked, chosen=call.answer, rejected=str(rejected), **about)

    def import_jsonl(
        self, path: str | Path, *, user_id: str | None = None, progress: Callable[[int], None] = lambda _: None
    ) -> ImportReport:
        """Append the signals of a JSON Lines file: this SDK's own, or TRL's preference or KTO rows.

        Lines that cannot be used are passed over and reported; all others are kept, and importing a file twice
        changes nothing. `user_id` is whose signals rows without a user are. `progress` is told the bytes read so far.

        Raises:
            InputError: the file cannot be opened.
            StorageError: memory failed; every batch acknowledged before is kept, and importing again goes on.
        """
        report = ImportReport()
        batch: list[Signal] = []
        for offset, item in read_jsonl(Path(path), tenant=self.tenant, user_id=user_id):
            if isinstance(item, Problem):
                report.problems.append(item)
            else:
                batch.append(item)
            if len(batch) >= _BATCH:
                report.count(batch, self.observe(batch))
                batch.clear()
                progress(offset)
        report.count(batch, self.observe(batch))
        return report

    def export_jsonl(self, file: TextIO, *, user_id: str | None = None) -> int:
        """Write signals as JSON Lines, one person's or everyone's, in a form `import_jsonl` takes; return how many."""
        written = 0
        for user in self.users() if user_id is None else [user_id]:
            for signal in self.signals(user):
                file.write(signal.model_dump_json() + "\n")
                written += 1
        return written

    def _which(self, user_id: str, prompt: Prompt | None, response: str | None, about: About) -> tuple[Prompt, str]:
        """Complete prompt and response from the response id."""
        if prompt is not None and response is not None:
            return prompt, response
        response_id = about.get("response_id")
        known = self._answered(user_id, response_id) if response_id else None
        if known is None:
            raise InputError(
                "prompt and response are needed: "
                + (
                    "no response_id was given"
                    if not response_id
                    else "no answer is known by that response_id (any more)"
                ),
                field="response_id",
            )
        return known[0] if prompt is None else prompt, known[1] if response is None else response

    def _record(self, kind: type[S], user_id: str, about: About, **fields: Any) -> S:
        try:
            signal = kind(user_id=user_id, tenant=self.tenant, **about, **fields)
        except ValidationError as error:
            raise input_error(error) from None
        self.observe([signal])
        return signal
