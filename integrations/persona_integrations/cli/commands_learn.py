"""`infer`, `import` and `refit`: from files of signals to personas."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from persona_integrations.cli import asking, progress
from persona_integrations.cli.context import JsonOption, check_user, given
from persona_integrations.cli.terminal import complain, emit_json, output

if TYPE_CHECKING:
    from persona_sdk.engine import Personalizer
    from persona_sdk.inference import Population
    from persona_sdk.recording import ImportReport

__all__ = ["import_file", "infer", "refit"]

#: How many broken lines are shown one by one.
_SHOWN = 20

FileArgument: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FILE.jsonl", help="Signals, or TRL rows: one JSON object a line.", show_default=False)
]
UserOption: TypeAlias = Annotated[
    str | None, typer.Option("--user", metavar="U", help="Whose signals rows without a user_id are.")
]
StrictOption: TypeAlias = Annotated[
    bool, typer.Option("--strict", help="Exit with 1 if any line could not be used; the others are kept all the same.")
]


InferStrictOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Exit with 1 if any line could not be used or anybody could not be learnt from; the others are kept.",
    ),
]


def infer(  # noqa: PLR0913, PLR0917 - one parameter per option
    ctx: typer.Context,
    file: FileArgument,
    user: UserOption = None,
    inferrer: asking.Inferrer = None,
    model: asking.Model = None,
    embedder: asking.Embedder = None,
    scorer: asking.Scorer = None,
    workers: asking.Workers = None,
    calls_per_minute: asking.CallsPerMinute = None,
    max_calls: asking.MaxCalls = None,
    max_cost: asking.MaxCost = None,
    input_price: asking.InputPrice = None,
    output_price: asking.OutputPrice = None,
    attempts: asking.Attempts = None,
    timeout: asking.Timeout = None,
    ray: asking.Ray = False,
    ray_address: asking.RayAddress = None,
    strict: InferStrictOption = False,
    json: JsonOption = False,
) -> None:
    """Import a file and learn everyone's persona.

    What people have in common is learnt first, if there are enough of them (five, with a hundred choices).
    Interrupted, killed or given the same file again, it goes on where it was: signals have ids, only people with new
    signals are learnt, and what a model has answered is not asked again.
    """
    asked = asking.Asked(
        inferrer, model, embedder, scorer, workers, calls_per_minute, max_calls, max_cost, input_price, output_price,
        attempts, timeout,
    )  # fmt: skip
    _infer(ctx, file, user, asked, _Ways(ray or ray_address is not None, ray_address, strict, json))


@dataclass(frozen=True, slots=True)
class _Ways:
    ray: bool
    ray_address: str | None
    strict: bool
    json: bool


def _infer(ctx: typer.Context, file: Path, user: str | None, asked: asking.Asked, ways: _Ways) -> None:
    from persona_integrations.cli.learning import Run, Watch  # noqa: PLC0415 - loaded when used

    named = given(ctx).settings(model=asked.model).model
    more = asked.settings(named)
    workers = asked.workers or (2 if ways.ray else asked.side_by_side(named))
    watch = Watch()
    with given(ctx).open(create=True, plugins=[watch], **more) as personalizer:
        report = _import(personalizer, file, user)
        run = Run(personalizer, watch, workers, ways.ray, ways.ray_address)
        run.learn()
        users = len(personalizer.users())
    if ways.json:
        emit_json({**_as_dict(report), "users": users, **run.as_dict()})
    else:
        _print_import(report)
        run.print()
    run.complain()
    if run.code:
        raise typer.Exit(run.code)
    _check(report, ways.strict)
    if ways.strict and run.failed:
        raise typer.Exit(1)


def import_file(
    ctx: typer.Context,
    file: FileArgument,
    user: UserOption = None,
    strict: StrictOption = False,
    json: JsonOption = False,
) -> None:
    """Import a file of signals without learning from it yet. Importing a file twice changes nothing."""
    with given(ctx).open(create=True) as personalizer:
        report = _import(personalizer, file, user)
    if json:
        emit_json(_as_dict(report))
    else:
        _print_import(report)
    _check(report, strict)


def refit(ctx: typer.Context, json: JsonOption = False) -> None:
    """Learn anew what everyone has in common, then everyone's persona from it."""
    with given(ctx).open() as personalizer:
        users = personalizer.users()
        population = _refit(personalizer, len(users))
        with progress.people("personas", len(users)) as track:
            for user in track(users):
                personalizer.learn(user)
    if json:
        emit_json({"users": len(users), "learnt": len(users), "population": _population(population)})
    elif population is None:
        output().print(f"Too few people or choices to say what they have in common. {_people(len(users))} learnt anew.")
    else:
        common = f"{population.users:,} people and {population.choices:,} choices"
        output().print(f"What {common} have in common was learnt anew, and so were {_people(len(users))}.")


def _import(personalizer: Personalizer, file: Path, user: str | None) -> ImportReport:
    size = 0
    with suppress(OSError):  # opening the file says better what is wrong with it
        size = file.stat().st_size
    with progress.steps("import", size) as done:
        return personalizer.import_jsonl(file, user_id=None if user is None else check_user(user), progress=done)


def _refit(personalizer: Personalizer, users: int) -> Population | None:
    with progress.people("what people have in common", users) as track:
        return personalizer.refit(track)


def _as_dict(report: ImportReport) -> dict[str, Any]:
    problems = [{"line": p.line, "message": p.message} for p in report.problems]
    return {"read": report.read, "new": report.new, "problems": problems}


def _population(population: Population | None) -> dict[str, Any] | None:
    return None if population is None else {"users": population.users, "choices": population.choices}


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"


def _print_import(report: ImportReport) -> None:
    known = report.read - report.new
    before = f", {known:,} known before" if known else ""
    output().print(f"{report.read:,} signals read: {report.new:,} new{before}.")


def _check(report: ImportReport, strict: bool) -> None:
    """Name the broken lines; they are an error if there was nothing else, or if the user is `strict`."""
    for problem in report.problems[:_SHOWN]:
        complain(f"line {problem.line}: {problem.message}")
    if len(report.problems) > _SHOWN:
        complain(f"and {len(report.problems) - _SHOWN:,} more lines that could not be used (--json lists them all)")
    if report.problems and (strict or not report.read):
        raise typer.Exit(1)
