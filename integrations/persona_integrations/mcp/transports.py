"""How the server is reached: standard input and output, or HTTP on a loopback address."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys

import uvicorn
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings

from persona_integrations.mcp.address import Address
from persona_sdk.errors import InputError

__all__ = ["over_http", "over_stdio"]

PATH = "/mcp"
#: Seconds that open connections have to end after the server is told to.
_FAREWELL = 3


def over_stdio(server: Server) -> None:
    """Serve one client on standard input and output until the input ends. Nothing else is written to the output.

    To be called in the main thread. Ctrl-C ends the process at once: what was acknowledged is durable.
    """
    _log_briefly()
    # Reading from a terminal or a pipe cannot be broken off; asyncio would wait for another line before it stops.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        asyncio.run(_stdio(server))
    finally:
        signal.signal(signal.SIGINT, before)


async def _stdio(server: Server) -> None:
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def over_http(server: Server, address: Address) -> None:
    """Serve clients of this machine at http://ADDRESS/mcp until interrupted, and say where on standard error.

    Requests of web pages are refused, and those for another host's name, which a page may have had pointed here.

    Raises:
        InputError: the address cannot be listened on.
    """
    _log_briefly()
    listening = _listening(address)
    address = Address(address.host, listening.getsockname()[1])
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        host=address.host,
        transport_security=TransportSecuritySettings(
            allowed_hosts=[address.netloc, "127.0.0.1:*", "localhost:*", "[::1]:*"], allowed_origins=[]
        ),
    )
    config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=_FAREWELL)
    print(f"persona: listening on http://{address.netloc}{PATH}", file=sys.stderr, flush=True)  # noqa: T201 - remark
    uvicorn.Server(config).run(sockets=[listening])


class _Brief(logging.Formatter):
    """Formats records without tracebacks."""

    def formatException(self, ei: object) -> str:  # noqa: N802 - as in logging
        return ""


def _log_briefly() -> None:
    """Have what carries the protocol log to standard error without tracebacks, which may quote what people wrote."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Brief("persona: %(levelname)s: %(message)s"))
    for name in ("asyncio", "mcp", "uvicorn"):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
        log.setLevel(logging.WARNING)


def _listening(address: Address) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        message = f"--http: {address.netloc} cannot be listened on ({error.strerror})"
        raise InputError(message, field="--http") from error
    return listening
