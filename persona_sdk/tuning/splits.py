"""Who, and which of their choices, a model is tuned on, chosen by, and measured on.

People are divided, never one person's choices between training and testing, so that the test says how a model does for
people it has not seen (arXiv 2505.13257); the last choices of those it was trained on are held out to say how it does
for them. What falls where depends on the seed and on who is there, not on the order in which people come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from persona_sdk.errors import InputError
from persona_sdk.memory import person_key
from persona_sdk.tuning.rows import Example, Row

__all__ = ["Split", "by_person", "halves", "hold_out", "question_key", "split"]

#: Of somebody with fewer choices than this none is held out.
_ENOUGH = 4
#: With so many people one is kept for testing, and one for validation, however small the shares.
_TO_TEST, _TO_VALIDATE = 3, 5

Taught = TypeVar("Taught", Example, Row)


@dataclass(frozen=True, slots=True)
class Split:
    """What to train on, the held-out choices of the same people, and other people to validate and to test with."""

    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]


def split(
    examples: Iterable[Example],
    *,
    seed: int = 0,
    validation: float = 0.1,
    test: float = 0.2,
    held_out: float = 0.25,
) -> Split:
    """Divide people into those to train on, to validate and to test with, and hold out the last choices of the first.

    `validation` and `test` are shares of the people, `held_out` is a share of each trained person's choices (see
    `hold_out`). Of three people one is for testing, of five one for validation, where these shares are above 0. Where
    nobody is left for validation, the last of each trained person's other choices are, by the same share: the only
    case in which a person is in two parts. Each part holds people in the order of their keys.

    Raises:
        InputError: a share is not in [0, 1), or validation and test leave nobody to train on.
    """
    for name, share in (("validation", validation), ("test", test), ("held_out", held_out)):
        if not 0 <= share < 1:
            raise InputError(f"{name}: must be a share from 0 to below 1, not {share}", field=name)
    if validation + test >= 1:
        raise InputError("validation: leaves nobody to train on, together with test; make one smaller", field="test")
    people = by_person(examples)
    drawn = sorted(people, key=lambda key: _draw(seed, "person", key))
    tested = _count(len(drawn), test, _TO_TEST)
    validated = min(_count(len(drawn), validation, _TO_VALIDATE), max(0, len(drawn) - tested - 1))
    for_test, for_validation = set(drawn[:tested]), set(drawn[tested : tested + validated])
    parts: dict[str, list[Example]] = {"train": [], "held_out": [], "validation": [], "test": []}
    for key, theirs in people.items():
        if key in for_test:
            parts["test"] += theirs
        elif key in for_validation:
            parts["validation"] += theirs
        else:
            kept, held = hold_out(theirs, held_out)
            if validation and not validated:
                kept, spared = hold_out(kept, validation)
                parts["validation"] += spared
            parts["train"] += kept
            parts["held_out"] += held
    return Split(**{name: tuple(part) for name, part in parts.items()})


def hold_out(examples: Sequence[Example], share: float) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Divide one person's choices, which are in their order, into those to learn from and the last `share` of them.

    At least one is held out, and at least one is kept, of four choices or more; none of fewer. Choices with the same
    question stay together, wherever one of them stands, unless there is one question only.
    """
    if share <= 0 or len(examples) < _ENOUGH:
        return tuple(examples), ()
    wanted = min(max(1, round(len(examples) * share)), len(examples) - 1)
    last = {question_key(example): place for place, example in enumerate(examples)}
    groups: dict[str, list[int]] = {}
    for place, example in enumerate(examples):
        groups.setdefault(question_key(example), []).append(place)
    held: set[int] = set()
    for question in sorted(groups, key=lambda q: -last[q]):
        if len(held) + len(groups[question]) <= wanted:
            held.update(groups[question])
    if not held and len(groups) > 1:  # each question was asked more often than that: take the rarest, the latest first
        held.update(groups[min(groups, key=lambda q: (len(groups[q]), -last[q]))])
    if not held:
        held.update(range(len(examples) - wanted, len(examples)))
    kept = tuple(example for place, example in enumerate(examples) if place not in held)
    return kept, tuple(examples[place] for place in sorted(held))


def halves(taught: Iterable[Taught], seed: int = 0) -> tuple[tuple[Taught, ...], tuple[Taught, ...]]:
    """Divide rows or examples into two halves without overlap, for SFT and DPO (arXiv 2501.11549, section 4).

    Each person's are divided evenly, so that both halves have everybody with two or more. What they were asked once is
    in one half only, unless they were never asked anything else. Each half holds people in the order of their keys.
    """
    sft: list[Taught] = []
    dpo: list[Taught] = []
    for key, theirs in by_person(taught).items():
        first = _first_half(theirs, seed, key)
        sft += [one for place, one in enumerate(theirs) if place in first]
        dpo += [one for place, one in enumerate(theirs) if place not in first]
    return tuple(sft), tuple(dpo)


def by_person(taught: Iterable[Taught]) -> dict[str, list[Taught]]:
    """Return rows or examples by the key of whose choice they are, sorted by it, each person's in their order."""
    people: dict[str, list[Taught]] = {}
    for one in taught:
        origin = _example(one).origin
        people.setdefault(person_key(origin.tenant, origin.user_id), []).append(one)
    return dict(sorted(people.items()))


def question_key(taught: Example | Row) -> str:
    """Return the question of an example in a form that is the same however it is spaced and capitalised."""
    return " ".join(_example(taught).question.casefold().split())


def _first_half(theirs: Sequence[Example | Row], seed: int, key: str) -> set[int]:
    """Return the places of one person's that go to the first half."""
    groups: dict[str, list[int]] = {}
    for place, one in enumerate(theirs):
        groups.setdefault(question_key(one), []).append(place)
    if len(groups) == 1:  # it cannot be avoided
        groups = {str(place): [place] for place in range(len(theirs))}
    order = sorted(groups, key=lambda q: (-len(groups[q]), _draw(seed, key, q)))
    sides: tuple[set[int], set[int]] = (set(), set())
    favoured = (
        int(_draw(seed, "half", key), 16) % 2
    )  # else whoever has one choice more would always be in the same half
    for question in order:
        behind = min((favoured, 1 - favoured), key=lambda side: len(sides[side]))
        sides[behind].update(groups[question])
    return sides[0]


def _count(people: int, share: float, enough: int) -> int:
    """Return how many people a share is, at least one of `enough`, and never all."""
    if share <= 0:
        return 0
    return min(max(round(people * share), int(people >= enough)), max(0, people - 1))


def _draw(seed: int, *what: str) -> str:
    """Return something to sort by that is as good as random, and the same for the same seed."""
    return hashlib.sha256("\0".join([str(seed), *what]).encode("utf-8", "surrogatepass")).hexdigest()


def _example(taught: Example | Row) -> Example:
    return taught.example if isinstance(taught, Row) else taught
