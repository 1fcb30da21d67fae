"""`evaluate similar`: are the people who are found to be similar truly similar?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from persona_integrations.cli.commands_evaluate import SIMILAR, begun, choice_rows
from persona_integrations.cli.context import JsonOption, given
from persona_integrations.cli.progress import steps
from persona_integrations.cli.terminal import complain, emit_json, output
from persona_sdk.errors import InputError

if TYPE_CHECKING:
    from persona_sdk.evaluation.similar import SimilarityRow

__all__ = ["similar"]

_Pairs: TypeAlias = Annotated[
    Path, typer.Argument(metavar="PAIRS.jsonl", help="Rows of choices, one a line.", show_default=False)
]
_Similarity: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="USER_SIMILARITY.jsonl", help="Who is truly most and least similar to whom.", show_default=False
    ),
]
_Inferrer: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="The inferrer that leans.", show_default="the configured one")
]
_Embedder: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="SPEC", help="The embedder of people's sentences.", show_default="the configured one"),
]
_Source: TypeAlias = Annotated[
    list[str] | None, typer.Option("--source", metavar="NAME", help="Only rows of this source.", show_default="all")
]


def similar(
    ctx: typer.Context,
    pairs: _Pairs,
    user_similarity: _Similarity,
    json: JsonOption = False,
    inferrer: _Inferrer = None,
    embedder: _Embedder = None,
    source: _Source = None,
) -> None:
    """Rank people by how similar they are found to be, and compare that with who truly is.

    Both files name people by their ids; similarity is worked out from the choices of fold `fit` only.
    """
    from persona_sdk.evaluation.similar import evaluate_similar  # noqa: PLC0415 - loaded when used
    from persona_sdk.hooks import PluginHost  # noqa: PLC0415 - loaded when used

    settings = given(ctx).settings(inferrer=inferrer, embedder=embedder)
    registry = PluginHost(settings).registry
    method = registry.inferrer(settings.inferrer, settings)
    studies = registry.similar(settings.similar or SIMILAR, settings).study
    vectors = registry.embedder(settings.embedder) if settings.embedder else None
    truth = _similarity(user_similarity, source)
    rows = choice_rows(pairs, list({row.source for row in truth}), None)
    with steps("comparing people", len(rows)) as done:
        report = evaluate_similar(rows, truth, method, studies, embedder=vectors, progress=begun(rows, done))
    if json:
        emit_json(report.as_dict())
        return
    from persona_integrations.cli import render_similar  # noqa: PLC0415 - loaded when used

    render_similar.similar(output(), report)
    for unknown, count in report.skipped.items():
        complain(f"{unknown}: {count:,} rows were left out: nobody's choices are known")


def _similarity(file: Path, sources: list[str] | None) -> Sequence[SimilarityRow]:
    """Read who is similar to whom, naming bad lines.

    Raises:
        InputError: the file cannot be read, or nothing in it is of these sources.
    """
    from persona_sdk.evaluation.similar import read_similarity_rows  # noqa: PLC0415 - loaded when used

    rows, problems = read_similarity_rows(file)
    for problem in problems[:20]:
        complain(f"line {problem.line}: {problem.message}")
    if len(problems) > 20:
        complain(f"and {len(problems) - 20:,} more lines that could not be used")
    rows = [row for row in rows if not sources or row.source in sources]
    if not rows:
        raise InputError(f"{file}: holds no row of who is similar to whom{' in these sources' if sources else ''}")
    return rows
