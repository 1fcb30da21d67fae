"""What chat models with the same base and adapters share in a process: the model, its adapters, and the batch."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from persona_plugins.lora.batching import Batcher
from persona_plugins.lora.pool import AdapterPool
from persona_plugins.lora.scoring import score
from persona_plugins.lora.side_by_side import SideBySide
from persona_plugins.lora.speech import Speech
from persona_sdk.errors import InputError, StorageError
from persona_sdk.language import LogLikelihood, Messages
from persona_sdk.tuning.adapters import Adapters
from persona_sdk.tuning.base_record import recorded
from persona_sdk.tuning.cards import read_card

__all__ = ["Options", "Served", "base_folder", "served"]

#: Where a model says nothing of how long a conversation may be.
_CONTEXT = 4096


@dataclass(frozen=True, slots=True)
class Options:
    """What makes two chat models share one loaded model: `base` and `adapters` are folders."""

    base: str
    adapters: str
    budget: int
    batch: int
    dtype: str
    device: str


class Served:
    """A base model with its adapters, ready to answer."""

    def __init__(self, options: Options) -> None:
        self.pool = AdapterPool(
            options.base,
            Adapters(options.adapters),
            budget=options.budget,
            dtype=options.dtype,
            device=options.device,
        )
        self.model = SideBySide(self.pool.model)
        self.speech = Speech(self.pool.tokenizer, self.pool.model.generation_config)
        config: Any = self.pool.model.config.get_text_config()
        self.context = int(getattr(config, "max_position_embeddings", None) or _CONTEXT)
        self.batcher = Batcher(self.model, self.speech, self.context, most=options.batch)

    def log_likelihoods(
        self, asked: Sequence[tuple[Messages, str]], adapter: str | None, *, strict: bool
    ) -> list[LogLikelihood]:
        """Return how likely the model with an adapter finds answers (see `score`)."""
        weights = self.pool.take(adapter, strict=strict) if adapter else None
        try:
            return score(self.model, self.speech, self.context, asked, weights)
        finally:
            if weights is not None:
                self.pool.release(weights)


_served: dict[Options, Served] = {}
_lock = Lock()
_ready = False


def served(options: Options) -> Served:
    """Return the model with these options, loading it if nobody did in this process."""
    global _ready  # noqa: PLW0603 - once a process
    with _lock:
        if not _ready:
            _ready = True
            atexit.register(_close)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_forked)
        if options not in _served:
            _served[options] = Served(options)
        return _served[options]


def _close() -> None:
    """End what computes while Python is whole."""
    for one in _served.values():
        one.batcher.close()


def _forked() -> None:
    """Begin anew in a forked process: threads do not come along, and their locks may be held."""
    global _lock  # noqa: PLW0603 - another thread may have held it
    _lock = Lock()
    _served.clear()


@lru_cache(maxsize=64)  # it hashes files
def base_folder(base: str | None, adapters: str) -> Path:
    """Return the folder of the base: the one named, unpacked if need be, or the one the adapters were trained on.

    That is what was recorded when they were trained, while it is there, and otherwise the one their cards name.

    Raises:
        InputError: there is no such model; or none is named, and the cards name several, or none that is found here.
    """
    from persona_sdk.tuning.training.bases import PACKAGED, cache_folder, prepare  # noqa: PLC0415 - loaded when used

    if base:
        return prepare(base)
    known = recorded(Path(adapters))
    if known is not None and (known.folder / "config.json").is_file():
        return known.folder
    names = _named(Path(adapters))
    if len(names) != 1:
        which = f"were trained on several: {', '.join(names)}" if names else "do not tell: there are none in order"
        raise InputError(f"base: name the base model; the adapters in {adapters} {which}", field="base")
    unpacked = cache_folder() / "bases" / names[0]
    if (unpacked / "config.json").is_file():
        return unpacked
    packaged = prepare(PACKAGED) if names[0].startswith("SmolLM2") else None
    if packaged is not None and packaged.name == names[0]:
        return packaged
    raise InputError(
        f"base: name the folder of {names[0]}, which the adapters in {adapters} were trained on", field="base"
    )


def _named(adapters: Path) -> list[str]:
    """Return the names of the bases that cards name, also where the registry is damaged."""
    try:
        cards = Adapters(adapters).cards()
    except StorageError:
        cards = []
        for folder in sorted(adapters.glob("*@*")):
            try:
                cards.append(read_card(folder))
            except InputError:
                continue
    names = sorted({card.base.name for card in cards})
    for name in names:
        if name in ("", ".", "..") or not {"/", "\\", "\0"}.isdisjoint(name):
            raise InputError(
                f"base: name the base model; a card in {adapters} names {name!r}, which is no folder's name",
                field="base",
            )
    return names
