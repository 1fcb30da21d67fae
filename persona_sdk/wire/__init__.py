"""OpenAI's HTTP protocol, read and written without I/O and without anybody's client library.

`wire_of(path)` knows how a conversation and its answer stand in the requests and responses of a path. What it cannot
read is for the server to judge: it is sent on as it came.
"""

from persona_sdk.wire.chat_completions import ChatCompletions
from persona_sdk.wire.protocol import Answer, AnswerReader, Wire, WireRequest
from persona_sdk.wire.responses import Responses

__all__ = ["Answer", "AnswerReader", "Wire", "WireRequest", "wire_of"]

_WIRES: tuple[Wire, ...] = (ChatCompletions(), Responses())


def wire_of(path: str) -> Wire | None:
    """Return the wire of a URL's path ("/v1/chat/completions"), None for a path that has no conversations."""
    return next((wire for wire in _WIRES if path.rstrip("/").endswith(wire.path)), None)
