"""What is taught and what is measured on: from signals to the rows of a run, without one leaking into another.

People are divided first (`splits`). Whoever is trained on is known by their training choices only; whoever is not, by
one half of their choices, and asked about the other. The population behind every persona is that of the people trained
on. So no choice that is measured has been read by the model, by a persona, or by the population.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from persona_sdk.inference import Inferrer, PairPersonas, Population
from persona_sdk.memory import Consent, Memory
from persona_sdk.models import Persona
from persona_sdk.tuning.building import (
    Source,
    Training,
    build_rows,
    histories_behind,
    pair_personas,
    personas_from,
    shown,
)
from persona_sdk.tuning.cards import Card, hashed_signals
from persona_sdk.tuning.examples import examples_from_memory, examples_of
from persona_sdk.tuning.prefixes import Knowledge, PrefixOptions, prefixer
from persona_sdk.tuning.rows import Example, Row
from persona_sdk.tuning.splits import by_person, hold_out, split

__all__ = ["Lessons", "Teaching", "asked_anew", "lessons"]

#: Of people who are not trained on, so much of what they chose is asked, and the rest is what is known of them.
_ASKED = 0.5
_PERSONAL = ("persona", "shuffled", "retrieved", "retrieved_similar")


@dataclass(frozen=True, slots=True)
class Teaching:
    """How choices become rows: the kind of prefix, paper 1's training type, and shares of people and choices.

    `texts` are what a `Knowledge` is given from outside: names, gold, written, system.
    """

    prefix: str = "persona"
    training: Training = "chosen"
    seed: int = 0
    validation: float = 0.1
    test: float = 0.2
    held_out: float = 0.25
    options: PrefixOptions = field(default_factory=PrefixOptions)
    texts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lessons:
    """The rows of a run: to train on, held-out choices of the same people, and other people to validate and test with.

    `population` and `personas` are what prefixes were made of; memory does not keep them.
    """

    train: tuple[Row, ...]
    held_out: tuple[Row, ...]
    validation: tuple[Row, ...]
    test: tuple[Row, ...]
    population: Population | None = None
    personas: Mapping[str, Persona] = field(default_factory=dict)


def lessons(
    source: Source,
    inferrer: Inferrer,
    teaching: Teaching,
    *,
    tenant: str = "default",
    users: Iterable[str] | None = None,
    own: str | None = None,
) -> Lessons:
    """Return the rows of a run from memory, or from histories; of those who lend, or of `own` alone.

    `users` are the only people to be trained on and measured with, such as a cluster; None is everybody.
    """
    examples = _examples(source, tenant, own)
    if own is not None:
        examples = [one for one in examples if one.user_id == own]
    if users is not None:
        wanted = set(users)
        examples = [one for one in examples if one.user_id in wanted]
    parts = split(
        examples,
        seed=teaching.seed,
        validation=teaching.validation,
        test=teaching.test,
        held_out=teaching.held_out,
    )
    validation, of_validation = _unseen(parts.validation, parts.train)
    test, of_test = _unseen(parts.test, ())
    known = [*parts.train, *of_validation, *of_test]
    population = inferrer.fit_population(tenant, histories_behind(source, parts.train)) if parts.train else None
    knowledge = _knowledge(source, inferrer, population, teaching, known, tenant)
    # Others may be in a prefix, too: of those who are only measured nothing is taught.
    made = prefixer(teaching.prefix, _of(knowledge, shown(parts.train)), teaching.options)
    measured = prefixer(teaching.prefix if teaching.training != "none" else "none", knowledge, teaching.options)
    return Lessons(
        train=tuple(build_rows(parts.train, made, teaching.training)),
        held_out=tuple(build_rows(parts.held_out, measured)),
        validation=tuple(build_rows(validation, measured)),
        test=tuple(build_rows(test, measured)),
        population=population,
        personas=knowledge.personas,
    )


def asked_anew(
    source: Source, inferrer: Inferrer, cards: Sequence[Card], teaching: Teaching, *, tenant: str = "default"
) -> dict[str, tuple[Row, ...]]:
    """Return, by person, rows of choices that none of these adapters has read, with prefixes made of their other ones.

    What an adapter has read stands on its card, so this holds whoever has come or chosen since. Those whose choices
    were all read are left out; of those none of whose choices were, one half is asked. Whoever does not lend is asked,
    too: what is known of them is in front of their own questions only, and not in the population.
    """
    read: dict[str, set[str]] = {}
    for card in cards:
        for person in card.people:
            read.setdefault(person.key, set()).update(person.signals)
    lent = _examples(source, tenant, None)
    known: list[Example] = []
    asked: list[Example] = []
    for key, theirs in by_person([*lent, *_not_lent(source, tenant, lent)]).items():
        seen = read.get(key, set())
        before = [one for one in theirs if seen & hashed_signals(one.origin)]
        after = [one for one in theirs if not seen & hashed_signals(one.origin)]
        if not before:
            shown_of, left = hold_out(after, _ASKED)
            before, after = list(shown_of), list(left)
        known += before
        asked += [one for one in after if one.is_pair]
    lenders = {one.user_id for one in lent}
    behind = [one for one in known if one.user_id in lenders]
    population = inferrer.fit_population(tenant, histories_behind(source, behind)) if behind else None
    knowledge = _knowledge(source, inferrer, population, teaching, known, tenant)
    people: dict[str, list[Row]] = {}
    for row in build_rows(asked, prefixer(teaching.prefix, knowledge, teaching.options)):
        people.setdefault(row.example.user_id, []).append(row)
    return {user: tuple(theirs) for user, theirs in people.items()}


def _examples(source: Source, tenant: str, own: str | None) -> list[Example]:
    if isinstance(source, Memory):
        return examples_from_memory(source, tenant, own=own)
    return [example for history in source for example in examples_of(tenant, history.user_id, history.signals)]


def _not_lent(source: Source, tenant: str, lent: Sequence[Example]) -> list[Example]:
    """Return the examples of those who do not lend; a file does not know of any."""
    if not isinstance(source, Memory):
        return []
    lenders = {one.user_id for one in lent}
    others = [user for user in source.users(tenant) if user not in lenders]
    return [one for user in others for one in examples_from_memory(source, tenant, [user], own=user)]


def _unseen(examples: Sequence[Example], trained: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Return what is asked of people who are not trained on, and what is known of them.

    Where there are too few people, validation has choices of trained ones, who are known already.
    """
    known_already = {one.user_id for one in trained}
    asked: list[Example] = []
    known: list[Example] = []
    for theirs in by_person(examples).values():
        if theirs[0].user_id in known_already:
            asked += theirs
            continue
        kept, held = hold_out(theirs, _ASKED)
        known += kept
        asked += held
    return asked, known


def _of(knowledge: Knowledge, people: Mapping[str, Sequence[Example]]) -> Knowledge:
    """Return what is known of some people, and of their examples only."""
    personas = {user: persona for user, persona in knowledge.personas.items() if user in people}
    return replace(knowledge, personas=personas, examples=people)


def _knowledge(
    source: Source,
    inferrer: Inferrer,
    population: Population | None,
    teaching: Teaching,
    known: Sequence[Example],
    tenant: str,
) -> Knowledge:
    kind = teaching.prefix.removeprefix("shuffled:")
    personas: Mapping[str, Persona] = {}
    pairs: Mapping[str, PairPersonas] = {}
    if kind in _PERSONAL:
        personas = personas_from(source, inferrer, population, known)
    if kind == "pair" or (kind.startswith("retrieved") and teaching.training in ("rejected", "all")):
        pairs = pair_personas(source, inferrer, known)
    consents: Mapping[str, Consent] = {}
    if isinstance(source, Memory):
        consents = {user: source.consent(tenant, user) for user in shown(known)}
    base = Knowledge(tenant=tenant, personas=personas, examples=shown(known), pairs=pairs, consents=consents)
    return replace(base, **teaching.texts)
