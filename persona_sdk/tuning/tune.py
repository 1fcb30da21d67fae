"""From people's signals to an adapter among the others, in one call; what `persona tune train` does."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from persona_sdk.errors import InputError
from persona_sdk.inference import Inferrer
from persona_sdk.memory import Memory, person_key
from persona_sdk.tuning.adapters import Adapters
from persona_sdk.tuning.base_record import record
from persona_sdk.tuning.building import Source
from persona_sdk.tuning.cards import Card, Rung
from persona_sdk.tuning.lessons import Lessons, Teaching, lessons
from persona_sdk.tuning.recipes import Recipe, Told, auto, preset
from persona_sdk.tuning.rows import SYSTEM, Row, RowFormat
from persona_sdk.tuning.unfinished import RUNS

if TYPE_CHECKING:
    from persona_sdk.tuning.training.machine import Machine
    from persona_sdk.tuning.training.run import Job

__all__ = ["Plan", "Tuned", "tune"]

_log = logging.getLogger("persona_sdk")

#: Rows that checkpoints are chosen by, at most: they are read again at every evaluation.
_VALIDATED = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """What to train, and how.

    `base` is a folder of transformers, a GGUF file, or "local". `recipe` is a preset's name, "auto" for what suits rows
    and machine (within `minutes`, if given), or a recipe. `own` names the one person whose adapter it is, `cluster` the
    people of a cluster; neither is everybody's. `parent` is the adapter to go on from. `dtype` None is what is fast
    here.
    """

    base: str = "local"
    recipe: str | Recipe = "auto"
    minutes: float | None = None
    teaching: Teaching = field(default_factory=Teaching)
    template: RowFormat = "chat"
    system: str = SYSTEM
    own: str | None = None
    cluster: tuple[str, ...] = ()
    parent: str | None = None
    max_length: int | None = None
    dtype: str | None = None
    save_memory: bool = False
    replace: bool = False

    @property
    def rung(self) -> Rung:
        """Whose adapter it is."""
        return "own" if self.own is not None else "cluster" if self.cluster else "shared"


@dataclass(frozen=True, slots=True)
class Tuned:
    """An adapter that was trained, the folder it is in, and the rows it was made of, those left out among them."""

    card: Card
    folder: Path
    lessons: Lessons


def tune(
    name: str,
    source: Source,
    inferrer: Inferrer,
    adapters: Adapters,
    plan: Plan | None = None,
    *,
    tenant: str = "default",
    told: Told = lambda *_: None,
) -> Tuned:
    """Train an adapter on what people chose, and put it among the others.

    Killed in its middle, the same call goes on where it was, if the same signals are there: what it needs for that is
    in the folder `.runs` of the adapters, and holds no text. Under `accelerate launch` all processes call it alike.

    Raises:
        InputError: there is nothing to learn from, or base, rows and recipe do not go together.
        MissingExtraError: what tuning takes is not installed.
        TuningError: the machine could not do it.
    """
    from persona_sdk.tuning.training.bases import prepare, require_tune  # noqa: PLC0415 - heavy, as all of training

    plan = plan or Plan()
    require_tune()
    if plan.own is not None and plan.cluster:
        raise InputError("own: is one person's own adapter, so there is no cluster", field="own")
    adapters.check(name, replace=plan.replace)
    if plan.parent:
        adapters.check_parent(plan.parent, tenant, plan.rung, plan.own and person_key(tenant, plan.own))
    since = adapters.begin()
    source, returned = _remembered(source, adapters, tenant)
    from persona_sdk.tuning.training.machine import look  # noqa: PLC0415 - imports torch
    from persona_sdk.tuning.training.run import shared, train  # noqa: PLC0415 - as above

    machine = shared(lambda: look(plan.dtype, saves_memory=plan.save_memory))

    def begun() -> tuple[Lessons, Job]:
        taught = _lessons(source, inferrer, plan, tenant)
        return taught, _job(name, plan, taught, adapters, machine, tenant)

    taught, job = shared(begun)
    work = adapters.folder / RUNS / name
    made, card = train(job, taught.train, _of_many(taught.validation), work, told)

    def added() -> Path:
        # A failure leaves the run, for the same call to add it; one that holds somebody forgotten `add` itself deletes.
        folder = adapters.add(made, card, replace=plan.replace, since=since, returned=returned)
        shutil.rmtree(work, ignore_errors=True)
        base = prepare(plan.base)
        record(adapters.folder, plan.base, base, card.base.sha256)
        return folder

    return Tuned(card, shared(added), taught)


def _remembered(source: Source, adapters: Adapters, tenant: str) -> tuple[Source, list[str]]:
    """Return where signals are read, without people who were forgotten, and the keys of those who came back.

    In memory there is somebody who was forgotten only if they came back; a file may be older than the forgetting.
    """
    if isinstance(source, Memory):
        back = adapters.forgotten(tenant, source.users(tenant))
        return source, [person_key(tenant, user) for user in sorted(back)]
    gone = adapters.forgotten(tenant, [history.user_id for history in source])
    if gone:
        _log.warning("%d people were forgotten, and are left out of what is learnt from", len(gone))
    return [history for history in source if history.user_id not in gone], []


def _lessons(source: Source, inferrer: Inferrer, plan: Plan, tenant: str) -> Lessons:
    taught = lessons(
        source,
        inferrer,
        _alone(plan.teaching) if plan.own is not None else plan.teaching,
        tenant=tenant,
        users=plan.cluster or None,
        own=plan.own,
    )
    asked = [plan.own] if plan.own is not None else plan.cluster
    if asked and not taught.train:
        whom = "this person" if plan.own is not None else "any of these people"
        raise InputError(
            f"nothing is known that {whom} chose, or they do not lend; ids are those of the signals", field="own"
        )
    return taught


def _of_many(rows: Sequence[Row]) -> list[Row]:
    """Return some rows to choose checkpoints by, of as many people as there are: one person must not choose them."""
    people: dict[str, list[Row]] = {}
    for row in rows:
        people.setdefault(row.example.user_id, []).append(row)
    turns = itertools.zip_longest(*people.values())
    return [row for turn in turns for row in turn if row is not None][:_VALIDATED]


def _alone(teaching: Teaching) -> Teaching:
    """Of one person no other people can be kept for testing: their own held-out choices tell."""
    return replace(teaching, validation=teaching.validation or 0.1, test=0.0)


def _job(name: str, plan: Plan, taught: Lessons, adapters: Adapters, machine: Machine, tenant: str) -> Job:
    from persona_sdk.tuning.training.run import Job, begun_recipe  # noqa: PLC0415 - imports torch

    recipe = begun_recipe(adapters.folder / RUNS / name) if plan.recipe == "auto" else None
    if recipe is None or recipe.name != "auto":
        recipe = _recipe(plan, taught, machine)
    return Job(
        name=name,
        base=plan.base,
        recipe=recipe,
        tenant=tenant,
        rung=plan.rung,
        parent=(adapters.path(plan.parent), adapters.card(plan.parent)) if plan.parent else None,
        cluster=tuple(person_key(tenant, user) for user in ([plan.own] if plan.own is not None else plan.cluster)),
        prefix="none" if plan.teaching.training == "none" else plan.teaching.prefix,
        system=plan.system,
        template=plan.template,
        seed=plan.teaching.seed,
        machine=machine,
    )


def _recipe(plan: Plan, taught: Lessons, machine: Machine) -> Recipe:
    recipe = plan.recipe if isinstance(plan.recipe, Recipe) else None
    if recipe is None and plan.recipe != "auto":
        recipe = preset(str(plan.recipe))
    if recipe is None:
        seconds = None
        if plan.minutes and taught.train:
            from persona_sdk.tuning.training.run import quiet  # noqa: PLC0415 - imports torch
            from persona_sdk.tuning.training.speed import seconds_per_row  # noqa: PLC0415 - as above

            with quiet():
                seconds = seconds_per_row(auto(taught.train), plan.base, taught.train, machine, plan.system)
        checked = len(taught.validation)
        recipe = auto(taught.train, minutes=plan.minutes, seconds_per_row=seconds, checked=checked)
    return recipe.model_copy(update={"max_length": plan.max_length or recipe.max_length})
