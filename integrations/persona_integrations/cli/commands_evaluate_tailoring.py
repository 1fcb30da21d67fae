"""`evaluate tailoring`: does a model, tuned or not, prefer what people chose once it is told of them?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from persona_integrations.cli import asking
from persona_integrations.cli.context import JsonOption, given
from persona_integrations.cli.measuring import Work, measured
from persona_integrations.cli.progress import waiting
from persona_integrations.cli.terminal import complain, emit_json, output
from persona_integrations.cli.tune_inputs import texts_about
from persona_sdk.errors import InputError

if TYPE_CHECKING:
    from persona_sdk.evaluation.tailoring import TailoringReport
    from persona_sdk.evaluation.tailoring_cases import Cases
    from persona_sdk.evaluation.tailoring_tax import Neutral, TaxReport
    from persona_sdk.evaluation.tailoring_text import TextFigures
    from persona_sdk.hooks import Registry
    from persona_sdk.inference import Inferrer
    from persona_sdk.interchange import Problem
    from persona_sdk.settings import Settings
    from persona_sdk.tuning.cards import Card

__all__ = ["tailoring"]

#: The kinds of prefixes that are tried where none is named.
_USUAL = ("persona", "few_shot", "shuffled:persona")
#: Kinds that need texts, and those that cannot be had without reading the choices that are asked about.
_TEXTS = ("name", "gold", "written", "system")
_LEAKING = ("pair", "retrieved_similar")

_Source: TypeAlias = Annotated[
    Path | None, typer.Argument(metavar="SOURCE.jsonl", help="Signals, or TRL rows.", show_default="memory")
]
_Adapters: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The folder of adapters.", show_default="adapters, if --adapter is given"),
]
_Adapter: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="The adapter to measure; may be given again.", show_default="the only one"),
]
_Base: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="The model to measure; with adapters, the one they were trained on.",
        show_default="local; what the adapters' cards name",
    ),
]
_Prefix: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KIND",
        help="What is said of a person, as for `tune rows`; may be given again. Always tried: none.",
        show_default=", ".join(_USUAL),
    ),
]
_TextsOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--texts", metavar="KIND=FILE.json", help="Texts for the prefix name, gold, written or system."),
]
_Users: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="N people, drawn at random.", show_default="all")
]
_Choices: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Ask about N choices of each at most.", show_default="all")
]
_HeldOut: TypeAlias = Annotated[
    float, typer.Option(metavar="S", min=0.01, max=0.99, help="The share of each person's choices, the last ones.")
]
_Neutral: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE.jsonl", help="Prompts with good answers, to measure what tailoring costs.")
]
_NeutralPeople: TypeAlias = Annotated[
    int, typer.Option(metavar="N", min=1, help="Whose prefixes are tried on them: N people.")
]
_Generate: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Also let every model answer N questions.", show_default="none")
]
_MaxTokens: TypeAlias = Annotated[int, typer.Option(metavar="N", min=1, help="How long these answers may be.")]
_System: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="The system message where there is none.", show_default="the adapter's"),
]
_Seed: TypeAlias = Annotated[int, typer.Option(metavar="S", help="The seed of everything that is drawn.")]
_Plot: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE.png", help="Draw the report, too; needs the extra `plots`.")
]


def tailoring(  # noqa: PLR0913, PLR0917 - one parameter per option
    ctx: typer.Context,
    source: _Source = None,
    adapters: _Adapters = None,
    adapter: _Adapter = None,
    base: _Base = None,
    prefix: _Prefix = None,
    texts: _TextsOption = None,
    users: _Users = None,
    choices: _Choices = None,
    held_out: _HeldOut = 0.25,
    neutral: _Neutral = None,
    neutral_people: _NeutralPeople = 8,
    generate: _Generate = None,
    max_tokens: _MaxTokens = 200,
    system: _System = None,
    inferrer: asking.Inferrer = None,
    model: asking.Model = None,
    seed: _Seed = 0,
    plot: _Plot = None,
    json: JsonOption = False,
) -> None:
    """Measure how often a model finds the chosen answer likelier than the rejected one, told of the person or not.

    The last choices of each person are asked about; personas are inferred anew from the earlier ones. Beside accuracy:
    what each person gains, whether another's persona does as well, what is only length, and who is served less well.
    """
    from persona_sdk.evaluation.tailoring_cases import Draw  # noqa: PLC0415 - loaded when used
    from persona_sdk.hooks import PluginHost  # noqa: PLC0415 - loaded when used

    if plot:
        from persona_sdk.evaluation._plot import require_plots  # noqa: PLC0415 - loaded when used

        require_plots(plot)
    kinds = _kinds(prefix)
    told = _told(texts, kinds)
    prompts = _neutral(neutral) if neutral else []
    settings = given(ctx).settings(inferrer=inferrer, model=model)
    registry = PluginHost(settings).registry
    try:
        models = measured(registry, adapters, adapter, base)
        draw = Draw(users, choices, held_out, seed)
        with waiting("inferring personas"):
            cases, problems = _cases(ctx, registry, settings, source, models.cards, draw, kinds)
        cases = replace(cases, knowledge=replace(cases.knowledge, **told))
        work = Work(cases, kinds, models, models.system if system is None else system, seed)
        report = work.report()
        written = work.written(generate, max_tokens) if generate else None
        tax = work.tax(prompts, neutral_people) if prompts else None
    finally:
        registry.close()
    if plot:
        from persona_sdk.evaluation._plot_tailoring import plot_tailoring  # noqa: PLC0415 - loaded when used

        plot_tailoring(report, plot)
    _report(_Found(report, written, tax, cases, problems), json)


def _kinds(prefix: list[str] | None) -> list[str]:
    """Return the kinds of prefixes to try, by their full names.

    Raises:
        InputError: there is no such kind, or it cannot be measured without reading the choices that are asked about.
    """
    from persona_sdk.tuning.prefixes import Knowledge, prefixer  # noqa: PLC0415 - loaded when used

    kinds = list(dict.fromkeys(prefixer(kind, Knowledge()).label for kind in prefix or _USUAL))
    leaking = [kind for kind in kinds if kind.removeprefix("shuffled:") in _LEAKING]
    if leaking:
        raise InputError(
            f"--prefix: {leaking[0]} is made of the very choices that are asked about; measure another",
            field="--prefix",
        )
    return kinds


def _told(texts: list[str] | None, kinds: Sequence[str]) -> dict[str, Any]:
    """Return the texts that some kinds of prefixes need, as parts of a `Knowledge`.

    Raises:
        InputError: one is missing, or a file cannot be read or holds something else.
    """
    told: dict[str, Any] = {}
    named: set[str] = set()
    for text in texts or ():
        kind, _, file = text.partition("=")
        if kind not in _TEXTS or not file:
            raise InputError(f"--texts: must be KIND=FILE.json, KIND one of {', '.join(_TEXTS)}", field="--texts")
        told.update(texts_about(Path(file), kind))
        named.add(kind)
    for kind in (kind.removeprefix("shuffled:") for kind in kinds):
        if kind in _TEXTS and kind not in named:
            raise InputError(f"--texts: is needed for --prefix {kind}: --texts {kind}=FILE.json", field="--texts")
    return told


def _neutral(file: Path) -> list[Neutral]:
    from persona_sdk.evaluation.tailoring_tax import read_neutral_rows  # noqa: PLC0415 - loaded when used

    rows, problems = read_neutral_rows(file)
    _complain_of(problems, "--neutral: ")
    if not rows:
        raise InputError(f"{file}: holds no prompt with a good answer", field="--neutral")
    return rows


def _cases(
    ctx: typer.Context,
    registry: Registry,
    settings: Settings,
    source: Path | None,
    cards: Sequence[Card],
    draw: Any,
    kinds: Sequence[str],
) -> tuple[Cases, list[Problem]]:
    """Read what people chose, from a file or from memory, and divide it; also return the lines that were of no use."""
    from persona_sdk.evaluation.tailoring_cases import cases_of  # noqa: PLC0415 - loaded when used
    from persona_sdk.tuning.building import consents_of  # noqa: PLC0415 - loaded when used
    from persona_sdk.tuning.examples import (  # noqa: PLC0415 - loaded when used
        examples_from_memory,
        examples_of,
        histories_from_jsonl,
    )

    tenant = settings.tenant
    infers = any(kind.removeprefix("shuffled:") in ("persona", "retrieved") for kind in kinds)
    method: Inferrer | None = registry.inferrer(settings.inferrer, settings) if infers else None
    if source is not None:
        histories, problems = histories_from_jsonl(source, tenant=tenant)
        examples = [example for one in histories for example in examples_of(tenant, one.user_id, one.signals)]
        return cases_of(histories, examples, method, cards, draw), problems
    given(ctx).open().close()  # says so where there is no database, and makes none
    memory = registry.memory(settings.memory, settings)
    try:
        examples = examples_from_memory(memory, tenant)
        consents = consents_of(memory, tenant, {example.user_id for example in examples})
        return cases_of(memory, examples, method, cards, draw, consents=consents), []
    finally:
        memory.close()


@dataclass(frozen=True, slots=True)
class _Found:
    """Everything that was found."""

    report: TailoringReport
    written: dict[str, TextFigures] | None
    tax: TaxReport | None
    cases: Cases
    problems: list[Problem]

    def as_dict(self) -> dict[str, Any]:
        from persona_sdk.evaluation._figures import rounded  # noqa: PLC0415 - loaded when used

        return {
            **self.report.as_dict(),
            "learnt": self.cases.learnt,
            "without_persona": self.cases.without,
            "text": None if self.written is None else {a: rounded(asdict(t)) for a, t in self.written.items()},
            "tax": None if self.tax is None else self.tax.as_dict(),
            "problems": [{"line": p.line, "message": p.message} for p in self.problems],
        }


def _report(found: _Found, json: bool) -> None:
    _complain_of(found.problems, "")
    if json:
        emit_json(found.as_dict())
        return
    from persona_integrations.cli import render_tailoring as render  # noqa: PLC0415 - loaded when used

    render.tailoring(output(), found.report)
    if found.written is not None:
        render.written(output(), found.written)
    if found.tax is not None:
        render.tax(output(), found.tax)
    render.left_out(output(), found.cases)


def _complain_of(problems: Sequence[Problem], before: str) -> None:
    for problem in problems[:20]:
        complain(f"{before}line {problem.line}: {problem.message}")
    if len(problems) > 20:
        complain(f"{before}and {len(problems) - 20:,} more lines that could not be used")
