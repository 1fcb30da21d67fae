"""`evaluate choices` and `plugins`: how well it works, and what is installed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from persona_integrations.cli import render
from persona_integrations.cli.context import JsonOption, given
from persona_integrations.cli.progress import steps
from persona_integrations.cli.terminal import complain, emit_json, output

if TYPE_CHECKING:
    from persona_sdk.evaluation.choices import ChoiceReport, ChoiceRow
    from persona_sdk.inference import Inferrer
    from persona_sdk.language import Journal

__all__ = ["choices", "plugins"]


def plugins(ctx: typer.Context, json: JsonOption = False) -> None:
    """List the plugins found: what each adds, and why one is not loaded."""
    from persona_sdk.hooks import PluginHost  # noqa: PLC0415 - loaded when used

    statuses = PluginHost(given(ctx).settings()).statuses()
    if json:
        emit_json([asdict(status) for status in statuses])
    else:
        render.plugins(output(), statuses)


_File: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FILE.jsonl", help="Rows of choices, one a line.", show_default=False)
]
_Inferrers: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--inferrer",
        metavar="NAME",
        help="The inferrer to measure; several are measured beside each other.",
        show_default="the configured one",
    ),
]
_Model: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="SPEC", help="The model an inferrer may ask.", show_default="the configured one"),
]
_Embedder: TypeAlias = Annotated[
    str | None, typer.Option(metavar="SPEC", help="The embedder, if one is needed.", show_default="the configured one")
]
_Scorer: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="What `abductive` tests its sentences with.", show_default="embedding"),
]
_Source: TypeAlias = Annotated[
    list[str] | None, typer.Option("--source", metavar="NAME", help="Only rows of this source.", show_default="all")
]
_Users: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="N people of each source, drawn at random.", show_default="all")
]


def choices(  # noqa: PLR0913, PLR0917 - one parameter per option
    ctx: typer.Context,
    file: _File,
    json: JsonOption = False,
    inferrer: _Inferrers = None,
    model: _Model = None,
    scorer: _Scorer = None,
    embedder: _Embedder = None,
    source: _Source = None,
    users: _Users = None,
) -> None:
    """Predict each person's held-out choices without a persona, with theirs, and with somebody else's."""
    from persona_sdk.hooks import PluginHost  # noqa: PLC0415 - loaded when used
    from persona_sdk.journal import Remembered  # noqa: PLC0415 - loaded when used

    options = {"abductive": {"scorer": scorer}} if scorer else None
    settings = given(ctx).settings(model=model, embedder=embedder, options=options)
    registry = PluginHost(settings).registry
    names = list(dict.fromkeys(inferrer or [settings.inferrer]))
    methods = {name: registry.inferrer(name, settings) for name in names}
    rows = _rows(file, source, users)
    journal = Remembered()
    reports = {name: _measured(rows, method, journal, f"evaluating {name}") for name, method in methods.items()}
    if json:
        whole = {name: report.as_dict() for name, report in reports.items()}
        emit_json(whole[names[0]] if len(names) == 1 else {"inferrers": whole})
        return
    for name, report in reports.items():
        render.choices(output(), report.as_dict(), name if len(names) > 1 else "")
    render.about_choices(output())
    for left_out, count in reports[names[0]].skipped.items():
        complain(f"{left_out}: {count:,} rows were left out: they name no user, or there was nothing to predict")


def _rows(file: Path, sources: list[str] | None, users: int | None) -> list[ChoiceRow]:
    """Read the rows of some sources and people, naming bad lines.

    Raises:
        InputError: there are none.
    """
    from persona_sdk.errors import InputError  # noqa: PLC0415 - loaded when used
    from persona_sdk.evaluation.choices import draw_people, read_choice_rows  # noqa: PLC0415 - loaded when used

    rows, problems = read_choice_rows(file)
    for problem in problems[:20]:
        complain(f"line {problem.line}: {problem.message}")
    found = {row.source for row in rows}
    rows = [row for row in rows if not sources or row.source in sources]
    if not rows:
        known = (
            f" of --source {', '.join(sources)}; sources are {', '.join(sorted(found))}" if sources and found else ""
        )
        raise InputError(f"{file}: holds no row that can be evaluated{known}")
    return draw_people(rows, users) if users else rows


def _measured(rows: Sequence[ChoiceRow], method: Inferrer, journal: Journal, label: str) -> ChoiceReport:
    from persona_sdk.evaluation.choices import evaluate_choices  # noqa: PLC0415 - loaded when used

    sizes = Counter(row.source for row in rows)
    started: list[str] = []
    with steps(label, len(rows)) as done:

        def begun(source: str) -> None:
            done(sum(sizes[before] for before in started))
            started.append(source)

        return evaluate_choices(rows, method, progress=begun, journal=journal)
