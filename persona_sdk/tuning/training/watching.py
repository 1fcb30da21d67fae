"""What watches a training run: which checkpoint is best, how far it has come."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback

__all__ = ["SELECTION", "Selecting", "Telling", "selection"]

#: The figure that says which checkpoint is best.
SELECTION = "eval_selection"
#: Between checkpoints that get as many pairs right, the lower loss decides; it may not outweigh one pair.
_TIE = 1e-4


def selection(metrics: Mapping[str, float]) -> float:
    """Return how good a checkpoint is, by what an evaluation found: the higher, the better."""
    loss = metrics.get("eval_loss", math.inf)
    if not math.isfinite(loss):  # nothing would be greater than a NaN that came first
        return -math.inf
    accuracy = metrics.get("eval_rewards/accuracies")
    return -loss if accuracy is None else accuracy - _TIE * min(loss, 10.0)


class Selecting(TrainerCallback):  # type: ignore[misc]  # transformers is read as untyped
    """Makes the figure that checkpoints are chosen by: held-out reward accuracy and then the loss; for SFT the loss."""

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        """Add it to what was measured."""
        metrics[SELECTION] = selection(metrics)


class Telling(TrainerCallback):  # type: ignore[misc]  # transformers is read as untyped
    """Tells how many steps of how many are done."""

    def __init__(self, told: Callable[[int, int], None]) -> None:
        self._told = told

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell where the stage begins, after a kill in its middle."""
        self._told(state.global_step, state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell of a step."""
        self._told(state.global_step, state.max_steps)
