"""A base model, held once, and the adapters that were used last, held beside it within a budget of memory."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

from persona_plugins.lora.loading import loaded, require_torch
from persona_plugins.lora.lookup import Lookup, Source
from persona_plugins.lora.weights import Weights, load
from persona_sdk.errors import InputError, NotFoundError, PersonaError, StorageError
from persona_sdk.tuning.cards import read_card

__all__ = ["AdapterPool"]

_log = logging.getLogger("persona_sdk")
#: How often an adapter is looked up again that was replaced while it was read.
_TRIES = 3
#: Names of which is remembered that a warning was given. Callers choose names, so there may be many.
_WARNED = 256
#: Characters in the log of a caller's name, and of what is wrong with it.
_SHOWN, _SAID = 80, 1000
#: Seconds after which adapters in memory are looked up again, if the registry changed.
_LOOK = 1.0


class AdapterPool:
    """A base model in memory, and adapters for it.

    An adapter is read when it is first taken, and again when it was trained anew under its name. When together they
    have more than `budget` bytes, those not used for the longest time go, but none that is in use: while more are in
    use than fit, they are held all the same. Threads may share a pool.

    `base` is a folder of transformers; its weights are computed with in `dtype` ("float32", "bfloat16"; "auto" is
    bfloat16 on a graphics card, and float32 on a processor) on `device` ("auto": a graphics card if there is one).
    `hashed` returns the hash of a folder's weights, as it stands in the cards of adapters that were trained on it.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        InputError: the base cannot be read.
    """

    def __init__(
        self,
        base: Path | str,
        adapters: Source,
        *,
        budget: int = 1 << 30,
        dtype: str = "auto",
        device: str = "auto",
        hashed: Callable[[Path], str] | None = None,
    ) -> None:
        require_torch()
        self.base, self.budget = Path(base), budget
        self.lookup = Lookup(adapters)
        self.model, self.tokenizer, self.linear = loaded(self.base, dtype, device)
        self._hashed, self._hash = hashed or _hash, ""
        self._held: OrderedDict[str, Weights] = OrderedDict()
        self._uses: dict[Weights, int] = {}
        self._systems: dict[Path, str] = {}
        self._warned: OrderedDict[str, str] = OrderedDict()
        self._looked: tuple[Any, float] = None, 0.0
        self._lock, self._loading = Lock(), Lock()

    def take(self, name: str, *, strict: bool = False) -> Weights | None:
        """Return an adapter, to be given back with `release`; None, and a warning in the log, if it cannot be used.

        The warning is given once, until the adapter can be used or something else is wrong with it.

        Raises:
            NotFoundError: there is none of this name; only if `strict`, as all that follow.
            InputError: it is damaged, was trained on another base or on rows written in another way, has no room in
                memory, or is not to be used any more.
            StorageError: the folder of adapters cannot be read.
        """
        try:
            self._drop_stale()
            weights = self._take(name)
        except (NotFoundError, InputError, StorageError) as error:
            if strict:
                raise
            self._warn(name, error)
            return None
        with self._lock:
            self._warned.pop(name, None)
        return weights

    def release(self, weights: Weights) -> None:
        """Give back what was taken; it stays in memory as long as there is room."""
        with self._lock:
            self._uses[weights] -= 1
            if not self._uses[weights]:
                del self._uses[weights]
            self._make_room()

    def system(self, name: str) -> str:
        """Return the system message of an adapter's rows; "" for none, or where there is no such adapter."""
        try:
            folder = self.lookup.find(name).folder
            if (system := self._systems.get(folder)) is None:
                system = self._systems[folder] = read_card(folder).system
            return system
        except (NotFoundError, InputError, StorageError):
            return ""

    def held(self) -> dict[str, int]:
        """Return the bytes of each adapter in memory, the one not used for the longest time first."""
        with self._lock:
            return {name: weights.size for name, weights in self._held.items()}

    def _take(self, name: str) -> Weights:
        for left in reversed(range(_TRIES)):
            folder = self._folder(name)
            if (known := self._known(name, folder)) is not None:
                return known
            try:
                with self._loading:
                    return self._known(name, folder) or self._read(name, folder)
            except InputError:
                if not left or self._folder(name, fresh=True) == folder:
                    raise
        raise AssertionError("unreachable")

    def _folder(self, name: str, *, fresh: bool = False) -> Path:
        found = self.lookup.find(name, fresh=fresh)
        if not found.usable:
            with self._lock:
                self._held.pop(name, None)
            raise InputError(
                f"adapter {name}: is not to be used until it is trained anew: it holds signals of somebody who was "
                "forgotten",
                field="adapter",
            )
        return found.folder

    def _drop_stale(self) -> None:
        """Drop what is in memory and may not be used any more, or is gone: nobody may ever ask for it again."""
        state, now = self.lookup.state(), time.monotonic()
        with self._lock:
            if state == self._looked[0] or now - self._looked[1] < _LOOK:
                return
            self._looked, held = (state, now), list(self._held.items())
        for name, weights in held:
            try:
                found = self.lookup.find(name)
                stays = found.usable and found.folder == weights.folder
            except NotFoundError:
                stays = False
            except StorageError:
                self._looked = None, now
                return
            with self._lock:
                if not stays and self._held.get(name) is weights:
                    del self._held[name]
                    self._systems.pop(weights.folder, None)

    def _known(self, name: str, folder: Path) -> Weights | None:
        with self._lock:
            weights = self._held.get(name)
            if weights is None or weights.folder != folder:
                return None
            return self._used(weights)

    def _read(self, name: str, folder: Path) -> Weights:
        self._check(name, folder)
        weights = None
        for _ in range(2):
            try:
                weights = load(name, folder, self.linear, self.model.dtype, self.model.device)
                break
            except MemoryError:
                with self._lock:
                    self._make_room(0)
        if weights is None:
            raise InputError(
                f"adapter {name}: there is no memory left for it; lower memory_budget or max_batch", field="adapter"
            )
        with self._lock:
            return self._used(weights)

    def _check(self, name: str, folder: Path) -> None:
        """Raise unless an adapter was trained on this base, and on rows written as conversations are here."""
        try:
            self._hash = self._hash or self._hashed(self.base)
        except OSError as error:
            raise InputError(f"{self.base}: cannot be read ({error.strerror})", field="base") from None
        card = read_card(folder)
        base, here = card.base, "chat" if getattr(self.tokenizer, "chat_template", None) else "plain"
        if card.template != here:
            raise InputError(
                f"adapter {name}: was trained on rows of format {card.template}, and conversations with this base are"
                f" written as {here}; train it anew with template={here!r}",
                field="adapter",
            )
        if base.sha256 != self._hash:
            raise InputError(
                f"adapter {name}: was trained on {base.name} (weights {base.sha256[:12]}), and this is "
                f"{self.base.name} (weights {self._hash[:12]}); serve it with the base it was trained on",
                field="adapter",
            )

    def _used(self, weights: Weights) -> Weights:
        """Count a use, under the lock."""
        self._held[weights.name] = weights
        self._held.move_to_end(weights.name)
        self._uses[weights] = self._uses.get(weights, 0) + 1
        self._make_room()
        return weights

    def _make_room(self, budget: int | None = None) -> None:
        budget = self.budget if budget is None else budget
        total = sum(weights.size for weights in self._held.values())
        for name, weights in list(self._held.items()):
            if total <= budget:
                return
            if weights not in self._uses:
                del self._held[name]
                total -= weights.size

    def _warn(self, name: str, error: PersonaError) -> None:
        with self._lock:
            known, said = self._warned.pop(name, None), str(error)[:_SAID]
            self._warned[name] = said
            while len(self._warned) > _WARNED:
                self._warned.popitem(last=False)
        if known != said:
            _log.warning("adapter %.*r cannot be used, the base model answers in its place: %s", _SHOWN, name, said)


def _hash(folder: Path) -> str:
    from persona_sdk.tuning.training.bases import base_of  # noqa: PLC0415 - loaded when used

    return base_of(folder).sha256
