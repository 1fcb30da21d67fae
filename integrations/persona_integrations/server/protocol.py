"""HTTP as uvicorn speaks it, with an end to what a request may hold beside its body: it cannot fill the memory."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["BoundedHead"]

#: The longest request line and headers together, in bytes: as much as uvicorn's other parser takes.
_MOST = 64 * 1024


class BoundedHead(HttpToolsProtocol):
    """Ends a connection on which so much comes in without any of it being a body's: endless headers, say."""

    _came = 0

    def data_received(self, data: bytes) -> None:
        """Take in the next bytes of a connection."""
        self._came += len(data)
        super().data_received(data)
        if self._came <= _MOST or self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.send_400_response("the headers are too long")
        else:  # an answer is under way
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        """Take in a part of a body; how long that may be, the application says."""
        self._came = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Be ready for the next request."""
        self._came = 0
        super().on_message_complete()
