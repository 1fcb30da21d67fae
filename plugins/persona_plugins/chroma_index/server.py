"""A Chroma server, asked over HTTP with a time limit on every call, which Chroma's own client does not have."""

from __future__ import annotations

import base64
import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from persona_plugins.chroma_index.engine import HNSW, PREFIX, Engine, GoneError, Kept
from persona_sdk.errors import IndexUnavailableError, SettingsError
from persona_sdk.index import Found, Stamped, Vectors

if TYPE_CHECKING:
    import httpx

__all__ = ["Server"]

T = TypeVar("T")

#: How many seconds to wait for writes, and for pages of many.
_PATIENCE = 60.0
_PAGE = 1000  # collections listed at a time
_DATABASE = "/api/v2/tenants/default_tenant/databases/default_database/collections"


class _Connected(NamedTuple):
    pid: int
    client: httpx.Client


class Server(Engine):
    """The Chroma server at a URL; see `Engine` for its methods."""

    def __init__(self, url: str, patience: float, pause: float) -> None:
        self._url = _parse(url)
        self._patience, self._pause = patience, pause
        self._connected: _Connected | None = None
        self._kept: dict[str, Kept] = {}
        self._largest: int | None = None
        self._away_until = 0.0
        self._lock = threading.Lock()

    def largest(self) -> int:
        """Return how many vectors, or keys, are taken at once."""
        if self._largest is None:
            self._largest = self._ask(
                "GET", "/api/v2/pre-flight-checks", read=lambda found: int(found["max_batch_size"])
            )
        return self._largest

    def find(self, name: str) -> Kept | None:
        """Return a collection, None if there is none."""
        kept = self._kept.get(name)
        if kept is None:
            try:
                kept = self._kept[name] = self._ask("GET", f"{_DATABASE}/{name}", read=_kept)
            except GoneError:
                return None
        return kept

    def make(self, name: str, collection: str, dimensions: int) -> Kept:
        """Return a collection, made if there is none."""
        wanted = {
            "name": name,
            "get_or_create": True,
            "configuration": {"hnsw": HNSW, "embedding_function": {"type": "legacy"}},  # which means none
            "metadata": {"collection": collection, "dimensions": dimensions},
        }
        kept = self._kept[name] = self._ask("POST", _DATABASE, wanted, _PATIENCE, _kept)
        return kept

    def forget(self, name: str) -> None:
        """Forget what is remembered of a collection."""
        self._kept.pop(name, None)

    def put(self, name: str, kept: Kept, keys: Sequence[str], rows: Vectors, stamps: Sequence[int]) -> None:
        """Add or replace a batch."""
        batch = {
            "ids": list(keys),
            "embeddings": [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in rows],
            "metadatas": [{"stamp": stamp} for stamp in stamps],
        }
        self._ask("POST", f"{_DATABASE}/{kept.handle}/upsert", batch, _PATIENCE)

    def remove(self, name: str, kept: Kept, keys: Sequence[str]) -> None:
        """Remove a batch."""
        self._ask("POST", f"{_DATABASE}/{kept.handle}/delete", {"ids": list(keys)}, _PATIENCE)

    def nearest(self, name: str, kept: Kept, row: Vectors, limit: int) -> list[Found]:
        """Return the nearest, the nearest first."""
        question = {"query_embeddings": [row], "n_results": limit, "include": ["distances"]}
        return self._ask("POST", f"{_DATABASE}/{kept.handle}/query", question, read=_found)

    def page(self, kept: Kept, offset: int, limit: int) -> list[Stamped]:
        """Return keys with their stamps, from `offset` on."""
        question = {"limit": limit, "offset": offset, "include": ["metadatas"]}
        return self._ask("POST", f"{_DATABASE}/{kept.handle}/get", question, _PATIENCE, _stamped)

    def count(self, kept: Kept) -> int:
        """Return how many vectors there are."""
        return self._ask("GET", f"{_DATABASE}/{kept.handle}/count", read=int)

    def drop(self, name: str) -> None:
        """Remove a collection, if there is one."""
        self.forget(name)
        try:
            self._ask("DELETE", f"{_DATABASE}/{name}", patience=_PATIENCE)
        except GoneError:
            return

    def names(self) -> list[str]:
        """Return callers' names of all collections of ours."""
        names: list[str] = []
        for offset in itertools.count(0, _PAGE):
            path = f"{_DATABASE}?limit={_PAGE}&offset={offset}"
            page = self._ask("GET", path, patience=_PATIENCE, read=_names)
            names += [name for name in page if name is not None]
            if len(page) < _PAGE:
                break
        return names

    def close(self) -> None:
        """Release everything; the next use opens it again."""
        with self._lock:
            connected, self._connected = self._connected, None
        if connected is not None and connected.pid == os.getpid():
            connected.client.close()

    def _ask(
        self,
        method: str,
        path: str,
        body: object = None,
        patience: float | None = None,
        read: Callable[[Any], T] = lambda content: content,
    ) -> T:
        """Send a request, and `read` what is answered; every one of ours may be sent twice without harm."""
        import httpx  # noqa: PLC0415 - heavy
        import orjson  # noqa: PLC0415 - part of the extra

        if time.monotonic() < self._away_until:
            raise IndexUnavailableError(
                f"the Chroma server {self._url} did not answer just now; it is tried again soon"
            )
        content = None if body is None else orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        limit = httpx.Timeout(patience or self._patience, connect=self._patience)
        for attempt in (1, 2):
            try:
                answer = self._client().request(method, self._url + path, content=content, timeout=limit)
                return _read(self._url, answer, read)
            except httpx.TransportError as error:
                # A connection that was kept open breaks when the server was started anew: that is no failure.
                broken = isinstance(error, httpx.ReadError | httpx.WriteError | httpx.RemoteProtocolError)
                if not broken or attempt == 2:
                    self._away_until = time.monotonic() + self._pause
                    message = f"the Chroma server {self._url} does not answer ({type(error).__name__}); is it running?"
                    raise IndexUnavailableError(message) from None
        raise AssertionError  # the loop returns or raises

    def _client(self) -> httpx.Client:
        import httpx  # noqa: PLC0415 - heavy

        with self._lock:
            if self._connected is None or self._connected.pid != os.getpid():  # a fork must not share connections
                token = os.environ.get("PERSONA_CHROMA_TOKEN", "")
                headers = {"Content-Type": "application/json"}
                if token:
                    headers["Authorization"] = f"Bearer {token}"
                self._connected = _Connected(os.getpid(), httpx.Client(headers=headers))
            return self._connected.client


def _parse(url: str) -> str:
    """Return a URL without a slash at its end; never quote one that is refused, which may hold a password."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise SettingsError("chroma:…: is no URL of a Chroma server; an example: chroma:http://localhost:8000")
    if parts.username or parts.password:
        raise SettingsError("chroma:…: the URL has a password; put a token into PERSONA_CHROMA_TOKEN instead")
    return url.rstrip("/").removesuffix("/api/v2")


def _kept(found: Any) -> Kept:
    return Kept(found["id"], found["metadata"]["dimensions"])


def _found(found: Any) -> list[Found]:
    pairs = zip(found["ids"][0], found["distances"][0], strict=True)
    return [Found(key, min(1.0, max(-1.0, 1.0 - distance))) for key, distance in pairs]


def _stamped(found: Any) -> list[Stamped]:
    return [Stamped(key, about["stamp"]) for key, about in zip(found["ids"], found["metadatas"], strict=True)]


def _names(found: Any) -> list[str | None]:
    """Return callers' names, None for the collections of others."""
    return [each["metadata"]["collection"] if each["name"].startswith(PREFIX) else None for each in found]


def _read(url: str, answer: httpx.Response, read: Callable[[Any], T]) -> T:
    """Return what was answered; the server's own words are not repeated, for they may quote what was sent."""
    import orjson  # noqa: PLC0415 - part of the extra

    try:
        content = orjson.loads(answer.content)
        if answer.is_success:
            return read(content)
    except (ValueError, TypeError, KeyError, IndexError):
        content = None
    if answer.status_code == 404 and isinstance(content, dict) and content.get("error") == "NotFoundError":
        raise GoneError
    if answer.status_code in (401, 403):
        raise IndexUnavailableError(f"the Chroma server {url} wants a token: set PERSONA_CHROMA_TOKEN")
    raise IndexUnavailableError(f"{url} answered {answer.status_code}, as a Chroma server in good health would not")
