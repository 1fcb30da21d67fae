"""`demo`: the main job on one screen, with people we made up."""

from __future__ import annotations

from typing import Annotated

import typer

from persona_integrations.cli import models
from persona_integrations.cli.context import given

__all__ = ["demo"]


def demo(
    ctx: typer.Context,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help=models.HELP, show_default=False)] = None,
) -> None:
    """See it work on six made-up people: learn, predict, tailor, correct, forget.

    Needs no network. A small model on this machine answers two of them side by side if it is installed; --model names
    another one, --model none does without. Everything happens in a temporary database, or in the tenant `demo` of the
    one that --db names.
    """
    from persona_integrations.cli.demo.story import play  # noqa: PLC0415 - loaded when used

    answering, missing = None, ""
    if model is None:
        answering, missing = models.local_if_installed()
    elif model != "none":
        answering = models.chat_model(model)
    play(given(ctx), answering, local=model in (None, "local"), missing=missing)
