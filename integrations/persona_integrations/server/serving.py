"""Running the gateway: one process, or several workers that share its port and its database."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from persona_integrations.server.settings import GatewaySettings
from persona_sdk.errors import SettingsError

__all__ = ["KEY_VARIABLE", "app", "check_host", "is_loopback", "serve", "upstream_key"]

#: Where the key for the server behind is read from: a command line is seen by everybody on the machine.
KEY_VARIABLE = "PERSONA_UPSTREAM_KEY"
_SETTINGS = "PERSONA_GATEWAY_SETTINGS"
#: Seconds that answers under way are waited for when the gateway is to end.
_GRACE = 30


def app() -> Any:
    """Return the application that the environment describes: what each worker starts with."""
    from persona_integrations.server.app import create_app  # noqa: PLC0415 - loaded in the worker
    from persona_integrations.server.local_only import LocalOnly  # noqa: PLC0415 - loaded in the worker

    # Threads that write and learn give way to the one that answers sooner than Python has them by itself (5 ms).
    sys.setswitchinterval(0.0005)
    settings = GatewaySettings.model_validate_json(os.environ[_SETTINGS])
    made = create_app(settings.model_copy(update={"upstream_key": upstream_key()}))
    return LocalOnly(made) if settings.auth == "none" else made


def upstream_key() -> Any:
    """Return the key for the server behind, None if the environment names none."""
    from pydantic import SecretStr  # noqa: PLC0415 - loaded when used

    key = os.environ.get(KEY_VARIABLE)
    return SecretStr(key) if key else None


def serve(settings: GatewaySettings, *, host: str, port: int, workers: int = 1) -> None:
    """Serve until the process is told to end (SIGTERM, Ctrl-C); answers under way are finished first.

    Raises:
        SettingsError: without keys, it would serve whoever reaches the network.
    """
    import uvicorn  # noqa: PLC0415 - optional

    from persona_integrations.server.protocol import BoundedHead  # noqa: PLC0415 - imports uvicorn

    check_host(settings, host)
    os.environ[_SETTINGS] = settings.model_dump_json(exclude={"upstream_key"})
    options: dict[str, Any] = {"factory": True, "host": host, "port": port, "workers": workers}
    with _counting(workers):
        uvicorn.run(
            f"{__name__}:app",
            **options,
            http=BoundedHead,
            log_level="warning",
            access_log=False,  # paths name people
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
        )


def check_host(settings: GatewaySettings, host: str) -> None:
    """Refuse to serve a network without keys.

    Raises:
        SettingsError: it would.
    """
    if settings.auth == "none" and not is_loopback(host):
        raise SettingsError(
            f"without keys, everybody who reaches {host} could read and spend: serve on 127.0.0.1, or use keys"
        )


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    import ipaddress  # noqa: PLC0415 - needed here only

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _counting(workers: int) -> Iterator[None]:
    """Have several workers' counters added up: Prometheus' client does that through files."""
    if workers == 1 or "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="persona-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield
