"""`evaluate choices` and `plugins`: how well it works, and what is installed."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from persona_integrations.cli import render
from persona_integrations.cli.context import JsonOption, given
from persona_integrations.cli.progress import steps
from persona_integrations.cli.terminal import complain, emit_json, output

__all__ = ["choices", "plugins"]


def plugins(ctx: typer.Context, json: JsonOption = False) -> None:
    """List the plugins found: what each adds, and why one is not loaded."""
    from persona_sdk.hooks import PluginHost  # noqa: PLC0415 - loaded when used

    statuses = PluginHost(given(ctx).settings()).statuses()
    if json:
        emit_json([asdict(status) for status in statuses])
    else:
        render.plugins(output(), statuses)


def choices(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE.jsonl", help="Rows of choices, one a line.", show_default=False)
    ],
    json: JsonOption = False,
    inferrer: Annotated[
        str | None, typer.Option(metavar="NAME", help="The inferrer to measure.", show_default="the configured one")
    ] = None,
) -> None:
    """Predict each person's held-out choices without a persona, with theirs, and with somebody else's."""
    from persona_sdk.errors import InputError  # noqa: PLC0415 - loaded when used
    from persona_sdk.evaluation.choices import evaluate_choices, read_choice_rows  # noqa: PLC0415 - loaded when used
    from persona_sdk.hooks import PluginHost  # noqa: PLC0415 - loaded when used

    settings = given(ctx).settings(inferrer=inferrer)
    method = PluginHost(settings).registry.inferrer(settings.inferrer, settings)
    rows, problems = read_choice_rows(file)
    for problem in problems[:20]:
        complain(f"line {problem.line}: {problem.message}")
    if not rows:
        raise InputError(f"{file}: holds no row that can be evaluated")
    sizes = Counter(row.source for row in rows)
    started: list[str] = []
    with steps("evaluating", len(rows)) as done:

        def begun(source: str) -> None:
            done(sum(sizes[before] for before in started))
            started.append(source)

        report = evaluate_choices(rows, method, progress=begun)
    if json:
        emit_json(report.as_dict())
    else:
        render.choices(output(), report.as_dict())
        for source, count in report.skipped.items():
            complain(f"{source}: {count:,} rows were left out: they name no user, or there was nothing to predict")
