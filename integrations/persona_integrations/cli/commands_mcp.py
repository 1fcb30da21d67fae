"""`mcp`: serve personas to any host that speaks the Model Context Protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from persona_integrations.cli.context import given

__all__ = ["mcp"]


def mcp(
    ctx: typer.Context,
    user: Annotated[
        str | None,
        typer.Option(metavar="USER", help="Serve this one person, and nobody else.", show_default="everyone"),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Serve HTTP on a loopback address.", show_default="standard input and output"
        ),
    ] = None,
    allow_forget: Annotated[bool, typer.Option("--allow-forget", help="Let hosts erase people.")] = False,
    adapters: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Tuned models that are told of who is erased.", show_default="the configured folder"
        ),
    ] = None,
) -> None:
    """Serve personas over the Model Context Protocol, for assistants and editors; needs the extra `mcp`.

    A host starts it and talks to it on standard input and output. With --http it listens on this machine; there is no
    authentication.
    """
    from persona_integrations.mcp import loopback, mcp_server, serve  # noqa: PLC0415 - loaded when used

    address = None if http is None else loopback(http)
    with given(ctx).open(create=True, learning="background") as personalizer:
        serve(mcp_server(personalizer, user=user, allow_forget=allow_forget, adapters=adapters), address)
