"""Who is given which adapter, measured on choices that none of the adapters has read (the rule is that of `rungs`).

The lowest rung is the base model with a persona in front. Above it come the adapter that everybody shares, that of a
cluster for the people of the cluster, and one's own. Each is measured as it is served: with the system message of its
rows, and with what the app says of a person in front, whichever adapter answers. That is the persona, as the tailor
prompt_prefix has it, unless `Teaching.prefix` names another kind: an adapter that was trained to read something else
is not told it when it serves, either.

Whoever does not lend is measured for themselves alone: their choices decide what they are given, and nothing else.
Whoever does not borrow is given no cluster's adapter, which is what similar people taught.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from persona_sdk.errors import InputError, ModelError
from persona_sdk.inference import Inferrer
from persona_sdk.language import LikelihoodModel
from persona_sdk.memory import Consent, Memory, person_key
from persona_sdk.pipeline import fault
from persona_sdk.tuning.adapters import Adapters
from persona_sdk.tuning.assignments import Assignment, Given
from persona_sdk.tuning.building import Source
from persona_sdk.tuning.cards import Card
from persona_sdk.tuning.forgetting import owner_of
from persona_sdk.tuning.lessons import Teaching, asked_anew
from persona_sdk.tuning.likelihood import margins
from persona_sdk.tuning.rows import Row
from persona_sdk.tuning.rungs import Climb, Measured, climb

__all__ = ["Choosing", "Tunable", "candidates", "choose"]

_log = logging.getLogger("persona_sdk")

#: Kinds of prefixes that need something from outside, and the field of a `Knowledge` that holds it.
_OUTSIDE = {"name": "names", "gold": "gold", "written": "written", "system": "system", "retrieved_similar": "similar"}


class Tunable(Protocol):
    """A model that answers with any of the adapters, such as the plugin lora's.

    It has to fail where an adapter cannot be used: answered by the base instead, it would be measured as that.
    """

    def with_adapter(self, name: str | None) -> LikelihoodModel:
        """Return the model with an adapter; None is the base."""
        ...


@dataclass(frozen=True, slots=True)
class Choosing:
    """What is chosen from, and how.

    `names` are the adapters to choose from, all of the tenant's that may be used if there are none. Of `teaching` the
    prefix, the seed, the options and the texts are used. `since` is when the first of the signals was read, None if
    they are read now (see `Adapters.begin`). With `dry_run` nothing is recorded.
    """

    names: Sequence[str] = ()
    teaching: Teaching = field(default_factory=Teaching)
    since: datetime | None = None
    dry_run: bool = False


def choose(
    source: Source,
    inferrer: Inferrer,
    adapters: Adapters,
    model: Tunable,
    choosing: Choosing | None = None,
    *,
    tenant: str = "default",
    done: Callable[[float], None] = lambda _: None,
) -> Climb:
    """Measure every rung on choices that none of the adapters has read, and record what each person is given.

    Everybody with such choices is assigned a rung; all others keep what they were assigned, or get the tenant's
    default, which is set anew if there is a shared adapter to choose from. People with a choice that the model cannot
    read, because it is too long for it, say, are left out, with a line in the log. `done` is told the share that is
    measured. The table is that of those who lend. A file's people who were forgotten are left out, too.

    Raises:
        InputError: there is nothing to choose from, nobody has a choice to measure on, a margin is no number, an
            adapter was replaced meanwhile, or the prefix tells what was chosen, or takes texts that were not given.
        NotFoundError: there is no adapter of a name.
        ModelError: the model failed for everybody, or cannot be asked any more.
    """
    choosing = choosing or Choosing()
    _check_prefix(choosing.teaching)
    cards = candidates(adapters, tenant, choosing.names)
    since = choosing.since or (None if choosing.dry_run else adapters.begin())
    folders = _folders(adapters, cards)
    source = _not_forgotten(source, adapters, tenant)
    held_out, rungs = _measured(source, inferrer, cards, model, choosing.teaching, tenant, done)
    consents = _consents(source, tenant, held_out)
    found = _climbed(held_out, rungs, consents, choosing.teaching.seed)
    if not choosing.dry_run:
        if _folders(adapters, cards) != folders:
            raise InputError("adapters: one was replaced while it was measured; choose again", field="adapters")
        adapters.assign_all(tenant, found.assignments, since=since)
        if any(card.rung == "shared" for card in cards):
            adapters.set_default(tenant, found.default)
    return found


def candidates(adapters: Adapters, tenant: str, names: Sequence[str] = ()) -> list[Card]:
    """Return the cards of the adapters that people of a tenant may be given, by name, or of some of these `names`.

    Of several shared ones it is the newest, of several clusters that somebody is in, or of their own, the newest one.

    Raises:
        InputError: there is none; or one of `names` is another tenant's, not to be used, or a second shared one.
        NotFoundError: there is no adapter of a name.
    """
    cards = [adapters.card(name) for name in dict.fromkeys(names)] or adapters.cards()
    if names:
        _check(adapters, tenant, cards)
    usable = [card for card in cards if card.tenant == tenant and adapters.usable(card.name)]
    newest: dict[tuple[Given, str], Card] = {}
    for card in sorted(usable, key=lambda card: (card.at, card.name)):
        for whose in _whose(card):
            newest[card.rung, whose] = card
    found = {card.name: card for card in newest.values()}
    if not found:
        raise InputError(
            f"adapters: there is none in {adapters.folder} that people of this tenant may be given; train one with"
            " `persona tune train`",
            field="adapters",
        )
    return [found[name] for name in sorted(found)]


def _not_forgotten(source: Source, adapters: Adapters, tenant: str) -> Source:
    """Leave those out of a file who were forgotten; memory has signals of whoever came back only."""
    if isinstance(source, Memory):
        return source
    histories = list(source)
    gone = adapters.forgotten(tenant, [history.user_id for history in histories])
    if gone:
        _log.warning("left out of the file because they were forgotten: %s of its people", f"{len(gone):,}")
    return [history for history in histories if history.user_id not in gone]


def _check(adapters: Adapters, tenant: str, cards: Sequence[Card]) -> None:
    for card in cards:
        if card.tenant != tenant:
            raise InputError(f"adapters: {card.name} is another tenant's", field="adapters")
        if not adapters.usable(card.name):
            raise InputError(
                f"adapters: {card.name} must not be used since somebody was forgotten; train it anew", field="adapters"
            )
    shared = [card.name for card in cards if card.rung == "shared"]
    if len(shared) > 1:
        raise InputError(
            f"adapters: {' and '.join(shared[:2])} are both for everybody; name one of them", field="adapters"
        )


def _whose(card: Card) -> set[str]:
    """Return the keys of those whom an adapter is for, one empty key for everybody."""
    if card.rung == "shared":
        return {""}
    return set(card.cluster) if card.rung == "cluster" else {owner_of(card) or ""} - {""}


def _folders(adapters: Adapters, cards: Iterable[Card]) -> dict[str, Path]:
    """Return the folders of adapters: an adapter that is replaced is in another one."""
    return {card.name: adapters.path(card.name) for card in cards}


def _measured(
    source: Source,
    inferrer: Inferrer,
    cards: Sequence[Card],
    model: Tunable,
    teaching: Teaching,
    tenant: str,
    done: Callable[[float], None],
) -> tuple[dict[str, tuple[Row, ...]], list[Measured]]:
    """Return everybody's choices to measure on, and how the rungs do on them."""
    # The side that a run taught is of no matter any more: what is asked about is what was chosen.
    asked = asked_anew(source, inferrer, cards, replace(teaching, training="chosen"), tenant=tenant)
    if not asked:
        raise InputError(
            "choices: there is none to measure on: that takes choices between two answers that no adapter has read,"
            " or people with four of them whom none was trained on",
            field="choices",
        )
    people = {person_key(tenant, user): user for user in asked}
    borrow = {user for user, consent in _consents(source, tenant, people.values()).items() if consent.borrow}
    plan = _Plan(cards, people, borrow)
    work = _Work(model, asked, sum(len(asked[user]) for users in plan.all() for user in users), done)
    prefix = work.margins(None, "", list(people.values()))
    held_out = {user: rows for user, rows in asked.items() if user in prefix}
    rungs = [Measured("prefix", prefix)]
    for rung in ("shared", "cluster", "own"):
        found: dict[str, list[float]] = {}
        named: dict[str, str] = {}
        for card, users in plan.of(rung):
            its = work.margins(card.name, card.system, [user for user in users if user in prefix])
            found |= its
            named |= dict.fromkeys(its, card.name)
        if found:
            rungs.append(Measured(rung, found, named, plan.seen(rung)))
    return held_out, rungs


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which people each adapter is measured on: `people` are those with choices, by key."""

    cards: Sequence[Card]
    people: Mapping[str, str]
    borrow: set[str]

    def of(self, rung: Given) -> list[tuple[Card, list[str]]]:
        """Return the adapters of a rung, and for each whom it is measured on: the newest where there are several."""
        cards = sorted((card for card in self.cards if card.rung == rung), key=lambda card: (card.at, card.name))
        given: dict[str, str] = {}
        for card in cards:
            for key in self.people if rung == "shared" else _whose(card) & self.people.keys():
                if rung != "cluster" or self.people[key] in self.borrow:
                    given[key] = card.name
        return [(card, sorted(self.people[key] for key, name in given.items() if name == card.name)) for card in cards]

    def all(self) -> list[list[str]]:
        """Return whom each measurement is made on, that of the base among them."""
        rungs: tuple[Given, ...] = ("shared", "cluster", "own")
        return [list(self.people.values()), *(users for rung in rungs for _, users in self.of(rung))]

    def seen(self, rung: Given) -> frozenset[str]:
        """Return those whose signals are in an adapter of a rung."""
        cards = [card for card in self.cards if card.rung == rung]
        return frozenset(user for key, user in self.people.items() if any(card.trained_on(key) for card in cards))


class _Work:
    """Asks the model, person by person, and tells how much of it is done."""

    def __init__(
        self,
        model: Tunable,
        asked: Mapping[str, Sequence[Row]],
        total: int,
        done: Callable[[float], None],
    ) -> None:
        self._model, self._asked, self._total, self._done = model, asked, max(1, total), done
        self._behind = 0

    def margins(self, adapter: str | None, system: str, users: Sequence[str]) -> dict[str, list[float]]:
        """Return the margins of those people for whom the model could say them.

        Raises:
            ModelError: it could for nobody, or cannot be asked any more.
        """
        model = self._model.with_adapter(adapter)
        found: dict[str, list[float]] = {}
        failed: list[ModelError] = []
        for user in users:
            rows = self._asked[user]
            try:
                found[user] = margins(model, rows, system=system)
            except ModelError as error:
                if error.final:
                    raise
                failed.append(error)
            self._behind += len(rows)
            self._done(self._behind / self._total)
        if failed and not found:
            raise failed[0]
        if failed:
            _log.warning(
                "%s of %s people are not measured with %s: %s",
                f"{len(failed):,}", f"{len(users):,}", adapter or "the base", fault(failed[0]),
            )  # fmt: skip
        return found


def _check_prefix(teaching: Teaching) -> None:
    kind = teaching.prefix.removeprefix("shuffled:")
    if kind == "pair":
        raise InputError(
            "prefix: the persona of a choice would tell what was chosen; measure with the kind persona", field="prefix"
        )
    needed = _OUTSIDE.get(kind)
    if needed is not None and needed not in teaching.texts:
        raise InputError(f"prefix: {teaching.prefix} takes texts ({needed}), which were not given", field="prefix")


def _consents(source: Source, tenant: str, users: Iterable[str]) -> dict[str, Consent]:
    """Return what people consent to, by user id; a file does not know, and so they consent to all."""
    return {user: source.consent(tenant, user) if isinstance(source, Memory) else Consent() for user in users}


def _climbed(
    held_out: Mapping[str, Sequence[Row]], rungs: Sequence[Measured], consents: Mapping[str, Consent], seed: int
) -> Climb:
    """Decide for those who lend among themselves, and for each of the others beside them, as if they were one more."""
    lenders = {user for user in held_out if consents[user].lend}
    found = _among(lenders, held_out, rungs, seed)
    alone: dict[str, Assignment] = {}
    for user in sorted(held_out.keys() - lenders):
        alone[user] = _among(lenders | {user}, held_out, rungs, seed).assignments[user]
    return replace(found, assignments={**found.assignments, **alone})


def _among(people: set[str], held_out: Mapping[str, Sequence[Row]], rungs: Sequence[Measured], seed: int) -> Climb:
    """Climb as if there were these people only."""
    theirs = [replace(one, margins={user: its for user, its in one.margins.items() if user in people}) for one in rungs]
    return climb({user: rows for user, rows in held_out.items() if user in people}, theirs, seed=seed)
