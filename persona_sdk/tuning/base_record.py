"""Which base the adapters in a folder were last trained on, and where it was: `base.json` beside them."""

from __future__ import annotations

import secrets
from pathlib import Path

from pydantic import ValidationError

from persona_sdk.errors import StorageError, StorageFullError
from persona_sdk.models import Frozen

__all__ = ["RECORD", "Recorded", "record", "recorded"]

#: The record's name in the folder of adapters.
RECORD = "base.json"


class Recorded(Frozen):
    """A base: what was named by the operator, the folder that is read, and the hash of its weights, as on cards."""

    base: str
    folder: Path
    sha256: str


def record(adapters_folder: Path, base: str, folder: Path, sha256: str) -> None:
    """Record the base that adapters in a folder are trained on, in place of what was recorded, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    text = Recorded(base=base, folder=folder.absolute(), sha256=sha256).model_dump_json(indent=2) + "\n"
    part = adapters_folder / f".{RECORD}.{secrets.token_hex(4)}"
    try:
        adapters_folder.mkdir(parents=True, exist_ok=True)
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(adapters_folder / RECORD)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        kind = StorageFullError if isinstance(error, PermissionError) else StorageError
        why = error.strerror or type(error).__name__
        raise kind(f"{adapters_folder / RECORD}: cannot be written ({why}); is there room and permission?") from None


def recorded(adapters_folder: Path) -> Recorded | None:
    """Return what was recorded last, None if nothing was, or it cannot be read."""
    try:
        return Recorded.model_validate_json((adapters_folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None
