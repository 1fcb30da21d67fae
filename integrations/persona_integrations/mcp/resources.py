"""Resources: the URI of everything that is known of a person, and what is read there.

`persona://ada` is Ada's persona as Markdown, `persona://ada/traits.json` the same as JSON, `persona://ada/signals.json`
what she did and said lately. Ids are percent-encoded whole, so that every id has a URI. Where the server is bound to
one person, they are `persona://me`, and nobody else has one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import quote, unquote

from persona_integrations.mcp.desk import Desk, checked_user
from persona_integrations.mcp.views import markdown, signals_view
from persona_sdk.errors import NotFoundError

__all__ = ["KINDS", "SCHEME", "Kind", "Read", "read", "uri"]

SCHEME = "persona://"
#: Who a bound server is about, in a URI.
_ME = "me"
#: How many signals are shown.
_LATEST = 100


class Read(NamedTuple):
    """What was read at a URI."""

    mime_type: str
    text: str


class Kind(NamedTuple):
    """One kind of resource: what stands behind the person in its URI, and what it is."""

    path: str
    name: str
    title: str
    description: str
    mime_type: str
    text: Callable[[Desk, str], Awaitable[str]]


async def _markdown(desk: Desk, user_id: str) -> str:
    return markdown(await desk.shown(user_id))


async def _traits(desk: Desk, user_id: str) -> str:
    return (await desk.shown(user_id)).model_dump_json(indent=2)


async def _signals(desk: Desk, user_id: str) -> str:
    signals = await desk.personalizer.asignals(user_id)
    return signals_view(user_id, signals, _LATEST).model_dump_json(indent=2)


KINDS = (
    Kind("", "persona", "Persona", "What is known of the person, for people to read.", "text/markdown", _markdown),
    Kind(
        "/traits.json",
        "traits",
        "Traits",
        "What is known of the person, with weights and evidence.",
        "application/json",
        _traits,
    ),
    Kind(
        "/signals.json",
        "signals",
        "Signals",
        "What the person did and said lately, shortened.",
        "application/json",
        _signals,
    ),
)


def uri(user_id: str | None, kind: Kind) -> str:
    """Return the URI of a resource about a person, None for whom the server is bound to."""
    return f"{SCHEME}{_ME if user_id is None else quote(user_id, safe='')}{kind.path}"


async def read(desk: Desk, at: str) -> Read:
    """Read a resource. Where nothing is known of a person, that is what is read.

    Raises:
        NotFoundError: there is no such resource here; a bound server has none about anybody else.
    """
    person, _, path = at.removeprefix(SCHEME).partition("/")
    kind = next((k for k in KINDS if k.path == (f"/{path}" if path else "")), None)
    if kind is None or not at.startswith(SCHEME):
        paths = ", ".join(f"{SCHEME}PERSON{k.path}" for k in KINDS)
        raise NotFoundError(f"there is no such resource; there are {paths}, with the id of the person percent-encoded")
    user_id = _whose(desk, person)
    return Read(kind.mime_type, await kind.text(desk, user_id))


def _whose(desk: Desk, person: str) -> str:
    try:
        named = unquote(person, errors="strict")
    except UnicodeDecodeError:
        raise NotFoundError("this URI names nobody: its percent-encoding is not UTF-8") from None
    if desk.user is None:
        return checked_user(named)
    if named not in (_ME, desk.user):
        raise NotFoundError(f"this server shows one person only: {SCHEME}{_ME}")
    return desk.user
