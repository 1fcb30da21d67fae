"""What there is to train on: processor or accelerator, and the precision it is fast in."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cache

import torch

__all__ = ["Machine", "look"]

#: Side of the matrices that the processor's speed is tried with; a few milliseconds each.
_SIDE = 384
#: bfloat16 rounds; it has to be worth it.
_WORTH = 1.3


@dataclass(frozen=True, slots=True)
class Machine:
    """Where training runs: `device` is torch's name, `dtype` what weights are kept and multiplied in.

    `processes` is how many train together (under `accelerate launch`). With `saves_memory` activations are computed
    twice instead of kept.
    """

    device: str
    dtype: str
    processes: int = 1
    saves_memory: bool = False


def look(dtype: str | None = None, *, saves_memory: bool = False) -> Machine:
    """Return what this process trains on; `dtype` ("float32", "bfloat16") overrides what is fast here."""
    if torch.cuda.is_available():
        device, fast = "cuda", "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    elif torch.backends.mps.is_available():
        device, fast = "mps", "float32"
    else:
        device, fast = "cpu", _faster_on_cpu()
    return Machine(device, dtype or fast, int(os.environ.get("WORLD_SIZE", "1")), saves_memory)


@cache
def _faster_on_cpu() -> str:
    """Processors differ by an order of magnitude in how fast they multiply bfloat16, both ways; so it is tried."""
    seconds = {dtype: min(_multiply(dtype) for _ in range(5)) for dtype in (torch.float32, torch.bfloat16)}
    return "bfloat16" if seconds[torch.float32] > _WORTH * seconds[torch.bfloat16] else "float32"


def _multiply(dtype: torch.dtype) -> float:
    one = torch.ones(_SIDE, _SIDE, dtype=dtype)
    started = time.perf_counter()
    one @ one
    return time.perf_counter() - started
