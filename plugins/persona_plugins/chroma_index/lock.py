"""Who owns a folder: one process at a time, said by a locked file that the system unlocks when the process dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from persona_sdk.errors import IndexUnavailableError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["LOCK", "OwnerLock"]

#: The name of the file in the folder; it holds the owner's process id.
LOCK = "persona.lock"


class OwnerLock:
    """The lock on a folder, held from its making to `release`.

    Raises:
        IndexUnavailableError: another process owns the folder, or the file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / LOCK
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise IndexUnavailableError(f"the index {folder} cannot be opened: {error.strerror}") from error
        try:
            _lock(self._fd)
            os.ftruncate(self._fd, 0)
            os.write(self._fd, str(os.getpid()).encode())
        except OSError as error:
            os.close(self._fd)
            raise IndexUnavailableError(self._refusal(folder, error)) from None
        found = os.fstat(self._fd)
        self._is = (found.st_dev, found.st_ino)

    def held(self) -> bool:
        """Say whether the file is still the one that was locked: somebody may have deleted the folder."""
        try:
            found = self._file.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._is

    def release(self) -> None:
        """Let go of the folder."""
        os.close(self._fd)  # unlocks it, whatever happened to the file

    def _refusal(self, folder: Path, error: OSError) -> str:
        try:
            owner = self._file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            owner = ""
        if not isinstance(error, BlockingIOError | PermissionError):
            return f"the index {folder} cannot be locked: {error.strerror}"
        return (
            f"the index {folder} belongs to process {owner or 'unknown'}, and two would damage it. To share it, run "
            f"`chroma run --path {folder}` in place of that process's own, and give all of them chroma:http://host:port"
        )


def _lock(fd: int) -> None:
    if sys.platform == "win32":
        # Far behind the process id: what is locked cannot be read there.
        os.lseek(fd, 1 << 20, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        os.lseek(fd, 0, os.SEEK_SET)
    else:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
