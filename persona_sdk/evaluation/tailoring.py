"""Does a model prefer what people chose once it is told of them? The measures of arXiv 2505.13257, section "Metrics".

An *arm* is a model with a kind of prefix. It prefers the answer whose tokens it finds likelier in the mean; accuracy is
the share of a person's held-out choices in which that is the chosen one (½ for a tie), then the mean over people. All
arms are asked about the same choices. Standard errors are over people.

    gain          accuracy of an arm − that of the first model without a prefix, for each person
    equity        Pearson's r over people between the accuracy of the first model without a prefix and that of the arm:
                  nearer 0, how well a person is served depends less on how well the untuned model knew their taste
    steer         P(prefers the chosen answer | own prefix) − P(… | somebody else's), on choices where the two differ
    flips         share of these choices in which the preferred answer changes
    fits          share of them whose margin is the larger one with the own prefix (½ for none larger); chance is ½.
                  What makes one answer likelier whoever is asked, its wording, its length, is in both and cancels
    controlled    accuracy as it were if both answers were as long (`length_controlled`): the primary length control,
                  because it uses every pair. `matched`, of pairs alike in length only, assumes nothing, and stands by
    longer        how often the longer answer is the chosen one: what always taking it would achieve
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from persona_sdk.errors import InputError, ModelError
from persona_sdk.evaluation._tailoring_figures import (
    Mean,
    Pairwise,
    length_controlled,
    matched,
    mean_of,
    pearson,
    prefers,
)
from persona_sdk.evaluation._tailoring_report import GROUPS, ArmFigures, PersonFigures, Swap, TailoringReport
from persona_sdk.language import LikelihoodModel
from persona_sdk.memory import person_key
from persona_sdk.models import Persona
from persona_sdk.tuning.likelihood import margins
from persona_sdk.tuning.prefixes import Knowledge, Prefixer, PrefixOptions, prefixer
from persona_sdk.tuning.rows import Example, Origin, Prefix, Row

__all__ = [
    "GROUPS", "Arm", "ArmFigures", "Mean", "PersonFigures", "Setup", "Swap", "TailoringReport", "arms_of",
    "contrary_people", "evaluate_tailoring",
]  # fmt: skip

_NONE, _SHUFFLED, _CONTRARY = "none", "shuffled:", "contrary:"

#: A choice and what was said in front of it: what a model is asked about once.
_Asked: TypeAlias = tuple[str, str]
_Margins: TypeAlias = Mapping[_Asked, float]


@dataclass(frozen=True, slots=True)
class Arm:
    """A model with a kind of prefix (see `tuning.prefixes`); `model_name` is one name for one model."""

    model_name: str
    model: LikelihoodModel
    prefix: str = _NONE

    @property
    def name(self) -> str:
        """The arm's name in a report."""
        return f"{self.model_name}/{self.prefix}"


def arms_of(models: Mapping[str, LikelihoodModel], prefixes: Iterable[str]) -> list[Arm]:
    """Return every model with every kind of prefix and without any; the first of them is what others are compared with.

    Raises:
        InputError: there is no such kind of prefix.
    """
    labels = [prefixer(kind, Knowledge()).label for kind in prefixes]
    kinds = dict.fromkeys([_NONE, *labels])
    return [Arm(name, model, kind) for name, model in models.items() for kind in kinds]


@dataclass(frozen=True, slots=True)
class Setup:
    """How people are measured.

    `trained` are the keys (`person_key`) of those whose signals are in a tuned model, None where nothing is tuned.
    `contrary` names for a user id somebody with contrary traits (`contrary_people`), whose prefix is then tried, too.
    `system` is said where a conversation has no system message; give the one that the tuned model was trained with.
    """

    trained: frozenset[str] | None = None
    contrary: Mapping[str, str] = field(default_factory=dict)
    options: PrefixOptions = field(default_factory=PrefixOptions)
    system: str = ""


def evaluate_tailoring(
    asked: Iterable[Example],
    knowledge: Knowledge,
    arms: Sequence[Arm],
    setup: Setup | None = None,
    *,
    progress: Callable[[float], None] = lambda _: None,
) -> TailoringReport:
    """Measure every arm on the choices `asked`, with prefixes made of what is known, none of which may be asked.

    The first arm must be a model without a prefix; all others are compared with it. Examples with one answer are left
    out. A model is asked once about a choice with the same prefix. `progress` is told the share of the work done.

    Raises:
        InputError: there is nothing to ask, the first arm has a prefix, an arm comes twice, or a prefix was made of
            choices that are asked about: `tuning.splits.hold_out` divides them, `tuning.building.personas_from` infers
            personas from the others.
        ModelError: a model failed, or gave a likelihood that is no number.
    """
    started = time.perf_counter()
    setup = setup or Setup()
    given = {example.id: example for example in asked}
    examples = [example for example in given.values() if example.is_pair]
    _check(examples, knowledge, arms)
    rows = _rows(examples, knowledge, arms, setup)
    found = _scored(rows, arms, setup.system, progress)
    outcome = _Outcome(examples, rows, found)
    reference = arms[0]
    trained = None if setup.trained is None else {person for person in outcome.people if person in setup.trained}
    figures = {arm.name: outcome.figures(arm, reference, trained) for arm in arms}
    accuracies = {arm.name: outcome.accuracy(arm) for arm in arms}
    people = {
        key: PersonFigures(
            choices=len(theirs),
            trained=None if trained is None else key in trained,
            accuracy={arm: accuracies[arm][key] for arm in accuracies},
        )
        for key, theirs in outcome.people.items()
    }
    return TailoringReport(
        reference=reference.name,
        choices=len(examples),
        left_out=len(given) - len(examples),
        longer=_longer(outcome.people),
        arms=figures,
        swaps=tuple(outcome.swaps(arms)),
        people=people,
        seconds=time.perf_counter() - started,
    )


def contrary_people(personas: Mapping[str, Persona], lenders: Collection[str]) -> dict[str, str]:
    """Return for each person the lender whose traits, by key, are weighed most contrary to theirs.

    The least sum of products of weights; who meets nobody with a sum below 0 is left out.
    """
    weighed: dict[str, dict[str, float]] = {}
    for user, persona in personas.items():
        weights = weighed.setdefault(user, {})
        for trait in persona.traits:
            weights[trait.key] = weights.get(trait.key, 0.0) + trait.weight
    instead: dict[str, str] = {}
    for user, own in weighed.items():
        sums = {
            other: math.fsum(weight * theirs.get(key, 0.0) for key, weight in own.items())
            for other, theirs in weighed.items()
            if other != user and other in lenders
        }
        least = min(sums, key=lambda other: (sums[other], other), default=None)
        if least is not None and sums[least] < 0:
            instead[user] = least
    return instead


def _check(examples: Sequence[Example], knowledge: Knowledge, arms: Sequence[Arm]) -> None:
    if not examples:
        raise InputError("asked: holds no choice between two answers, so there is nothing to measure", field="asked")
    if not arms or arms[0].prefix != _NONE:
        raise InputError(
            "arms: the first must be a model without a prefix, which all others are compared with", field="arms"
        )
    if len({arm.name for arm in arms}) < len(arms):
        raise InputError("arms: one comes twice; give each model a name of its own", field="arms")
    shown = {example.id for theirs in knowledge.examples.values() for example in theirs}
    if any(example.id in shown for example in examples):
        raise InputError(
            "knowledge: may show choices that are asked about; divide them with `hold_out`", field="knowledge"
        )


def _rows(
    examples: Sequence[Example], knowledge: Knowledge, arms: Sequence[Arm], setup: Setup
) -> dict[str, list[Row | None]]:
    """Return the rows of each kind of prefix, in the order of the examples; None where a swap has nobody to swap in."""
    asked = {(_key(example), signal) for example in examples for signal in example.origin.signals}
    rows: dict[str, list[Row | None]] = {}
    for kind in dict.fromkeys(arm.prefix for arm in arms):
        makes = prefixer(kind, knowledge, setup.options)
        rows[kind] = [Row(example=example, prefix=makes.prefix(example)) for example in examples]
        if setup.contrary and makes.personal:
            rows[_CONTRARY + kind] = [_with_contrary(example, makes, setup.contrary) for example in examples]
    for kind, made in rows.items():
        origins = {origin for row in made if row is not None for origin in row.prefix.origins}
        if any((person_key(o.tenant, o.user_id), signal) in asked for o in origins for signal in o.signals):
            raise InputError(
                f"knowledge: {kind} prefixes were made of choices that are asked about; make them of others only",
                field="knowledge",
            )
    return rows


def _with_contrary(example: Example, makes: Prefixer, contrary: Mapping[str, str]) -> Row | None:
    other = contrary.get(example.user_id)
    if other is None or other == example.user_id or not makes.knowledge.consent(other).lend:
        return None
    theirs = Origin(tenant=example.origin.tenant, user_id=other)
    said = makes.prefix(example.model_copy(update={"origin": theirs}))
    return Row(example=example, prefix=Prefix(kind=_CONTRARY + said.kind, text=said.text, origins=said.origins))


def _scored(
    rows: Mapping[str, Sequence[Row | None]], arms: Sequence[Arm], system: str, progress: Callable[[float], None]
) -> dict[str, dict[_Asked, float]]:
    """Return each model's margins on what its arms need, each asked about once."""
    models = {arm.model_name: arm.model for arm in arms}
    needed: dict[str, dict[_Asked, Row]] = {name: {} for name in models}
    for arm in arms:
        for row in (*rows[arm.prefix], *rows.get(_CONTRARY + arm.prefix, ())):
            if row is not None:
                needed[arm.model_name][_asked(row)] = row
    total, before = sum(map(len, needed.values())), 0
    found: dict[str, dict[_Asked, float]] = {}
    for name, model in models.items():
        wanted = needed[name]

        def done(count: int, before: int = before) -> None:
            progress((before + count) / total)

        try:
            measured = margins(model, list(wanted.values()), system=system, done=done)
        except ModelError as error:
            kinds = ", ".join(sorted({row.prefix.kind for row in wanted.values()}))
            raise ModelError(
                f"{name}: {error}; of the prefixes {kinds} leave out those that are too long for it", final=error.final
            ) from error
        if not all(map(math.isfinite, measured)):
            raise ModelError(f"{name}: gave a likelihood that is no number; its weights or its answers are damaged")
        found[name] = dict(zip(wanted, measured, strict=True))
        before += len(wanted)
    return found


class _Outcome:
    """The margins that were found, by model, kind and person."""

    def __init__(
        self,
        examples: Sequence[Example],
        rows: Mapping[str, Sequence[Row | None]],
        found: Mapping[str, _Margins],
    ) -> None:
        self._rows, self._found = rows, found
        #: The places of each person's examples, by key; sorted, so that no figure depends on who comes first.
        self._places: dict[str, list[int]] = {}
        for place, example in enumerate(examples):
            self._places.setdefault(_key(example), []).append(place)
        self._places = dict(sorted(self._places.items()))
        self.people = {key: [examples[p] for p in places] for key, places in self._places.items()}

    def figures(self, arm: Arm, reference: Arm, trained: set[str] | None) -> ArmFigures:
        pairs = {
            key: [Pairwise(r, len(e.chosen or ""), len(e.rejected or "")) for r, e in zip(of, theirs, strict=True)]
            for (key, theirs), of in zip(self.people.items(), self._rights(arm).values(), strict=True)
        }
        own, before = self.accuracy(arm), self.accuracy(reference)
        gains = {key: own[key] - before[key] for key in own}
        alike, count = matched(pairs)
        compared = arm.name != reference.name
        made = self._rows[arm.prefix]
        return ArmFigures(
            model_name=arm.model_name,
            prefix=arm.prefix,
            accuracy=_by_group(own, trained),
            gain=_by_group(gains, trained) if compared else None,
            worse=sum(gain < 0 for gain in gains.values()) / len(gains) if compared else None,
            equity=pearson(list(before.values()), list(own.values())) if compared else None,
            controlled=length_controlled(pairs),
            matched=alike,
            matched_choices=count,
            takes_longer=mean_of([_mean([_takes_longer(pair) for pair in of]) for of in pairs.values()]),
            without_prefix=sum(row is not None and not row.prefix.text for row in made) / len(made),
        )

    def accuracy(self, arm: Arm) -> dict[str, float]:
        """Return the share of each person's choices predicted right."""
        return {key: _mean(rights) for key, rights in self._rights(arm).items()}

    def swaps(self, arms: Sequence[Arm]) -> Iterable[Swap]:
        """Yield what swapping in somebody else's prefix does, for every arm that has one."""
        names = {arm.name for arm in arms}
        for arm in arms:
            for against, label in (("shuffled", _SHUFFLED), ("contrary", _CONTRARY)):
                other = label + arm.prefix
                measured = other in self._rows if label == _CONTRARY else f"{arm.model_name}/{other}" in names
                if measured and not arm.prefix.startswith(_SHUFFLED):
                    yield self._swap(arm, other, against)

    def _swap(self, arm: Arm, other: str, against: str) -> Swap:
        steer: list[float] = []
        flips: list[float] = []
        fits: list[float] = []
        choices = 0
        margin = self._found[arm.model_name]
        for places in self._places.values():
            both = [(self._rows[arm.prefix][place], self._rows[other][place]) for place in places]
            pairs = [
                (margin[_asked(own)], margin[_asked(theirs)])
                for own, theirs in both
                if own is not None and theirs is not None and own.prefix.text != theirs.prefix.text
            ]
            if pairs:
                choices += len(pairs)
                steer.append(_mean([prefers(own) - prefers(theirs) for own, theirs in pairs]))
                flips.append(_mean([float(prefers(own) != prefers(theirs)) for own, theirs in pairs]))
                fits.append(_mean([prefers(own - theirs) for own, theirs in pairs]))
        return Swap(arm.model_name, arm.prefix, against, mean_of(steer), mean_of(flips), mean_of(fits), choices)

    def _rights(self, arm: Arm) -> dict[str, list[float]]:
        rows, margin = self._rows[arm.prefix], self._found[arm.model_name]
        return {
            key: [prefers(margin[_asked(row)]) for row in (rows[place] for place in places) if row is not None]
            for key, places in self._places.items()
        }


def _by_group(values: Mapping[str, float], trained: set[str] | None) -> dict[str, Mean]:
    seen = trained or set()
    groups = {"all": set(values), "trained": seen, "unseen": set() if trained is None else set(values) - seen}
    return {group: mean_of([value for key, value in values.items() if key in who]) for group, who in groups.items()}


def _longer(people: Mapping[str, Sequence[Example]]) -> Mean:
    """Return how often the longer answer is the chosen one."""
    lengths = {key: [(len(e.chosen or ""), len(e.rejected or "")) for e in theirs] for key, theirs in people.items()}
    return mean_of([_mean([prefers(chosen - rejected) for chosen, rejected in of]) for of in lengths.values()])


def _takes_longer(pair: Pairwise) -> float:
    longer = prefers(pair.chosen - pair.rejected)
    return 0.5 if longer == 0.5 else pair.right if longer else 1 - pair.right


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _asked(row: Row) -> _Asked:
    return row.example.id, row.prefix.text


def _key(example: Example) -> str:
    return person_key(example.origin.tenant, example.user_id)
