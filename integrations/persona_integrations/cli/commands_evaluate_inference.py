"""`evaluate inference`: do personas inferred from single pairs say why an answer was chosen?"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from persona_integrations.cli.context import JsonOption, given
from persona_integrations.cli.progress import steps
from persona_integrations.cli.terminal import complain, emit_json, output
from persona_sdk.errors import InputError

if TYPE_CHECKING:
    from persona_sdk.evaluation.inference import Setup
    from persona_sdk.inference import Inferrer
    from persona_sdk.settings import Settings
    from persona_sdk.signals import Choice

__all__ = ["inference"]

_DEFAULT_SCORER = "embedding"


_File: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FILE.jsonl", help="Rows of choices, one a line.", show_default=False)
]
_Inferrer: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="The inferrer to measure.", show_default="the configured one")
]
_Against: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="An inferrer to compare its personas with; needs --judge.")
]
_Model: TypeAlias = Annotated[
    str | None, typer.Option(metavar="SPEC", help="The model that infers.", show_default="the configured one")
]
_Judge: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="SPEC", help="The chat model that compares personas, and that the scorer asks."),
]
_Scorer: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What decides which answer suits a persona.",
        show_default=f"judge with --judge, else {_DEFAULT_SCORER}",
    ),
]
_Embedder: TypeAlias = Annotated[
    str | None, typer.Option(metavar="SPEC", help="The embedder, if one is needed.", show_default="the configured one")
]
_Limit: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Take this many pairs, drawn at random.", show_default="all")
]
_Seed: TypeAlias = Annotated[int, typer.Option(metavar="S", help="The seed of everything that is drawn.")]
_Plot: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE.png", help="Draw the report, too; needs the extra `plots`.")
]


def inference(  # noqa: PLR0913, PLR0917 - one parameter per option
    ctx: typer.Context,
    file: _File,
    inferrer: _Inferrer = None,
    against: _Against = None,
    model: _Model = None,
    judge: _Judge = None,
    scorer: _Scorer = None,
    embedder: _Embedder = None,
    limit: _Limit = None,
    seed: _Seed = 0,
    plot: _Plot = None,
    json: JsonOption = False,
) -> None:
    """Infer a persona for either answer of each pair, and judge whether it says why that answer was chosen.

    The measures are those of arXiv 2501.11549: accuracy, preference between personas, and words that tell them apart.
    """
    from persona_sdk.evaluation.inference import evaluate_inference  # noqa: PLC0415 - loaded when used

    if plot:
        from persona_sdk.evaluation._plot import require_plots  # noqa: PLC0415 - loaded when used

        require_plots(plot)
    settings = given(ctx).settings(inferrer=inferrer, model=model, embedder=embedder)
    method, setup = _prepared(settings, judge, scorer, against, seed)
    choices = _pairs(file, limit, seed)
    rounds = 2 + bool(setup.prefers) + 2 * bool(setup.against)
    with steps("evaluating", rounds * len(choices)) as done:
        report = evaluate_inference(choices, method, setup, progress=done)
    if plot:
        from persona_sdk.evaluation._plot import plot_inference  # noqa: PLC0415 - loaded when used

        plot_inference(report, plot)
    if json:
        emit_json(report.as_dict())
    else:
        from persona_integrations.cli import render_inference  # noqa: PLC0415 - loaded when used

        render_inference.inference(output(), report)


def _prepared(
    settings: Settings, judge: str | None, scorer: str | None, against: str | None, seed: int
) -> tuple[Inferrer, Setup]:
    """Find who infers and who judges.

    Raises:
        InputError: an inferrer cannot infer a persona from a single choice, or there is nobody to compare personas.
    """
    from persona_sdk.evaluation.inference import JUDGE, Setup, require_abduction  # noqa: PLC0415 - loaded when used
    from persona_sdk.evaluation.preference import preference_judge  # noqa: PLC0415 - loaded when used
    from persona_sdk.hooks import PluginHost  # noqa: PLC0415 - loaded when used

    if against and not judge:
        raise InputError("--against: needs a chat model to compare personas, named by --judge", field="--against")
    registry = PluginHost(settings).registry
    method = registry.inferrer(settings.inferrer, settings)
    require_abduction(method)
    other = registry.inferrer(against, settings) if against else None
    if other:
        require_abduction(other)
    # Who infers need not be who judges: a model is kind to its own work.
    judging = settings.model_copy(update={"model": judge or settings.model})
    setup = Setup(
        scorer=registry.statement_scorer(scorer or (JUDGE if judge else _DEFAULT_SCORER), judging),
        prefers=preference_judge(registry.chat_model(judge), judge) if judge else None,
        against=other,
        seed=seed,
    )
    return method, setup


def _pairs(file: Path, limit: int | None, seed: int) -> list[Choice]:
    """Read the pairs of a file, naming bad lines; with a limit, a random draw of them in the order of the file.

    Raises:
        InputError: the file cannot be read, or holds no pair.
    """
    from persona_sdk.evaluation.choices import read_choice_rows  # noqa: PLC0415 - loaded when used
    from persona_sdk.signals import choices_of  # noqa: PLC0415 - loaded when used

    rows, problems = read_choice_rows(file)
    for problem in problems[:20]:
        complain(f"line {problem.line}: {problem.message}")
    if len(problems) > 20:
        complain(f"and {len(problems) - 20:,} more lines that could not be used")
    choices = choices_of([row.signal for row in rows])
    if not choices:
        raise InputError(f"{file}: holds no pair of answers")
    if limit is None or limit >= len(choices):
        return choices
    kept = random.Random(seed).sample(range(len(choices)), limit)  # noqa: S311 - a seeded draw
    return [choices[i] for i in sorted(kept)]
