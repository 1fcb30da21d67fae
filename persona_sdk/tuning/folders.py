"""An adapter's folder on disk: whether it is complete, how it is put into place, and how it is removed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from persona_sdk.errors import InputError
from persona_sdk.tuning.cards import CARD, Card, read_card, write_card

__all__ = ["CONFIG", "WEIGHTS", "config_of", "damage", "place", "remove", "tensors_of"]

#: What PEFT calls them, and servers look for.
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def config_of(folder: Path) -> Mapping[str, Any]:
    """Return what an adapter's `adapter_config.json` says.

    Raises:
        InputError: there is none, or it is damaged.
    """
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder}: holds no {CONFIG}, so it is no PEFT adapter", field="adapter") from None
    except OSError as error:
        raise InputError(f"{folder / CONFIG}: cannot be read ({error.strerror})", field="adapter") from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{folder / CONFIG}: is no JSON object; train the adapter anew", field="adapter")
    return found


def tensors_of(folder: Path) -> list[str]:
    """Return the names of the tensors in an adapter's `adapter_model.safetensors`, read from its header.

    Raises:
        InputError: there is none, or it is damaged or not complete.
    """
    file = folder / WEIGHTS
    try:
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length)) if 8 + length <= size else None
        held = {name: about["data_offsets"][1] for name, about in header.items() if name != "__metadata__"}  # type: ignore[union-attr]
        complete = size == 8 + length + max(held.values(), default=0)
    except FileNotFoundError:
        raise InputError(f"{folder}: holds no {WEIGHTS}, so it is no PEFT adapter", field="adapter") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})", field="adapter") from None
    except (ValueError, AttributeError, TypeError, LookupError):
        complete, held = False, {}
    if not complete or not held:
        raise InputError(f"{file}: is damaged, empty or not complete; train the adapter anew", field="adapter")
    return sorted(held)


def place(made: Path, target: Path, card: Card) -> None:
    """Put all files of a folder into a new one with a card, durably; the old one stays as it is.

    On one file system both share the files, so that nothing is lost whenever this ends; otherwise they are copied.
    """
    for place, _, files in os.walk(made):
        into = target / Path(place).relative_to(made)
        into.mkdir(exist_ok=True)
        for name in files:
            if (into / name) != target / CARD:
                _link_or_copy(Path(place) / name, into / name)
    write_card(target, card)
    for place, _, files in os.walk(target):
        for name in (*files, ""):
            _sync(Path(place) / name)
    _sync(target.parent)


def damage(folder: Path, name: str) -> list[str]:
    """Say what is wrong with the folder of the adapter of some name, nothing if it is in order."""
    found = []
    for check in (config_of, tensors_of, read_card):
        try:
            check(folder)
        except InputError as error:
            found.append(str(error))
    if not found and read_card(folder).name != name:
        found.append(f"{folder / CARD}: is the card of another adapter; train the adapter anew")
    return found


def remove(folder: Path) -> bool:
    """Remove a folder with everything in it; return whether it is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _link_or_copy(source: Path, target: Path) -> None:
    real = source.resolve()  # a link to elsewhere would not be there on another machine
    try:
        os.link(real, target)
    except OSError:
        shutil.copy2(real, target)


def _sync(path: Path) -> None:
    """Have the system write something to the disk, as far as it can: not all systems open folders."""
    try:
        opened = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(opened)
    except OSError:
        pass
    finally:
        os.close(opened)
