"""A base model, held once, and the adapters that were used last, held beside it within a budget of memory."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from persona_plugins.lora.weights import Weights, linear_modules, load
from persona_sdk.errors import InputError, MissingExtraError, NotFoundError, PersonaError, StorageError
from persona_sdk.tuning.cards import read_card

__all__ = ["AdapterPool", "Source", "require_torch"]

_log = logging.getLogger("persona_sdk")
#: How often an adapter is looked up again that was replaced while it was read.
_TRIES = 3


class Source(Protocol):
    """Where adapters are found by name: `persona_sdk.tuning.adapters.Adapters`, or anything like it.

    A folder is never changed: an adapter that is trained anew is in another one.
    """

    def path(self, name: str) -> Path:
        """Return the folder of an adapter; a NotFoundError if there is none of this name."""
        ...

    def usable(self, name: str) -> bool:
        """Return whether it may be given to people."""
        ...


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
        self.base, self.adapters, self.budget = Path(base), adapters, budget
        self.model, self.tokenizer = _loaded(self.base, dtype, device)
        self.linear = linear_modules(self.model)
        self._hashed, self._hash = hashed or _hash, ""
        self._held: OrderedDict[str, Weights] = OrderedDict()
        self._uses: dict[Weights, int] = {}
        self._systems: dict[Path, str] = {}
        self._warned: dict[str, str] = {}
        self._lock, self._loading = Lock(), Lock()

    def take(self, name: str, *, strict: bool = False) -> Weights | None:
        """Return an adapter, to be given back with `release`; None, and a warning in the log, if it cannot be used.

        The warning is given once, until the adapter can be used or something else is wrong with it.

        Raises:
            NotFoundError: there is none of this name; only if `strict`, as all that follow.
            InputError: it is damaged, was trained on another base, or is not to be used any more.
            StorageError: the folder of adapters cannot be read.
        """
        try:
            weights = self._take(name)
        except (NotFoundError, InputError, StorageError) as error:
            if strict:
                raise
            self._warn(name, error)
            return None
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
            folder = self.adapters.path(name)
            if folder not in self._systems:
                self._systems[folder] = read_card(folder).system
            return self._systems[folder]
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
                if not left or self._folder(name) == folder:
                    raise
        raise AssertionError("unreachable")

    def _folder(self, name: str) -> Path:
        folder = self.adapters.path(name)
        if not self.adapters.usable(name):
            with self._lock:
                self._held.pop(name, None)
            raise InputError(
                f"adapter {name}: is not to be used until it is trained anew: it holds signals of somebody who was "
                "forgotten",
                field="adapter",
            )
        return folder

    def _known(self, name: str, folder: Path) -> Weights | None:
        with self._lock:
            weights = self._held.get(name)
            if weights is None or weights.folder != folder:
                return None
            return self._used(weights)

    def _read(self, name: str, folder: Path) -> Weights:
        self._check(name, folder)
        weights = load(name, folder, self.linear, self.model.dtype, self.model.device)
        with self._lock:
            return self._used(weights)

    def _check(self, name: str, folder: Path) -> None:
        """Raise unless an adapter was trained on this base."""
        self._hash = self._hash or self._hashed(self.base)
        base = read_card(folder).base
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

    def _make_room(self) -> None:
        total = sum(weights.size for weights in self._held.values())
        for name, weights in list(self._held.items()):
            if total <= self.budget:
                return
            if weights not in self._uses:
                del self._held[name]
                total -= weights.size

    def _warn(self, name: str, error: PersonaError) -> None:
        if self._warned.get(name) != str(error):
            self._warned[name] = str(error)
            _log.warning("adapter %s cannot be used, the base model answers in its place: %s", name, error)


def require_torch() -> None:
    """Raise a MissingExtraError unless what runs a tuned model is installed."""
    missing = [name for name in ("torch", "transformers", "safetensors") if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"a tuned model needs {', '.join(missing)}: pip install 'persona-sdk[tune]'", plugin="lora"
        )


def _hash(folder: Path) -> str:
    from persona_sdk.tuning.training.bases import base_of  # noqa: PLC0415 - loaded when used

    return base_of(folder).sha256


def _loaded(folder: Path, dtype: str, device: str) -> tuple[Any, Any]:
    import torch  # noqa: PLC0415 - takes a second
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - as above
    from transformers.utils import logging as said  # noqa: PLC0415 - as above

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if dtype == "auto":
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
    shown = said.is_progress_bar_enabled()
    said.disable_progress_bar()  # it would draw a bar on stderr
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), local_files_only=True)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"{folder}: cannot be loaded as a transformers model ({type(error).__name__})", field="base"
        ) from error
    finally:
        if shown:
            said.enable_progress_bar()
    return model.to(device).eval(), tokenizer
