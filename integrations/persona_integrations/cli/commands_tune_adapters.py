"""`tune adapters`, `tune export`, `tune policy`, `tune forgotten` and `tune remove`: what was trained, and on whom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from persona_integrations.cli.context import JsonOption, given
from persona_integrations.cli.progress import waiting
from persona_integrations.cli.terminal import emit_json, error_console, one_line, output
from persona_sdk.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from persona_sdk.tuning.adapters import Adapters
    from persona_sdk.tuning.forgetting import Policy

__all__ = ["AdaptersOption", "adapters", "export", "forgotten", "policy", "remove"]

AdaptersOption: TypeAlias = Annotated[
    Path, typer.Option("--adapters", metavar="DIR", help="The folder that adapters are kept in.")
]
_FOLDER = Path("adapters")
_POLICIES = "mark, retrain or drop"


def adapters(ctx: typer.Context, folder: AdaptersOption = _FOLDER, json: JsonOption = False) -> None:
    """List the adapters: for whom, trained on how many people, how good, and whether they may be used.

    What is wrong in the folder is listed as well.
    """
    from persona_integrations.cli import render_tune_adapters as render  # noqa: PLC0415 - loaded when used

    opened = _open(folder)
    listed, problems, tenant = opened.listed(), opened.problems(), given(ctx).settings().tenant
    default, held = opened.default(tenant), opened.policy()
    if json:
        emit_json(
            {
                "adapters": [render.as_data(one) for one in listed],
                "default": None if default is None else default.model_dump(mode="json"),
                "policy": held,
                "problems": problems,
            }
        )
        return
    render.adapters(output(), listed)
    render.about(output(), tenant, default, problems)


def export(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to; a folder for each adapter.")],
    base: Annotated[
        str, typer.Option("--base", metavar="MODEL", help="The base model, by the name the server serves it under.")
    ],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Which.", show_default="all that may be used")
    ] = None,
    seen_as: Annotated[
        Path | None,
        typer.Option("--seen-as", metavar="DIR", help="Where the server sees that folder.", show_default="--out"),
    ] = None,
    cards: Annotated[bool, typer.Option("--cards", help="With the cards, which hold the keys of people.")] = False,
    folder: AdaptersOption = _FOLDER,
    json: JsonOption = False,
) -> None:
    """Copy adapters to where a server of many adapters loads them from, and print how vLLM is started with them."""
    from persona_sdk.tuning.exporting import export as exported  # noqa: PLC0415 - loaded when used

    opened = _open(folder)
    wanted = names or [one.name for one in opened.listed() if one.usable]
    with waiting("copying"):
        made = exported(opened, wanted, out, base=base, seen_as=seen_as, cards=cards)
    if json:
        emit_json(made.model_dump(mode="json"))
        return
    error_console().print(f"{_many(len(set(wanted)))} copied to {one_line(str(out))}; start vLLM with")
    output().print(one_line(made.command, 100_000), soft_wrap=True)


def policy(
    ctx: typer.Context,
    chosen: Annotated[
        str | None, typer.Argument(metavar="POLICY", help=f"What from now on: {_POLICIES}.", show_default=False)
    ] = None,
    folder: AdaptersOption = _FOLDER,
    json: JsonOption = False,
) -> None:
    """Show or set what becomes of adapters when somebody whose signals are in them is forgotten.

    mark: they stay in use, and are listed. retrain: nobody is given them until they were trained anew, and they are
    listed. drop: they are deleted at once.
    """
    from persona_sdk.tuning.adapters import Adapters  # noqa: PLC0415 - loaded when used

    opened = Adapters(folder)
    if chosen is not None:
        opened.set_policy(_policy(chosen))
    held = opened.policy()
    if json:
        emit_json({"policy": held})
    else:
        output().print(f"{held}: {_MEANING[held]}")


def forgotten(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Which.", show_default="all of them")
    ] = None,
    apply: Annotated[
        str | None, typer.Option("--apply", metavar="POLICY", help=f"What becomes of them now: {_POLICIES}.")
    ] = None,
    folder: AdaptersOption = _FOLDER,
    json: JsonOption = False,
) -> None:
    """List the adapters that hold signals of people who were forgotten, and decide what becomes of them."""
    from persona_integrations.cli import render_tune_adapters as render  # noqa: PLC0415 - loaded when used

    opened = _open(folder)
    if apply is not None:
        with waiting("working"):
            done = opened.settle(_policy(apply), names or None)
        if json:
            emit_json([one.model_dump(mode="json") for one in done])
        else:
            render.affected(output(), done)
        return
    listed = [one for one in opened.listed() if one.forgotten and (not names or one.name in names)]
    if json:
        emit_json([render.as_data(one) for one in listed])
    else:
        render.forgotten(output(), listed)


def remove(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The adapter's name.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    folder: AdaptersOption = _FOLDER,
) -> None:
    """Delete an adapter. People it was given to are given what was found good for them below it."""
    opened = _open(folder)
    opened.path(name)
    if not yes:
        typer.confirm(f"Delete the adapter {one_line(name)}?", abort=True, err=True)
    opened.remove(name)
    output().print(f"Deleted: {one_line(name)}.")


_MEANING: dict[Policy, str] = {
    "mark": "adapters that hold a forgotten person's signals stay in use, and are listed",
    "retrain": "adapters that hold a forgotten person's signals are given to nobody until they were trained anew",
    "drop": "adapters that hold a forgotten person's signals are deleted at once",
}


def _open(folder: Path) -> Adapters:
    """Return the adapters of a folder that has been used as one."""
    from persona_sdk.tuning.adapters import Adapters  # noqa: PLC0415 - loaded when used
    from persona_sdk.tuning.registry import REGISTRY  # noqa: PLC0415 - loaded when used

    if not (folder / REGISTRY).exists():
        raise NotFoundError(
            f"there are no adapters in {folder}: name another folder with --adapters, or train one with `persona tune`"
        )
    return Adapters(folder)


def _many(count: int) -> str:
    return "1 adapter" if count == 1 else f"{count:,} adapters"


def _policy(given: str) -> Policy:
    for known in _MEANING:
        if given == known:
            return known
    raise InputError(f"POLICY: is none of {_POLICIES}", field="POLICY")
