"""The next token of each row of a batch: the likeliest, or drawn with the row's own temperature and seed."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from persona_sdk.errors import InputError

__all__ = ["Sampling", "chosen", "generator"]

_KINDS: tuple[tuple[str, Any, str], ...] = (
    ("max_tokens", Integral, "a whole number"),
    ("temperature", Real, "a number"),
    ("top_p", Real, "a number"),
    ("seed", Integral | None, "a whole number"),
)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one answer is made: at temperature 0 each token is the likeliest.

    `top_p` leaves out the least likely tokens beyond that share; equal seeds draw the same, None draws anew each time.
    """

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, kind, what in _KINDS:
            if not isinstance(getattr(self, name), kind):
                raise InputError(f"{name}: must be {what}, not {type(getattr(self, name)).__name__}", field=name)
        if not all(isinstance(one, str) for one in self.stop):
            raise InputError("stop: must be texts", field="stop")
        if self.max_tokens < 1:
            raise InputError(f"max_tokens: must be 1 or more, not {self.max_tokens}", field="max_tokens")
        if not 0 <= self.temperature < float("inf"):
            raise InputError(f"temperature: must be 0 or more, not {self.temperature}", field="temperature")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p: must be above 0 and at most 1, not {self.top_p}", field="top_p")


def generator(seed: int | None) -> Any:
    """Return a source of chance of its own for one row, so that it draws the same whoever is in the batch."""
    from torch import Generator  # noqa: PLC0415 - takes a second

    made = Generator()
    if seed is None:
        made.seed()
    else:
        made.manual_seed(seed % 2**63)
    return made


def chosen(logits: Any, how: list[tuple[Sampling, Any]]) -> list[int | None]:
    """Return a token for each row of `logits` [rows, words], None where they are infinite or no numbers.

    `how` holds each row's sampling and its `generator`.
    """
    greatest, words = logits.max(dim=-1)
    # Minus infinity is what some models say of words they never say; what is no number is the greatest.
    tokens: list[int | None] = [
        word if right else None for word, right in zip(words.tolist(), greatest.isfinite().tolist(), strict=True)
    ]
    for row, (sampling, chance) in enumerate(how):
        if sampling.temperature > 0 and tokens[row] is not None:
            tokens[row] = _drawn(logits[row], sampling, chance)
    return tokens


def _drawn(logits: Any, sampling: Sampling, chance: Any) -> int:
    import torch  # noqa: PLC0415 - takes a second

    # On the processor and in double precision: the same draw on every device. Subtracting first keeps a very small
    # temperature from making infinities.
    logits = logits.double().cpu()
    odds = ((logits - logits.max()) / sampling.temperature).softmax(dim=-1)
    if sampling.top_p < 1:
        ordered, words = odds.sort(descending=True)
        kept = ordered.cumsum(0) - ordered < sampling.top_p  # the one that reaches the share is kept
        return int(words[torch.multinomial(ordered * kept, 1, generator=chance)])
    return int(torch.multinomial(odds, 1, generator=chance))
