"""What several reports count in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["right", "rounded"]


def right(p: float) -> float:
    """Return whether a probability of what was chosen predicts it: 1, 0, or ½ for a coin's."""
    return 1.0 if p > 0.5 + 1e-9 else 0.5 if p >= 0.5 - 1e-9 else 0.0


def rounded(value: Any) -> Any:
    """Return figures with every float rounded to four digits, however deep they are nested."""
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value
