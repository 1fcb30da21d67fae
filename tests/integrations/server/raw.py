"""HTTP as it stands on the wire: requests whose every byte a test chooses, and answers as they came."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["Answer", "ask", "connected", "said"]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list
    body: bytes

    def header(self, name):
        return [value for key, value in self.headers if key == name]


def ask(url, method, target, headers=(), body=b""):
    """Send exactly these headers and this body, and a `host` and a `content-length`; return the answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body or method == "POST":
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body or None)
        answer = connection.getresponse()
        return Answer(answer.status, [(k.lower(), v) for k, v in answer.getheaders()], answer.read())
    finally:
        connection.close()


def connected(url, *, room=None):
    """Return a socket to a server, with so little room for what comes in."""
    parts = urlsplit(url)
    made = socket.socket()
    if room is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    made.settimeout(30)
    made.connect((parts.hostname, parts.port))
    return made


def said(method, target, body=b"", *headers):
    """The bytes of a request."""
    lines = [f"{method} {target} HTTP/1.1", "host: gateway", *headers, f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
