"""What an exception from a model's client means, told by what it carries: no client library is imported."""

from __future__ import annotations

import math
import time
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import ValidationError

__all__ = ["is_final", "is_refused_request", "is_transient", "retry_after", "status_of", "unreadable_text"]

_TRANSIENT = frozenset({408, 409, 425, 429})
#: No key, no right, no credit, no such model: the next question would be refused as well.
_FINAL = frozenset({401, 402, 403, 404})
#: What servers answer that know neither tools nor JSON schemas.
_REFUSED = frozenset({400, 422, 501})
#: Names of exceptions in httpx, requests, aiohttp and the clients built on them.
_NETWORK = ("Timeout", "ConnectionError", "ConnectError", "NetworkError", "ProtocolError", "ServerDisconnected")


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status an exception tells of, None if it tells none."""
    for source in (error, getattr(error, "response", None)):
        status = getattr(source, "status_code", None)
        if isinstance(status, int) and not isinstance(status, bool):
            return status
    return None


def is_final(error: BaseException) -> bool:
    """Whether it would be the same with any other question."""
    return status_of(error) in _FINAL or getattr(error, "code", None) == "insufficient_quota"


def is_refused_request(error: BaseException) -> bool:
    """Whether a server did not understand the question's form."""
    return status_of(error) in _REFUSED or isinstance(error, NotImplementedError)


def is_transient(error: BaseException) -> bool:
    """Whether the same question may be answered a little later."""
    if is_final(error):
        return False
    status = status_of(error)
    if status is not None:
        return status in _TRANSIENT or status >= 500
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    return any(part in kind.__name__ for kind in type(error).__mro__ for part in _NETWORK)


def retry_after(error: BaseException | None) -> float:
    """Return how many seconds the server asks to be left alone, 0 if it asks nothing."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    get = getattr(headers, "get", None)
    if get is None:
        return 0.0
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        given = str(get(name) or get(name.title()) or "")
        try:
            seconds = float(given) * unit
        except ValueError:
            seconds = _until(given)
        if math.isfinite(seconds) and seconds > 0:
            return seconds
    return 0.0


def _until(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0


def unreadable_text(error: BaseException) -> str | None:
    """Return what a model said when its client raised because it could not read that; "" if the client kept none.

    None means that the exception is of another kind.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "OutputParserException" in kinds:
        return _string(getattr(error, "llm_output", None))
    if any(name.endswith("FinishReasonError") for name in kinds):  # too long, or filtered
        choices = getattr(getattr(error, "completion", None), "choices", None) or [None]
        return _string(getattr(getattr(choices[0], "message", None), "content", None))
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False)[0]
        return _string(first["input"]) if first["type"] == "json_invalid" else ""
    return None


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
