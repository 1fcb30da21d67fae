"""`tune choose` and `tune clusters`: who is given which adapter, and for whom another one might be trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from persona_integrations.cli import asking
from persona_integrations.cli.commands_tune_adapters import AdaptersOption, _open
from persona_integrations.cli.context import JsonOption, given
from persona_integrations.cli.progress import steps, waiting
from persona_integrations.cli.terminal import complain, emit_json, output
from persona_integrations.cli.tune_inputs import SeedOption, signals_from
from persona_sdk.errors import InputError

if TYPE_CHECKING:
    from persona_sdk.hooks import Registry
    from persona_sdk.tuning.choosing import Tunable

__all__ = ["choose", "clusters"]

_Names: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME", help="Which adapters to choose from.", show_default="the newest for each that may be used"
    ),
]
_From: TypeAlias = Annotated[
    Path | None,
    typer.Option("--from", metavar="FILE.jsonl", help="Signals, or TRL rows, to measure on.", show_default="memory"),
]
_Base: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="B", help="The model they were trained on.", show_default="the one trained last"),
]
_Model: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="SPEC", help="The model that answers with them.", show_default="tuned:DIR of --adapters"),
]
_Prefix: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="What the app says of a person in front: persona, or none, few_shot and others of `tune rows`.",
    ),
]
_DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Measure, and record nothing.")]
_K: TypeAlias = Annotated[
    int | None,
    typer.Option("--clusters", metavar="K", min=1, help="How many.", show_default="what divides them best"),
]


def choose(  # noqa: PLR0913, PLR0917 - one parameter per option
    ctx: typer.Context,
    names: _Names = None,
    source: _From = None,
    adapters: AdaptersOption = Path("adapters"),
    base: _Base = None,
    model: _Model = None,
    inferrer: asking.Inferrer = None,
    prefix: _Prefix = "persona",
    seed: SeedOption = 0,
    dry_run: _DryRun = False,
    json: JsonOption = False,
) -> None:
    """Measure every adapter on choices that none of them has read, and record who is given which.

    Somebody is given a shared adapter, a cluster's or their own only if it predicts their choices better than what is
    below it, down to the base model with a persona in front. Everybody else gets the tenant's default.
    """
    from persona_integrations.cli import render_tune_choose as render  # noqa: PLC0415 - loaded when used
    from persona_sdk.tuning import choosing  # noqa: PLC0415 - loaded when used
    from persona_sdk.tuning.lessons import Teaching  # noqa: PLC0415 - loaded when used

    opened = _open(adapters)
    settings = given(ctx).settings(inferrer=inferrer)
    wanted = choosing.Choosing(tuple(names or ()), Teaching(prefix=prefix, seed=seed), dry_run=dry_run)
    with signals_from(given(ctx), settings, source) as (signals, registry):
        cards = choosing.candidates(opened, settings.tenant, wanted.names)
        method = registry.inferrer(settings.inferrer, settings)
        tuned = _tunable(registry, model or f"tuned:{adapters}", base)
        with steps("measuring", 1000) as show:
            found = choosing.choose(
                signals,
                method,
                opened,
                tuned,
                wanted,
                tenant=settings.tenant,
                done=lambda share: show(round(1000 * share)),
            )
    if json:
        emit_json({**render.as_data(found, cards), "recorded": not dry_run})
        return
    render.climb(output(), found, cards)
    render.about(output(), settings.tenant, found, cards)
    output().print("Nothing was recorded (--dry-run)." if dry_run else f"Recorded in {adapters}.")


def clusters(ctx: typer.Context, count: _K = None, seed: SeedOption = 0, json: JsonOption = False) -> None:
    """Show groups of people who lean alike, as arguments for `persona tune train`.

    Only those who lend are in one, and of whom it is known what they lean to: `persona similar rebuild` learns it.
    """
    from persona_integrations.cli import render_tune_choose as render  # noqa: PLC0415 - loaded when used
    from persona_sdk.tuning.clusters import clusters as divided  # noqa: PLC0415 - loaded when used
    from persona_sdk.tuning.clusters import from_memory  # noqa: PLC0415 - loaded when used

    settings = given(ctx).settings()
    with signals_from(given(ctx), settings, None) as (memory, _), waiting("comparing people"):
        leanings = from_memory(memory, settings.tenant)  # type: ignore[arg-type] # it is no file
        try:
            found = divided(leanings, count, seed)
        except InputError as error:
            if error.field != "k":
                raise
            many = sum(any(one.values()) for one in leanings.values())
            raise InputError(
                f"--clusters: cannot be more than {many:,}, the people who lend and are known to lean to anything;"
                " `persona similar rebuild` learns what people lean to",
                field="--clusters",
            ) from None
    if json:
        emit_json([{"users": list(group)} for group in found])
        return
    untypable = render.clusters(output(), found)
    if untypable:
        complain(f"characters that cannot be shown are left out of {untypable:,} ids; --json has them")


def _tunable(registry: Registry, spec: str, base: str | None) -> Tunable:
    """Return the model to measure with, which fails where an adapter cannot be used.

    Raises:
        InputError: it has no adapters, cannot say how likely it finds an answer, or takes no base.
    """
    model: Any = registry.chat_model(spec)
    if not hasattr(model, "with_adapter") or not hasattr(model, "log_likelihoods"):
        raise InputError(
            "--model: this one has no adapters, or cannot say how likely it finds an answer; tuned:DIR does both",
            field="--model",
        )
    fields = getattr(type(model), "model_fields", {})
    if base is not None and "base" not in fields:
        raise InputError("--base: this model's cannot be changed; leave it out", field="--base")
    # A chat answers with the base where an adapter cannot be used; measured, that would be a wrong figure.
    update = {name: value for name, value in (("strict", True), ("base", base)) if value and name in fields}
    tuned: Tunable = model.model_copy(update=update) if update else model
    return tuned
