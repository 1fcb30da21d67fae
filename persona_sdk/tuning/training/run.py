"""A training run from rows to a finished adapter with its card. Killed in its middle, it goes on where it was.

What a run needs to go on is in its work folder: `run.json` says what it is a run of, `N-METHOD/` holds a stage's
checkpoints, and its adapter once it is done. No text of anybody is written there: rows are made from memory again, and
if they came out differently (somebody was forgotten, say) the run cannot go on.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from filelock import FileLock, Timeout
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from persona_sdk.errors import InputError, PersonaError, TuningError
from persona_sdk.models import utc_now
from persona_sdk.tuning.cards import Base, Card, Rung, lineage, versions, write_card
from persona_sdk.tuning.recipes import Recipe, Stage, Told
from persona_sdk.tuning.rows import SYSTEM, Row, RowFormat, digest
from persona_sdk.tuning.splits import halves
from persona_sdk.tuning.training.bases import LOCAL, base_of, has_template, prepare
from persona_sdk.tuning.training.curves import figures, write_history
from persona_sdk.tuning.training.data import Text
from persona_sdk.tuning.training.machine import Machine, look
from persona_sdk.tuning.training.stages import Setting, run_stage
from persona_sdk.tuning.training.watching import Telling

__all__ = ["Job", "begun_recipe", "is_main", "quiet", "shared", "train"]

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Job:
    """What to train: the adapter's name and kind, the base, the recipe, and how rows become text.

    `parent` is the folder of an adapter to go on from, with its card. `system` is said in conversations without a
    system message, here and when the adapter is used.
    """

    name: str
    base: str
    recipe: Recipe
    tenant: str = "default"
    rung: Rung = "shared"
    parent: tuple[Path, Card] | None = None
    cluster: tuple[str, ...] = ()
    prefix: str = "persona"
    system: str = SYSTEM
    template: RowFormat = "chat"
    seed: int = 0
    machine: Machine = field(default_factory=look)


def train(
    job: Job,
    rows: Sequence[Row],
    validation: Sequence[Row],
    work: Path,
    told: Told = lambda *_: None,
) -> tuple[Path, Card]:
    """Train an adapter and return its folder, under `work`, with its card; started again after a kill, it goes on.

    Checkpoints are chosen by `validation`, rows of people who are not in `rows`; without any, the last one is used.

    Raises:
        InputError: the rows, the base or the recipe do not go together; or `work` holds a run of something else.
        TuningError: the machine could not do it; the message says what to change.
    """
    folder = prepare(job.base)
    base = base_of(folder)
    _check(job, rows, base)
    with _alone(work), quiet(), _named_faults(job):
        begun = _begin(job, rows, validation, base, work)
        tokenizer = _tokenizer(folder, job)
        setting = Setting(job.recipe, job.machine, Text(tokenizer, job.template, job.system, job.seed))
        last = job.parent[0] if job.parent else None
        history: dict[str, list[dict[str, Any]]] = {}
        parts = _parts(job, rows)
        for number, (stage, part) in enumerate(parts, start=1):
            done = work / f"{number}-{stage.method}"
            if not (done / "adapter").is_dir():
                model = _model(folder, last, job.machine)
                telling = Telling(_telling(told, number, len(job.recipe.stages), stage.method))
                run_stage(stage, model, part, validation, setting, done, [telling])
                del model
                _release(job.machine)
            history[done.name] = json.loads((done / "adapter" / "history.json").read_text(encoding="utf-8"))
            last = done / "adapter"
    read = {row.example.id: row for _, part in parts for row in part}
    card = _card(job, base, list(read.values()), validation, begun).model_copy(update={"metrics": figures(history)})
    if last is None or not is_main():
        return work / "finished", card
    return _finish(work, last, card, history), card


def begun_recipe(work: Path) -> Recipe | None:
    """Return the recipe of the unfinished run in a work folder, None if there is none: what is tried may vary."""
    try:
        return Recipe.model_validate(json.loads((work / "run.json").read_text(encoding="utf-8"))["recipe"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def is_main() -> bool:
    """Whether this process, of those that train together, is the one that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def shared(make: Callable[[], Made]) -> Made:
    """Return what the main process makes, in all that train together: what is drawn, timed or asked of models varies.

    What it raises is raised in all of them. Nobody gets it before everybody has asked for it.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return make()
    from accelerate import PartialState  # noqa: PLC0415 - several processes are the exception
    from accelerate.utils import broadcast_object_list  # noqa: PLC0415 - as above

    PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()
    made: list[Any] = [None, None]
    if is_main():
        try:
            made[0] = make()
        except PersonaError as error:
            made[1] = error
    broadcast_object_list(made, from_process=0)
    if made[1] is not None:
        raise made[1]
    return cast("Made", made[0])


def _check(job: Job, rows: Sequence[Row], base: Base) -> None:
    if not rows:
        raise InputError(
            "rows: there are none to learn from; see `persona tune rows` for what is left out", field="rows"
        )
    people = {(row.example.origin.tenant, row.example.user_id) for row in rows}
    if job.rung == "shared" and len(people) == 1:
        raise InputError(
            "rows: all are of one person, so nothing shows whether the adapter would suit anybody else; add people, or "
            "train one of their own (rung own)",
            field="rows",
        )
    if job.parent and job.parent[1].base.sha256 != base.sha256:
        raise InputError(
            f"parent: {job.parent[1].name!r} was trained on {job.parent[1].base.name!r}, not on the base {base.name!r}",
            field="parent",
        )


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Keep other commands out of a run's folder, not the processes that train together.

    Raises:
        InputError: another command is training there.
    """
    if not is_main():
        yield
        return
    work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work / "lock", timeout=0):
            yield
    except Timeout:
        raise InputError(
            f"{work}: is being trained in by another process; wait for it, or choose another name"
        ) from None


def _begin(job: Job, rows: Sequence[Row], validation: Sequence[Row], base: Base, work: Path) -> datetime:
    """Note what this is a run of, or check that it is a run of the same; return when it was begun.

    Raises:
        InputError: `work` holds a run of something else.
    """
    parent = job.parent[1].digest if job.parent else None
    mine = {
        "recipe": job.recipe.model_dump(mode="json"),
        "rows": digest(rows),
        "validation": digest(validation),
        "base": base.sha256,
        "parent": parent,
        "seed": job.seed,
        "text": [job.prefix, job.system, job.template],
        "dtype": job.machine.dtype,
        # So that whoever is forgotten is forgotten by an unfinished run, too.
        "keys": sorted(
            {one.key for one in lineage([*rows, *validation], job.parent[1].people if job.parent else ())}
            | set(job.cluster)
        ),
    }
    file = work / "run.json"
    if file.is_file():
        noted = _noted(file)
        changed = [name for name, value in mine.items() if noted.get(name) != value]
        if changed:
            raise InputError(
                f"{work}: holds an unfinished run whose {', '.join(changed)} differ from this one's; delete the folder "
                "to begin anew",
                field="work",
            )
        return datetime.fromisoformat(noted["begun"])
    begun = utc_now()
    work.mkdir(parents=True, exist_ok=True)
    part = work / f"run.json.{os.getpid()}"
    part.write_text(json.dumps({**mine, "begun": begun.isoformat()}, indent=2), encoding="utf-8")
    part.rename(file)
    return begun


def _noted(file: Path) -> dict[str, Any]:
    """Read what a work folder is a run of; what is damaged is a run of nothing.

    Raises:
        InputError: it cannot be read.
    """
    try:
        noted = json.loads(file.read_text(encoding="utf-8"))
        datetime.fromisoformat(noted["begun"])
        return dict(noted)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{file}: is damaged; delete its folder to begin anew", field="work") from None


def _parts(job: Job, rows: Sequence[Row]) -> list[tuple[Stage, Sequence[Row]]]:
    """Return each stage with the rows it learns from: disjoint halves, if the recipe has it so.

    A stage of less than an epoch is given only the rows it gets to: a reference would be computed for all of them.
    """
    stages = job.recipe.stages
    parts: Sequence[Sequence[Row]] = [rows] * len(stages)
    if job.recipe.halves and len(stages) == 2:
        parts = halves(rows, job.seed)
    return [_drawn(stage, part, job.seed) for stage, part in zip(stages, parts, strict=True)]


def _drawn(stage: Stage, rows: Sequence[Row], seed: int) -> tuple[Stage, Sequence[Row]]:
    if stage.epochs >= 1:
        return stage, rows
    count = min(len(rows), max(stage.batch, round(stage.epochs * len(rows))))
    places = sorted(random.Random(seed).sample(range(len(rows)), count))  # noqa: S311 - a seeded draw
    return stage.model_copy(update={"epochs": 1.0}), [rows[place] for place in places]


def _tokenizer(folder: Path, job: Job) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
    if job.template == "chat" and not has_template(tokenizer):
        raise InputError(
            f"{folder.name}: has no chat template, so conversations cannot be written for it; use an instruct model, "
            "or rows as plain text (--template plain)",
            field="base",
        )
    if job.template == "plain" and has_template(tokenizer):
        raise InputError(
            f"{folder.name}: has a chat template, and is answered with it, so rows as plain text would teach it "
            "another form than it is used in; leave --template out",
            field="template",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _model(folder: Path, adapter: Path | None, machine: Machine) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, machine.dtype), **LOCAL)
    if adapter is None:
        return model
    return PeftModel.from_pretrained(model, str(adapter), is_trainable=True)


def _release(machine: Machine) -> None:
    """Free what a stage held: its trainer is in circles, and two bases may not fit."""
    gc.collect()
    if machine.device == "cuda":
        torch.cuda.empty_cache()


def _telling(told: Told, number: int, stages: int, method: str) -> Callable[[int, int], None]:
    return lambda step, steps: told(number, stages, method, step, steps)


def _card(job: Job, base: Base, rows: Sequence[Row], validation: Sequence[Row], begun: datetime) -> Card:
    """Return the card of what learnt from these rows, and was chosen by those for validation."""
    now = utc_now()
    return Card(
        name=job.name,
        tenant=job.tenant,
        rung=job.rung,
        parent=job.parent[1].name if job.parent else None,
        base=base,
        template=job.template,
        prefix=job.prefix,
        system=job.system,
        rank=job.parent[1].rank if job.parent else job.recipe.rank,
        recipe=job.recipe.model_dump(mode="json"),
        rows={"train": len(rows), "validation": len(validation)},
        digest=digest(rows),
        # Who chose the checkpoint left a trace in the adapter, too.
        people=lineage([*rows, *validation], job.parent[1].people if job.parent else ()),
        cluster=job.cluster,
        versions=versions(),
        seed=job.seed,
        seconds=(now - begun).total_seconds(),
        at=now,
    )


def _finish(work: Path, adapter: Path, card: Card, history: Mapping[str, Any]) -> Path:
    finished, made = work / "finished", work / "finished.part"
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(adapter, made)
    write_card(made, card)
    write_history(made, history)
    shutil.rmtree(finished, ignore_errors=True)
    made.rename(finished)
    return finished


@contextmanager
def _named_faults(job: Job) -> Iterator[None]:
    """Say what to change when the machine is too small."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TuningError(_too_big(job)) from error
    except RuntimeError as error:
        if "out of memory" in str(error).lower() or "can't allocate" in str(error).lower():
            raise TuningError(_too_big(job)) from error
        raise


def _too_big(job: Job) -> str:
    instead = "a smaller base" if job.machine.saves_memory else "--save-memory (slower)"
    return (
        f"out of memory on {job.machine.device} while training {job.name!r}: try {instead}, a smaller rank or batch in "
        "the recipe, or a lower --max-length; what was trained so far is kept"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' own progress bars and remarks off the terminal: progress is told, and shown, once."""
    import datasets  # noqa: PLC0415 - only to silence it
    from transformers.utils import logging as remarks  # noqa: PLC0415 - as above

    bars, level = remarks.is_progress_bar_enabled(), remarks.get_verbosity()
    shown = not datasets.are_progress_bars_disabled()
    before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    remarks.disable_progress_bar()
    remarks.set_verbosity_error()
    trl = logging.getLogger("trl")
    trl_level = trl.level
    trl.setLevel(logging.ERROR)  # its warnings quote prompts
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between these libraries, and none of the user's business
            yield
    finally:
        if before is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = before
        remarks.set_verbosity(level)
        trl.setLevel(trl_level)
        if bars:
            remarks.enable_progress_bar()
        if shown:
            datasets.enable_progress_bars()
