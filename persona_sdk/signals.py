"""Signals: what an app sees people do. Everything the SDK knows is derived from these, and from nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import from_json

from persona_sdk.errors import InputError
from persona_sdk.models import Frozen, Identifier, Message, utc_now

__all__ = [
    "MAX_TEXT",
    "Choice",
    "Edit",
    "Preference",
    "Rating",
    "Regeneration",
    "Signal",
    "Utterance",
    "choices_of",
    "input_error",
    "parse_signal",
    "prompt_text",
]

#: Longest text of one field, in characters. Above it a signal is refused rather than cut.
MAX_TEXT = 4_000_000


def _text(value: Any) -> Any:
    """Reject text that cannot be stored losslessly; everything else, control characters included, is kept as it is."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        raise ValueError("is empty")
    if len(value) > MAX_TEXT:
        raise ValueError(f"has {len(value):,} characters, more than the {MAX_TEXT:,} that one field may hold")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"is not valid Unicode at character {error.start} (a lone surrogate)") from None
    return value


def _conversation(value: Any) -> Any:
    """Accept a prompt as text or as OpenAI-shaped messages."""
    if isinstance(value, str):
        return (Message(role="user", content=_text(value)),)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        if not value:
            raise ValueError("is empty")
        for message in value:
            content = message.get("content") if isinstance(message, Mapping) else getattr(message, "content", None)
            if isinstance(content, str) and content:
                _text(content)
        return tuple(value)
    return value


def _storable(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Reject what a message holds beside plain text when it cannot be stored: it would fail a whole batch later."""
    for number, message in enumerate(messages):
        try:
            # Two levels around it, as in a signal: what can be written cannot always be read.
            from_json(f"[[{message.model_dump_json()}]]")
        except ValueError:  # a lone surrogate, nesting without end, or what is no JSON
            raise ValueError(f"message {number} cannot be stored: it is not valid Unicode or not plain JSON") from None
    return messages


Text: TypeAlias = Annotated[str, BeforeValidator(_text)]
Conversation: TypeAlias = Annotated[tuple[Message, ...], BeforeValidator(_conversation), AfterValidator(_storable)]


class SignalBase(Frozen):
    """What all signals share. `id` makes a signal idempotent; `response_id` joins it to the answer it is about."""

    id: Identifier = Field(default_factory=lambda: uuid.uuid4().hex)
    user_id: Identifier
    tenant: Identifier = "default"
    at: datetime = Field(default_factory=utc_now)
    response_id: Identifier | None = None
    source: Identifier = "app"

    @field_validator("at")
    @classmethod
    def _aware(cls, value: datetime) -> datetime:
        try:
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        except OverflowError:
            raise ValueError("is outside the years 1 to 9999 in UTC") from None


class Preference(SignalBase):
    """The person picked `chosen` over `rejected` as the answer to `prompt`."""

    kind: Literal["preference"] = "preference"
    prompt: Conversation
    chosen: Text
    rejected: Text

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are the same text, so nothing was preferred")
        return self


class Rating(SignalBase):
    """A thumb or score for one answer: `score` from −1 (worst) to 1 (best), 0 is neutral."""

    kind: Literal["rating"] = "rating"
    prompt: Conversation
    response: Text
    score: float = Field(ge=-1, le=1, allow_inf_nan=False)


class Edit(SignalBase):
    """The person rewrote `original` into `edited`: they prefer what they wrote."""

    kind: Literal["edit"] = "edit"
    prompt: Conversation
    original: Text
    edited: Text

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.original == self.edited:
            raise ValueError("original and edited are the same text, so nothing was changed")
        return self


class Regeneration(SignalBase):
    """The person asked for another answer than `response`; `kept` is the one they then stayed with, if known."""

    kind: Literal["regeneration"] = "regeneration"
    prompt: Conversation
    response: Text
    kept: Text | None = None


class Utterance(SignalBase):
    """Something the person said, in their own words."""

    kind: Literal["utterance"] = "utterance"
    text: Text


Signal: TypeAlias = Annotated[Preference | Rating | Edit | Regeneration | Utterance, Field(discriminator="kind")]

_KINDS = ("preference", "rating", "edit", "regeneration", "utterance")
_ADAPTER: TypeAdapter[Signal] = TypeAdapter(Signal)


def parse_signal(data: Mapping[str, Any] | str | bytes) -> Signal:
    """Build a signal from a mapping or from JSON.

    Raises:
        InputError: naming the first offending field and what is wrong with it, without quoting the text itself.
    """
    try:
        if isinstance(data, str | bytes):
            return _ADAPTER.validate_json(data)
        return _ADAPTER.validate_python(dict(data))
    except ValidationError as error:
        raise input_error(error) from None


def input_error(error: ValidationError) -> InputError:
    """Turn pydantic's report into one sentence that names the field and never repeats people's text."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"].startswith("union_tag"):  # pydantic's own message would repeat what was given
        return InputError(f"kind: must be one of {', '.join(_KINDS)}", field="kind")
    where = ".".join(str(part) for part in first["loc"] if not _is_tag(part)) or "signal"
    what = first["msg"].removeprefix("Value error, ")
    return InputError(f"{where}: {what}", field=where)


def _is_tag(part: int | str) -> bool:
    return part in _KINDS


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer taken over another, whatever kind of signal showed it.

    `certainty` in (0, 1] says how strongly the signal speaks: an explicit choice is 1, an abandoned answer less.
    """

    signal_id: str
    prompt: str
    chosen: str
    rejected: str
    certainty: float = 1.0


#: How strongly each kind of signal speaks, relative to an explicit choice between two answers shown side by side.
CERTAINTY = {"preference": 1.0, "edit": 1.0, "regeneration": 0.5}


def choices_of(signals: Sequence[Signal]) -> list[Choice]:
    """Read the choices out of signals, in their order: preferences, edits, and regenerations whose end is known.

    A rating is paired with the latest earlier one that was scored differently, of the same prompt if there is one:
    the better scored answer was preferred. Answers to different prompts differ in topic too, so they count half. Each
    rating is in one choice at most: an answer in several would give away which way it goes in the one that is held out.
    """
    choices: list[Choice] = []
    rated: list[Rating] = []
    for signal in signals:
        match signal:
            case Preference():
                pair = (signal.chosen, signal.rejected)
            case Edit():
                pair = (signal.edited, signal.original)
            case Regeneration(kept=str() as kept) if kept != signal.response:
                pair = (kept, signal.response)
            case Rating():
                other = _other_than(signal, rated)
                found = [] if other is None else _compared(signal, other)
                choices.extend(found)
                if other is not None and found:
                    rated.remove(other)
                else:
                    rated.append(signal)
                continue
            case _:
                continue
        choices.append(
            Choice(
                signal_id=signal.id,
                prompt=prompt_text(signal),
                chosen=pair[0],
                rejected=pair[1],
                certainty=CERTAINTY[signal.kind],
            )
        )
    return choices


def _other_than(new: Rating, earlier: Sequence[Rating]) -> Rating | None:
    """Return the latest earlier rating that says something else of another answer, to the same prompt if possible."""
    prompt = prompt_text(new)
    differing = [r for r in reversed(earlier) if r.score != new.score and r.response != new.response]
    return next((r for r in differing if prompt_text(r) == prompt), differing[0] if differing else None)


def _compared(new: Rating, other: Rating) -> list[Choice]:
    better, worse = (new, other) if new.score > other.score else (other, new)
    prompt = prompt_text(new)
    certainty = (better.score - worse.score) / 2 * (1.0 if prompt_text(other) == prompt else 0.5)
    if not certainty:  # so small a difference that half of it is none
        return []
    return [
        Choice(
            signal_id=new.id,
            prompt=prompt,
            chosen=better.response,
            rejected=worse.response,
            certainty=min(1.0, certainty),
        )
    ]


def prompt_text(signal: Preference | Rating | Edit | Regeneration) -> str:
    """The text of the last user message of the signal's prompt, or of its last message."""
    return next((m.text for m in reversed(signal.prompt) if m.role == "user"), signal.prompt[-1].text)
