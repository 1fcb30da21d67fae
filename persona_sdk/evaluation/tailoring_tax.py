"""What tuning and prefixes cost where there is nothing to personalise: the alignment tax of arXiv 2505.13257.

Prompts with a good answer, from whatever is at hand: refusals of harmful requests, facts, sums. Each arm is asked how
likely it finds the good answer, and whether likelier than a bad one, with the prefix of each of several people in front
as the runtime would put it there: where the persona's gate finds nothing relevant nothing is said, and nothing is paid.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from persona_sdk.errors import InputError, ModelError
from persona_sdk.evaluation._figures import rounded
from persona_sdk.evaluation._tailoring_figures import Mean, mean_of, prefers
from persona_sdk.evaluation.tailoring import Arm, Setup
from persona_sdk.interchange import Problem, read_rows, signal_from_row
from persona_sdk.language import LikelihoodModel, Messages
from persona_sdk.memory import person_key
from persona_sdk.models import Message
from persona_sdk.signals import Preference, Rating
from persona_sdk.tuning.prefixes import Knowledge, prefixer
from persona_sdk.tuning.rows import Example, Origin, Row

__all__ = ["ArmTax", "Neutral", "PersonTax", "TaxReport", "evaluate_tax", "read_neutral_rows"]

_NONE = "none"
#: Kinds of prefixes that say the same of everybody.
_OF_NOBODY = (_NONE, "system")
_BATCH = 32
#: Other names that fields of a row may have.
_NAMES = {"good": "chosen", "bad": "rejected", "answer": "completion"}


@dataclass(frozen=True, slots=True)
class Neutral:
    """A prompt to which the good answer is the same whoever asks, and a bad one if there is any."""

    prompt: tuple[Message, ...]
    good: str
    bad: str | None = None


@dataclass(frozen=True, slots=True)
class PersonTax:
    """What changes on neutral prompts when one person's prefix is in front, of the first arm's figures.

    `accuracy` is the change in the share of pairs whose good answer is preferred, None without pairs; `nats` that in
    the mean log probability of a token of the good answer. `prefixed` is the share of prompts with anything in front.
    """

    accuracy: float | None
    nats: float
    prefixed: float


@dataclass(frozen=True, slots=True)
class ArmTax:
    """The changes of one arm: their mean over the people whose prefix is used, the worst, and by person (their key).

    Negative is worse. An arm whose prefixes say the same of everybody, or nothing, has one change, of person "".
    """

    accuracy: Mean
    worst_accuracy: float | None
    nats: Mean
    worst_nats: float
    people: Mapping[str, PersonTax]


@dataclass(frozen=True, slots=True)
class TaxReport:
    """What each arm costs on `prompts`, of which `pairs` have a bad answer, too.

    `accuracy` (None without pairs) and `nats` are the figures of the arm `reference`, from which changes are counted.
    """

    prompts: int
    pairs: int
    reference: str
    accuracy: float | None
    nats: float
    arms: Mapping[str, ArmTax]

    def as_dict(self) -> dict[str, Any]:
        """Return the report JSON-ready."""
        return {name: rounded(value) for name, value in asdict(self).items()}


def read_neutral_rows(path: Path) -> tuple[list[Neutral], list[Problem]]:
    """Read rows of prompt, chosen (or good) and rejected (or bad), or of prompt and answer; bad lines are problems.

    Prompts and answers are text, or messages as TRL has them.

    Raises:
        InputError: the file cannot be opened.
    """
    return read_rows(path, _neutral, field="neutral")


def _neutral(row: Any) -> Neutral:
    if not isinstance(row, dict):
        raise InputError(f"a row must be a JSON object, this is {type(row).__name__}")
    named = {_NAMES.get(name, name): row[name] for name in ("prompt", "chosen", "rejected", *_NAMES) if name in row}
    signal = signal_from_row({**named, "label": True, "user_id": "-"}, tenant="-")
    if isinstance(signal, Preference):
        return Neutral(signal.prompt, signal.chosen, signal.rejected)
    if isinstance(signal, Rating) and signal.prompt:
        return Neutral(signal.prompt, signal.response)
    raise InputError("prompt: is missing", field="prompt")


def evaluate_tax(
    neutral: Sequence[Neutral],
    people: Sequence[str],
    knowledge: Knowledge,
    arms: Sequence[Arm],
    setup: Setup | None = None,
    *,
    progress: Callable[[float], None] = lambda _: None,
) -> TaxReport:
    """Measure every arm on neutral prompts, with the prefix of each of `people` (user ids) in front.

    Changes are counted from the first arm, a model without a prefix. `progress` is told the share of the work done.

    Raises:
        InputError: there is nothing to ask, the first arm has a prefix, or prefixes are of people and there are none.
        ModelError: a model failed, or gave a likelihood that is no number.
    """
    if not neutral:
        raise InputError("neutral: holds no prompt with a good answer", field="neutral")
    if not arms or arms[0].prefix != _NONE:
        raise InputError(
            "arms: the first must be a model without a prefix, which all others are compared with", field="arms"
        )
    if not people and any(arm.prefix not in _OF_NOBODY for arm in arms):
        raise InputError("people: names nobody whose prefix could be tried on neutral prompts", field="people")
    setup = setup or Setup()
    asked = {arm.name: _asked(neutral, people, knowledge, arm, setup) for arm in arms}
    scored = _scored(asked, arms, setup.system, progress)
    reference = arms[0]
    before = _figures(asked[reference.name][""], scored[reference.model_name], setup.system)
    figures: dict[str, ArmTax] = {}
    for arm in arms[1:]:
        changes: dict[str, PersonTax] = {}
        for key, rows in asked[arm.name].items():
            accuracy, nats = _figures(rows, scored[arm.model_name], setup.system)
            changes[key] = PersonTax(
                accuracy=None if accuracy is None or before[0] is None else accuracy - before[0],
                nats=nats - before[1],
                prefixed=sum(bool(row.prefix.text) for row in rows) / len(rows),
            )
        figures[arm.name] = _summed(changes)
    return TaxReport(
        prompts=len(neutral),
        pairs=sum(one.bad is not None for one in neutral),
        reference=reference.name,
        accuracy=before[0],
        nats=before[1],
        arms=figures,
    )


def _asked(
    neutral: Sequence[Neutral], people: Sequence[str], knowledge: Knowledge, arm: Arm, setup: Setup
) -> dict[str, list[Row]]:
    """Return the rows of an arm by the key of whose prefix is used, "" for nobody's."""
    makes = prefixer(arm.prefix, knowledge, setup.options)
    users = {"": ""} if arm.prefix in _OF_NOBODY else {person_key(knowledge.tenant, u): u for u in sorted(people)}
    rows: dict[str, list[Row]] = {}
    for key, user in users.items():
        origin = Origin(tenant=knowledge.tenant, user_id=user or "nobody")
        examples = [
            Example(id=f"neutral-{place}", origin=origin, prompt=one.prompt, chosen=one.good, rejected=one.bad)
            for place, one in enumerate(neutral)
        ]
        rows[key] = [Row(example=example, prefix=makes.prefix(example)) for example in examples]
    return rows


def _scored(
    asked: Mapping[str, Mapping[str, Sequence[Row]]],
    arms: Sequence[Arm],
    system: str,
    progress: Callable[[float], None],
) -> dict[str, dict[str, float]]:
    """Return for each model how likely it finds a token of each answer, each asked about once."""
    models = {arm.model_name: arm.model for arm in arms}
    needed: dict[str, dict[str, tuple[Messages, str]]] = {name: {} for name in models}
    for arm in arms:
        for row in (row for rows in asked[arm.name].values() for row in rows):
            for answer in _answers(row.example):
                conversation = row.conversation(system)
                needed[arm.model_name][_key(conversation, answer)] = (conversation, answer)
    total, done = sum(map(len, needed.values())), 0
    found: dict[str, dict[str, float]] = {}
    for name, wanted in needed.items():
        keys, pairs = list(wanted), list(wanted.values())
        means: list[float] = []
        for start in range(0, len(pairs), _BATCH):
            means += _means(models[name], pairs[start : start + _BATCH])
            progress((done + len(means)) / total)
        if not all(map(math.isfinite, means)):
            raise ModelError(f"{name}: gave a likelihood that is no number; its weights or its answers are damaged")
        found[name] = dict(zip(keys, means, strict=True))
        done += len(means)
    return found


def _means(model: LikelihoodModel, pairs: Sequence[tuple[Messages, str]]) -> list[float]:
    return [said.total / max(1, said.tokens) for said in model.log_likelihoods(pairs)]


def _figures(rows: Sequence[Row], scored: Mapping[str, float], system: str) -> tuple[float | None, float]:
    """Return the share of pairs whose good answer is preferred, and the mean log probability of good answers."""
    nats: list[float] = []
    right: list[float] = []
    for row in rows:
        conversation = row.conversation(system)
        found = [scored[_key(conversation, answer)] for answer in _answers(row.example)]
        nats.append(found[0])
        if len(found) > 1:
            right.append(prefers(found[0] - found[1]))
    return (math.fsum(right) / len(right) if right else None), math.fsum(nats) / len(nats)


def _summed(changes: Mapping[str, PersonTax]) -> ArmTax:
    accuracies = [change.accuracy for change in changes.values() if change.accuracy is not None]
    nats = [change.nats for change in changes.values()]
    return ArmTax(
        accuracy=mean_of(accuracies),
        worst_accuracy=min(accuracies, default=None),
        nats=mean_of(nats),
        worst_nats=min(nats),
        people=changes,
    )


def _answers(example: Example) -> list[str]:
    return [answer for answer in (example.chosen, example.rejected) if answer is not None]


def _key(conversation: Messages, answer: str) -> str:
    return json.dumps([list(conversation), answer])
