"""Server-sent events, read from bytes as they come."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["EventReader"]


class EventReader:
    """Gives the data of each event once its last byte is there. Lines end in LF or CR LF.

    It keeps what is not at its end yet, however long that is: whoever feeds it bounds what is fed.
    """

    def __init__(self) -> None:
        self._rest = bytearray()  # grows in place: a long line may come in many pieces
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take in the next bytes, and return the data of the events they complete."""
        self._rest += data
        if b"\n" not in data:
            return
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        for line in lines:
            bare = bytes(line.removesuffix(b"\r"))
            if bare.startswith(b"data:"):
                self._data.append(bare[5:].removeprefix(b" "))
            elif not bare and self._data:
                yield b"\n".join(self._data)
                self._data.clear()
