"""`evaluate choices` and `plugins`: how well it works, and what is installed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from persona_integrations.cli import render
from persona_integrations.cli.context import JsonOption, given
from persona_integrations.cli.progress import steps
from persona_integrations.cli.terminal import complain, emit_json, output
from persona_sdk.errors import InputError

if TYPE_CHECKING:
    from persona_sdk.evaluation.borrowing import BorrowingReport
    from persona_sdk.evaluation.choices import ChoiceReport, ChoiceRow
    from persona_sdk.evaluation.similar import Studies
    from persona_sdk.inference import Inferrer
    from persona_sdk.language import Journal

__all__ = ["SIMILAR", "begun", "choice_rows", "choices", "plugins"]

#: The plugin that is asked who is similar where the settings name none.
SIMILAR = "similar_personas"


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
_Similar: TypeAlias = Annotated[
    bool, typer.Option("--similar", help="Also predict from a person's first few choices, with and without borrowing.")
]
_Plot: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE.png", help="Draw what --similar measures, too; needs the extra `plots`."),
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
    similar: _Similar = False,
    plot: _Plot = None,
) -> None:
    """Predict each person's held-out choices without a persona, with theirs, and with somebody else's."""
    from persona_sdk.hooks import PluginHost  # noqa: PLC0415 - loaded when used
    from persona_sdk.journal import Remembered  # noqa: PLC0415 - loaded when used

    if plot:
        _require_plot(plot, similar=similar, one=len(set(inferrer or ())) < 2)
    options = {"abductive": {"scorer": scorer}} if scorer else None
    settings = given(ctx).settings(model=model, embedder=embedder, options=options)
    registry = PluginHost(settings).registry
    names = list(dict.fromkeys(inferrer or [settings.inferrer]))
    methods = {name: registry.inferrer(name, settings) for name in names}
    studies = registry.similar(settings.similar or SIMILAR, settings).study if similar else None
    rows = choice_rows(file, source, users)
    journal = Remembered()
    reports = {name: _measured(rows, method, journal, f"evaluating {name}") for name, method in methods.items()}
    curves = {}
    if studies:
        label = "borrowing, {}"
        curves = {name: _curves(rows, m, studies, journal, label.format(name)) for name, m in methods.items()}
    if plot:
        from persona_sdk.evaluation._plot_curves import plot_curves  # noqa: PLC0415 - loaded when used

        plot_curves(curves[names[0]], plot)
    if json:
        whole = {name: report.as_dict() for name, report in reports.items()}
        for name, found in curves.items():
            whole[name]["curves"] = found.as_dict()
        emit_json(whole[names[0]] if len(names) == 1 else {"inferrers": whole})
        return
    _print(reports, curves)


def _require_plot(plot: Path, *, similar: bool, one: bool) -> None:
    """Check that there will be something to draw, and that it can be drawn.

    Raises:
        InputError: there is nothing to draw, or no place for it.
        MissingExtraError: matplotlib is not installed.
    """
    from persona_sdk.evaluation._plot import require_plots  # noqa: PLC0415 - loaded when used

    if not similar:
        raise InputError("--plot: draws what --similar measures, so both are needed", field="--plot")
    if not one:
        raise InputError("--plot: draws one inferrer, so name one with --inferrer", field="--plot")
    require_plots(plot)


def _print(reports: Mapping[str, ChoiceReport], curves: Mapping[str, BorrowingReport]) -> None:
    several = len(reports) > 1
    for name, report in reports.items():
        render.choices(output(), report.as_dict(), name if several else "")
    render.about_choices(output())
    if curves:
        from persona_integrations.cli import render_similar  # noqa: PLC0415 - loaded when used

        for name, found in curves.items():
            render_similar.curves(output(), found, name if several else "")
        render_similar.about_curves(output())
    for left_out, count in next(iter(reports.values())).skipped.items():
        complain(f"{left_out}: {count:,} rows were left out: they name no user, or there was nothing to predict")


def choice_rows(file: Path, sources: list[str] | None, users: int | None) -> list[ChoiceRow]:
    """Read the rows of some sources and people, naming bad lines.

    Raises:
        InputError: there are none.
    """
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

    with steps(label, len(rows)) as done:
        return evaluate_choices(rows, method, progress=begun(rows, done), journal=journal)


def _curves(
    rows: Sequence[ChoiceRow], method: Inferrer, studies: Studies, journal: Journal, label: str
) -> BorrowingReport:
    from persona_sdk.evaluation.borrowing import evaluate_borrowing  # noqa: PLC0415 - loaded when used

    with steps(label, len(rows)) as done:
        return evaluate_borrowing(rows, method, studies, progress=begun(rows, done), journal=journal)


def begun(rows: Sequence[ChoiceRow], done: Callable[[int], None]) -> Callable[[str], None]:
    """Return what is told each source as it begins, and says how many rows were those of the sources before it."""
    sizes = Counter(row.source for row in rows)
    started: list[str] = []

    def begins(source: str) -> None:
        done(sum(sizes[before] for before in started))
        started.append(source)

    return begins
