"""A model computed for rows of several people at once, each with an adapter of its own, or none.

PEFT's own way (`adapter_names`) computes one adapter after the other in every module. For one token a row that takes
three times as long as the base does, most of it spent on beginning small products. So here the matrices of all
adapters of a batch lie side by side: two products in a module do for all of them, and what belongs to another row's
adapter is set to zero in between. That is the same sum, with zeros added: no number of one adapter reaches another row.
Where rows have many tokens, the products are large, and each adapter is computed for its own rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from persona_plugins.lora.weights import Weights, by_rows

__all__ = ["SideBySide"]


class SideBySide:
    """Computes a model, in evaluation, with an adapter for each row; threads take turns.

    Adapters that are computed with together are held once more, side by side, until others are.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._names = dict(model.named_modules())
        self._hooked: set[str] = set()
        self._lock = Lock()
        self._shelf = _Shelf()
        self._now: _Plan = _nothing
        self._shape = (0, 0)

    def __call__(self, rows: Sequence[Weights | None], **inputs: Any) -> Any:
        """Return what the model returns for `inputs`, row i of which is computed with the adapter `rows[i]`.

        `inputs` has `input_ids` [rows, tokens].
        """
        import torch  # noqa: PLC0415 - takes a second

        with self._lock, torch.inference_mode():
            self._shape = (len(rows), int(inputs["input_ids"].shape[1]))
            self._now = self._plan(rows, self._shape[1])
            try:
                return self.model(**inputs)
            finally:
                self._now = _nothing

    def rest(self) -> None:
        """Drop what was held side by side, unless something is being computed."""
        if self._lock.acquire(blocking=False):
            try:
                self._shelf = _Shelf()
            finally:
                self._lock.release()

    def _plan(self, rows: Sequence[Weights | None], tokens: int) -> _Plan:
        """Return what is to be added in a module."""
        needed = list(dict.fromkeys(weights for weights in rows if weights is not None))
        if not needed:
            return _nothing
        for name in {name for weights in needed for name in weights.modules} - self._hooked:
            self._names[name].register_forward_hook(self._hook(name))
            self._hooked.add(name)
        if len(needed) == 1 and None not in rows:
            return _alone(needed[0])
        return _by_rows(rows) if tokens > 1 or len(needed) == 1 else self._shelf.plan(rows, needed)

    def _hook(self, name: str) -> Any:
        def add(module: Any, args: tuple[Any, ...], out: Any) -> Any:
            if self._now is _nothing:
                return None
            given, rows = args[0], self._shape[0]
            if not by_rows(given.shape, *self._shape):  # whose numbers these are nobody can tell
                raise RuntimeError(f"{name}: computed for {tuple(given.shape)} where there are {rows} rows")
            # Some models lay all rows' tokens one below another, [rows * tokens, …].
            given, flat = (one.reshape(rows, -1, one.shape[-1]) for one in (given, out))
            made = self._now(name, given, flat)
            return None if made is None else made.reshape(out.shape)

        return add


#: What is to be added in a module, by its name: given its input and its output [rows, tokens, size], it returns the
#: sum, None for the output as it is.
_Plan: TypeAlias = Callable[[str, Any, Any], Any]


def _nothing(name: str, given: Any, out: Any) -> Any:
    return None


def _alone(weights: Weights) -> _Plan:
    """Every row has this adapter."""

    def add(name: str, given: Any, out: Any) -> Any:
        pair = weights.modules.get(name)
        return None if pair is None else _added(out, given @ pair[0].T, pair[1])

    return add


def _by_rows(rows: Sequence[Weights | None]) -> _Plan:
    """Each adapter is computed for its own rows."""
    import torch  # noqa: PLC0415 - takes a second

    of: dict[Weights, list[int]] = {}
    for row, weights in enumerate(rows):
        if weights is not None:
            of.setdefault(weights, []).append(row)
    # Rows beside each other are a part of the tensor; others have to be taken out of it, and put back.
    parts = [
        (weights, slice(places[0], places[-1] + 1) if places[-1] - places[0] < len(places) else torch.tensor(places))
        for weights, places in of.items()
    ]

    def add(name: str, given: Any, out: Any) -> Any:
        for weights, places in parts:
            pair = weights.modules.get(name)
            if pair is not None:
                out[places] += given[places] @ pair[0].T @ pair[1]
        return out

    return add


def _added(out: Any, low: Any, up: Any) -> Any:
    return out.reshape(-1, out.shape[-1]).addmm_(low.reshape(-1, low.shape[-1]), up).view(out.shape)


class _Shelf:
    """The matrices of several adapters side by side: `width` columns, of which each adapter has a range.

    Who comes is put where there is room, and all are put anew only if there is none, or far too much: a batch changes
    by one row at a time.
    """

    def __init__(self) -> None:
        self.width = 0
        #: Weak: what was dropped from memory is not kept here as well; its range is free.
        self._places: WeakKeyDictionary[Weights, int] = WeakKeyDictionary()
        self._modules: dict[str, tuple[Any, Any]] = {}

    def plan(self, rows: Sequence[Weights | None], needed: Sequence[Weights]) -> _Plan:
        """Put the adapters side by side, if they are not; return what computes them for these rows."""
        import torch  # noqa: PLC0415 - takes a second

        self._hold(needed)
        others = torch.ones(len(rows), self.width, dtype=torch.bool)
        for row, weights in enumerate(rows):
            if weights is not None:
                others[row, self._places[weights] : self._places[weights] + weights.rank] = False
        modules = self._modules
        others = others[:, None].to(next(iter(modules.values()))[0].device)

        def add(name: str, given: Any, out: Any) -> Any:
            pair = modules.get(name)
            return None if pair is None else _added(out, (given @ pair[0].T).masked_fill_(others, 0), pair[1])

        return add

    def _hold(self, needed: Sequence[Weights]) -> None:
        if self.width > 2 * sum(weights.rank for weights in needed):
            self._anew(needed)  # what nobody needs would be computed all the same
        elif not all(weights in self._places for weights in needed):
            self._places = WeakKeyDictionary({w: at for w, at in self._places.items() if w in needed})
            if not all(weights in self._places or self._put(weights) for weights in needed):
                self._anew(needed)

    def _put(self, weights: Weights) -> bool:
        """Put an adapter into a gap; False if there is none."""
        at = 0
        for other, start in sorted(self._places.items(), key=lambda item: item[1]):
            if start - at >= weights.rank:
                break
            at = start + other.rank
        if at + weights.rank > self.width:
            return False
        self._write(weights, at)
        return True

    def _anew(self, needed: Sequence[Weights]) -> None:
        self.width = sum(weights.rank for weights in needed)
        self._places, self._modules = WeakKeyDictionary(), {}
        at = 0
        for weights in needed:
            self._write(weights, at)
            at += weights.rank

    def _write(self, weights: Weights, at: int) -> None:
        end = at + weights.rank
        for name in weights.modules.keys() - self._modules.keys():
            self._modules[name] = tuple(one.new_zeros(self.width, one.shape[1]) for one in weights.modules[name])
        for name, held in self._modules.items():
            for all_of_them, one in zip(held, weights.modules.get(name, (None, None)), strict=True):
                all_of_them[at:end] = 0  # not every adapter is on every module, or of the same rank there
                if one is not None:
                    all_of_them[at : at + len(one)] = one
        self._places[weights] = at
