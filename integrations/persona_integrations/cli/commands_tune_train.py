"""`tune train`: from what people chose to an adapter with its lineage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, cast, get_args

import typer

from persona_integrations.cli import asking
from persona_integrations.cli.commands_tune_adapters import AdaptersOption
from persona_integrations.cli.context import JsonOption, check_user, given
from persona_integrations.cli.progress import training as shown
from persona_integrations.cli.terminal import emit_json, one_line, output
from persona_integrations.cli.tune_inputs import SeedOption, TemplateOption, TrainingOption, signals_from
from persona_sdk.errors import InputError

if TYPE_CHECKING:
    from persona_sdk.tuning.tune import Tuned

__all__ = ["train"]

_Name: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME", help="What the adapter will be called.", show_default=False)
]
_From: TypeAlias = Annotated[
    Path | None,
    typer.Option("--from", metavar="FILE.jsonl", help="Signals, or TRL rows, to learn from.", show_default="memory"),
]
_Base: TypeAlias = Annotated[
    str,
    typer.Option(metavar="B", help="The model to tune: a folder of transformers, a GGUF file, or local (a small one)."),
]
_Recipe: TypeAlias = Annotated[
    str, typer.Option(metavar="R", help="auto (for these rows and this machine), pt, wikipersonas or aloe.")
]
_Minutes: TypeAlias = Annotated[
    float | None,
    typer.Option(metavar="M", min=0.1, help="With auto: about how long it may take.", show_default="as it needs"),
]
_Prefix: TypeAlias = Annotated[
    str, typer.Option(metavar="KIND", help="What is said of the person, as in `tune rows`; none for nothing.")
]
_Own: TypeAlias = Annotated[
    str | None, typer.Option("--for", metavar="USER", help="One person's own adapter, from their choices alone.")
]
_Cluster: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--cluster", metavar="USER", help="A cluster's adapter: a person of it; given again for each."),
]
_Parent: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="The adapter to go on from.", show_default="the base")
]
_System: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Said in conversations without a system message.", show_default="a plain one"),
]
_Length: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=16, help="Most tokens of a row.", show_default="the longest row's")
]
_Dtype: TypeAlias = Annotated[
    str | None, typer.Option(metavar="D", help="float32 or bfloat16.", show_default="what is fast here")
]
_Save: TypeAlias = Annotated[bool, typer.Option("--save-memory", help="Take less memory, and longer.")]
_Replace: TypeAlias = Annotated[bool, typer.Option("--replace", help="Take the place of an adapter of this name.")]


def train(  # noqa: PLR0913, PLR0917 - one parameter per option
    ctx: typer.Context,
    name: _Name,
    source: _From = None,
    base: _Base = "local",
    adapters: AdaptersOption = Path("adapters"),
    recipe: _Recipe = "auto",
    minutes: _Minutes = None,
    prefix: _Prefix = "persona",
    training: TrainingOption = "chosen",
    template: TemplateOption = "chat",
    own: _Own = None,
    cluster: _Cluster = None,
    parent: _Parent = None,
    inferrer: asking.Inferrer = None,
    model: asking.Model = None,
    system: _System = None,
    max_length: _Length = None,
    dtype: _Dtype = None,
    save_memory: _Save = False,
    seed: SeedOption = 0,
    replace: _Replace = False,
    json: JsonOption = False,
) -> None:
    """Tune a model on what people chose: an adapter that everybody shares, a cluster's, or one person's own.

    A fifth of the people, and the last choices of the others, are left out, so that it can be measured. Killed in its
    middle, the same command goes on where it was. With many GPUs, put `accelerate launch -m persona_integrations.cli`
    in the place of `persona`.
    """
    from persona_sdk.tuning.adapters import Adapters  # noqa: PLC0415 - loaded when used
    from persona_sdk.tuning.lessons import Teaching  # noqa: PLC0415 - loaded when used
    from persona_sdk.tuning.rows import SYSTEM  # noqa: PLC0415 - loaded when used
    from persona_sdk.tuning.tune import Plan, tune  # noqa: PLC0415 - loaded when used

    _check(training, template, dtype)
    plan = Plan(
        base=base,
        recipe=recipe,
        minutes=minutes,
        teaching=Teaching(prefix=prefix, training=cast("Any", training), seed=seed),
        template=cast("Any", template),
        system=SYSTEM if system is None else system,
        own=None if own is None else check_user(own),
        cluster=tuple(check_user(user) for user in cluster or ()),
        parent=parent,
        max_length=max_length,
        dtype=dtype,
        save_memory=save_memory,
        replace=replace,
    )
    settings = given(ctx).settings(inferrer=inferrer, model=model)
    with signals_from(given(ctx), settings, source, own) as (signals, registry):
        method = registry.inferrer(settings.inferrer, settings)
        with shown(name) as told:
            made = tune(name, signals, method, Adapters(adapters), plan, tenant=settings.tenant, told=told)
    _report(made, json)


def _check(training: str, template: str, dtype: str | None) -> None:
    """Raise for what cannot be meant, before anything is read."""
    from persona_sdk.tuning.building import Training  # noqa: PLC0415 - loaded when used
    from persona_sdk.tuning.rows import RowFormat  # noqa: PLC0415 - loaded when used

    for option, value, allowed in (
        ("--training", training, get_args(Training)),
        ("--template", template, get_args(RowFormat)),
        ("--dtype", dtype or "float32", ("float32", "bfloat16")),
    ):
        if value not in allowed:
            raise InputError(f"{option}: must be one of {', '.join(allowed)}", field=option)


def _report(made: Tuned, json: bool) -> None:
    from persona_sdk.tuning.recipes import Recipe  # noqa: PLC0415 - loaded when used

    card, taught = made.card, made.lessons
    stages = Recipe.model_validate(card.recipe).methods
    left_out = {"held_out": len(taught.held_out), "validation": len(taught.validation), "test": len(taught.test)}
    if json:
        emit_json({"folder": str(made.folder), "left_out": left_out, "card": card.model_dump(mode="json")})
        return
    console = output()
    minutes = f"{card.seconds / 60:.0f} min" if card.seconds >= 90 else f"{card.seconds:.0f} s"
    console.print(
        f"{card.name}: {card.rows['train']:,} rows of {len(card.people):,} people, {stages} in {minutes}, "
        f"rank {card.rank}, base {one_line(card.base.name, 80)}"
    )
    for name, value in sorted(card.metrics.items()):
        if "validation" in name and value is not None:
            stage, what = name.split("/", 1)
            console.print(f"  {stage}: {what.removeprefix('validation_')} on people left out {value:.3g}")
    console.print(f"In {one_line(str(made.folder))}, with its card and curves.png.")
    console.print(
        f"Next: `persona tune choose` measures it on {left_out['held_out'] + left_out['test']:,} choices left out."
    )
