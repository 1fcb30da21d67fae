"""`mcp_server` and `serve`: the MCP server as an object, and served until its client leaves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from persona_integrations.mcp.desk import Desk, checked_user
from persona_sdk.errors import MissingExtraError

if TYPE_CHECKING:
    from mcp.server import Server

    from persona_integrations.mcp.address import Address
    from persona_sdk.engine import Personalizer

__all__ = ["mcp_server", "serve"]


def mcp_server(
    personalizer: Personalizer,
    *,
    user: str | None = None,
    allow_forget: bool = False,
    adapters: Path | None = None,
) -> Server:
    """Return an MCP server over a `Personalizer`, which stays the caller's to close.

    With `user` it is about this one person: no tool takes a user id, and nobody else can be read or changed through it.
    Without, tools take one. `allow_forget` adds the tool that erases people; the tuned models in the folder `adapters`
    (by default the one that the tailor `lora` is told of) hear of it.

    Raises:
        MissingExtraError: the MCP SDK is not installed.
        InputError: `user` cannot be a user id.
    """
    try:
        from persona_integrations.mcp.server import build  # noqa: PLC0415 - an optional install, slow
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise MissingExtraError("the MCP server needs the extra `mcp`: pip install 'persona-sdk[mcp]'") from None
    bound = None if user is None else checked_user(user)
    folder = adapters or Path(personalizer.settings.options.get("lora", {}).get("adapters", "adapters"))
    return build(Desk(personalizer, user=bound, allow_forget=allow_forget, adapters=folder.expanduser()))


def serve(server: Server, address: Address | None = None) -> None:
    """Serve one client on standard input and output until it leaves; with an address, many over HTTP until interrupted.

    Raises:
        InputError: the address cannot be listened on.
    """
    from persona_integrations.mcp.transports import over_http, over_stdio  # noqa: PLC0415 - an optional install, slow

    if address is None:
        over_stdio(server)
    else:
        over_http(server, address)
