"""From people's signals to examples: what was asked, and which answer was taken over which.

A model that others are given learns from nobody who does not lend; their own adapter may.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from persona_sdk.inference import History
from persona_sdk.interchange import Problem, read_jsonl
from persona_sdk.memory import Memory, person_key
from persona_sdk.models import Message
from persona_sdk.signals import Choice, Edit, Preference, Rating, Regeneration, Signal, choices_of
from persona_sdk.tuning.rows import Example, Origin

__all__ = ["examples_from_jsonl", "examples_from_memory", "examples_of", "histories_from_jsonl"]


def examples_of(tenant: str, user_id: str, signals: Sequence[Signal]) -> list[Example]:
    """Return what one person's signals teach, in the order of the signals, each with its whole conversation.

    Choices are read as everywhere (`choices_of`), but ratings are paired only within one conversation: the answer to
    another question must not be taught as the better answer to this one. A rating in no pair is an example with one
    answer, `chosen` above 0 and `rejected` below; a neutral one teaches nothing. A signal id counts once.
    """
    person = _Person(tenant, user_id)
    known = {signal.id: signal for signal in reversed(signals)}  # of one id the first counts, as in memory
    unique = list({signal.id: known[signal.id] for signal in signals}.values())
    ratings = [signal for signal in unique if isinstance(signal, Rating)]
    made = {
        choice.signal_id: person.pair(known[choice.signal_id], choice, ())
        for choice in choices_of([signal for signal in unique if not isinstance(signal, Rating)])
    }
    conversations: dict[tuple[str, ...], list[Rating]] = {}
    for rating in ratings:
        conversations.setdefault(_said(rating.prompt), []).append(rating)
    for rated in conversations.values():
        made.update(_of_one_conversation(person, rated))
    return [made[signal.id] for signal in unique if signal.id in made]


def examples_from_memory(
    memory: Memory, tenant: str, users: Iterable[str] | None = None, *, own: str | None = None
) -> list[Example]:
    """Return the examples of a tenant's people, or of some of its `users`, without those who do not lend.

    `own` names the one person whose own adapter this is for: their signals may be used whether they lend or not.
    """
    asked = dict.fromkeys(memory.users(tenant) if users is None else users)
    return [
        example
        for user in asked
        if user == own or memory.consent(tenant, user).lend
        for example in examples_of(tenant, user, [stored.signal for stored in memory.signals(tenant, user)])
    ]


def histories_from_jsonl(
    path: Path, *, tenant: str = "default", user_id: str | None = None
) -> tuple[list[History], list[Problem]]:
    """Return people's signals in a file of signals or TRL rows, and the lines that could not be used.

    `user_id` is whose signals rows without a user are.

    Raises:
        InputError: the file cannot be opened.
    """
    signals: dict[str, list[Signal]] = {}
    problems: list[Problem] = []
    for _, found in read_jsonl(path, tenant=tenant, user_id=user_id):
        if isinstance(found, Problem):
            problems.append(found)
        else:
            signals.setdefault(found.user_id, []).append(found)
    return [History(user, said) for user, said in signals.items()], problems


def examples_from_jsonl(
    path: Path,
    *,
    tenant: str = "default",
    user_id: str | None = None,
    lends: Callable[[str], bool] = lambda _: True,
) -> tuple[list[Example], list[Problem]]:
    """Return the examples in a file of signals or TRL rows, by person, and the lines that could not be used.

    `user_id` is whose signals rows without a user are. Nobody for whom `lends` says False is in it: a file does not
    know what people consented to.

    Raises:
        InputError: the file cannot be opened.
    """
    histories, problems = histories_from_jsonl(path, tenant=tenant, user_id=user_id)
    lent = [history for history in histories if lends(history.user_id)]
    return [example for one in lent for example in examples_of(tenant, one.user_id, one.signals)], problems


class _Person:
    """Makes one person's examples, with ids that no other person's have and that tell nothing of an app's own."""

    def __init__(self, tenant: str, user_id: str) -> None:
        self._tenant, self._user_id = tenant, user_id
        self._key = person_key(tenant, user_id)

    def pair(self, signal: Signal, choice: Choice, others: tuple[str, ...]) -> Example:
        assert isinstance(signal, Preference | Rating | Edit | Regeneration)  # noqa: S101 - what choices are made of
        return Example(
            id=self._id(signal.id),
            origin=self._origin(*others, signal.id),
            prompt=signal.prompt,
            chosen=choice.chosen,
            rejected=choice.rejected,
            certainty=choice.certainty,
        )

    def one_sided(self, rating: Rating) -> Example:
        liked = rating.score > 0
        return Example(
            id=self._id(rating.id),
            origin=self._origin(rating.id),
            prompt=rating.prompt,
            chosen=rating.response if liked else None,
            rejected=None if liked else rating.response,
            certainty=abs(rating.score),
        )

    def _origin(self, *signals: str) -> Origin:
        return Origin(tenant=self._tenant, user_id=self._user_id, signals=signals)

    def _id(self, signal_id: str) -> str:
        return hashlib.sha256(f"{self._key}:{signal_id}".encode()).hexdigest()[:24]


def _of_one_conversation(person: _Person, rated: Sequence[Rating]) -> dict[str, Example]:
    """Return the examples in ratings of answers to one conversation, by the id of the (later) rating."""
    choices = {choice.signal_id: choice for choice in choices_of(rated)}
    made: dict[str, Example] = {}
    alone: list[Rating] = []
    for rating in rated:
        choice = choices.get(rating.id)
        if choice is None:
            alone.append(rating)
            continue
        compared = choice.rejected if choice.chosen == rating.response else choice.chosen
        # A choice does not name the earlier rating: it is the latest one that was scored otherwise.
        other = next(r for r in reversed(alone) if r.response == compared and r.score != rating.score)
        alone.remove(other)
        made[rating.id] = person.pair(rating, choice, (other.id,))
    made.update({rating.id: person.one_sided(rating) for rating in alone if rating.score})
    return made


def _said(prompt: tuple[Message, ...]) -> tuple[str, ...]:
    """Return a conversation, as JSON, without what an app says in front of it: that may hold the time of day."""
    asked = [message for message in prompt if message.role not in ("system", "developer")]
    return tuple(message.model_dump_json() for message in asked or prompt)
