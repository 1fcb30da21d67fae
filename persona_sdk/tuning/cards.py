"""The card of an adapter: what it was trained on, from what, how, with which versions, and how good it is.

It lies in the adapter's folder as `persona_card.json` and is never changed. It names people by `person_key`, so that
neither a name nor a word of theirs is in it.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field, ValidationError

from persona_sdk.errors import InputError
from persona_sdk.memory import person_key
from persona_sdk.models import Frozen, utc_now
from persona_sdk.tuning.rows import Origin, Row, RowFormat

__all__ = ["CARD", "Base", "Card", "Lineal", "Rung", "hashed_signals", "lineage", "read_card", "versions", "write_card"]

#: The card's name in an adapter's folder.
CARD = "persona_card.json"
#: Who is given a model: everybody, a cluster of similar people, one person.
Rung: TypeAlias = Literal["shared", "cluster", "own"]
_PACKAGES = ("persona-sdk", "torch", "transformers", "trl", "peft", "accelerate", "datasets")


class Base(Frozen):
    """The base model: its name, and the hash of its weights, so that an adapter is never put on another one."""

    name: str
    sha256: str


class Lineal(Frozen):
    """One person an adapter was trained on: which of their signals, hashed, and which persona versions were read."""

    key: str
    signals: tuple[str, ...] = ()
    personas: tuple[int, ...] = ()


class Card(Frozen):
    """What there is to know about one adapter.

    `parent` is the adapter it was trained on top of; its weights are in this one, too, and so are its people in
    `people`. `cluster` holds the keys of the people a cluster's adapter is for. `prefix` is the kind of prefix it was
    trained to read, `system` the system message where a conversation had none.
    """

    name: str
    tenant: str = "default"
    rung: Rung = "shared"
    parent: str | None = None
    base: Base
    template: RowFormat = "chat"
    prefix: str = "none"
    system: str = ""
    rank: int = 0
    recipe: Mapping[str, Any] = Field(default_factory=dict)
    rows: Mapping[str, int] = Field(default_factory=dict)
    digest: str = ""
    people: tuple[Lineal, ...] = ()
    cluster: tuple[str, ...] = ()
    metrics: Mapping[str, float | None] = Field(default_factory=dict)
    versions: Mapping[str, str] = Field(default_factory=dict)
    seed: int = 0
    seconds: float = 0.0
    at: datetime = Field(default_factory=utc_now)

    def trained_on(self, key: str) -> bool:
        """Whether signals of the person with this `person_key` are in the adapter."""
        return any(person.key == key for person in self.people)


def lineage(rows: Iterable[Row], earlier: Iterable[Lineal] = ()) -> tuple[Lineal, ...]:
    """Return everyone whose signals are in some rows, and in what came `earlier` (a parent's), by key."""
    signals: dict[str, set[str]] = {}
    personas: dict[str, set[int]] = {}
    for person in earlier:
        signals.setdefault(person.key, set()).update(person.signals)
        personas.setdefault(person.key, set()).update(person.personas)
    for origin in (origin for row in rows for origin in row.origins):
        key = person_key(origin.tenant, origin.user_id)
        signals.setdefault(key, set()).update(hashed_signals(origin))
        personas.setdefault(key, set()).update({origin.persona} - {0})
    return tuple(
        Lineal(key=key, signals=tuple(sorted(signals[key])), personas=tuple(sorted(personas[key])))
        for key in sorted(signals)
    )


def hashed_signals(origin: Origin) -> set[str]:
    """Return the ids of some signals as cards have them: hashed with their person, for apps write names into ids."""
    person = person_key(origin.tenant, origin.user_id)
    return {
        hashlib.sha256(f"{person}:{signal}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
        for signal in origin.signals
    }


def versions() -> dict[str, str]:
    """Return the versions of what a training run depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_card(folder: Path, card: Card) -> None:
    """Write a card into an adapter's folder."""
    (folder / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_card(folder: Path) -> Card:
    """Read the card of an adapter's folder.

    Raises:
        InputError: the folder has none, or one that cannot be read.
    """
    try:
        return Card.model_validate_json((folder / CARD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{folder}: holds no {CARD}, so it is no adapter made by `persona tune`", field="adapter"
        ) from None
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is no card, or damaged"
        raise InputError(f"{folder / CARD}: cannot be read ({what}); train the adapter anew", field="adapter") from None
