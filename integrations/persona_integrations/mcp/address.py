"""Where the server listens for HTTP: on this machine only, because nobody is asked who they are."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple

from persona_sdk.errors import InputError

__all__ = ["Address", "loopback"]

_WRITTEN = re.compile(r"(?:\[(?P<bracketed>[^\[\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")
_LOCALHOST = "127.0.0.1"


class Address(NamedTuple):
    """A loopback address and a port, 0 for one that is free."""

    host: str
    port: int

    @property
    def netloc(self) -> str:
        """The address as URLs have it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def loopback(text: str) -> Address:
    """Return the address that `HOST:PORT` names.

    Raises:
        InputError: it is not of this form, or is not a loopback address.
    """
    written = _WRITTEN.fullmatch(text)
    if written is None or int(written["port"]) > 65535:
        raise InputError(f"--http: {text!r} is not HOST:PORT, such as 127.0.0.1:8765 or [::1]:8765", field="--http")
    host = written["bracketed"] or written["host"] or ""
    host = _LOCALHOST if host.lower() == "localhost" else host
    if not _is_loopback(host):
        raise InputError(
            f"--http: {host or 'every address'} can be reached from other machines, and there is no authentication:"
            " whoever reaches the server reads and changes personas. Name a loopback address, such as 127.0.0.1",
            field="--http",
        )
    return Address(host, int(written["port"]))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name: what it stands for is not ours to know
        return False
