"""What a run looked like: its figures for the card, its log as JSON, and a picture of losses and margins."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from persona_sdk.tuning.training.watching import selection

__all__ = ["HISTORY", "History", "draw", "figures", "write_history"]

#: TRL's log of each stage, by the stage's folder name ("1-sft").
History: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]
#: The log in an adapter's folder, and the picture of it.
HISTORY, PICTURE = "history.json", "curves.png"
_BLUE, _ORANGE, _INK = "#3a6ea5", "#d1743c", "#333a42"


def figures(history: History) -> dict[str, float | None]:
    """Return what the card says of a run, by stage: steps, and loss, accuracy and margin of the checkpoint kept."""
    found: dict[str, float | None] = {}
    for stage, log in history.items():
        checks = [entry for entry in log if "eval_loss" in entry]
        best = max(checks, key=selection) if checks else {}
        losses = [entry["loss"] for entry in log if "loss" in entry]
        found[f"{stage}/steps"] = max((entry.get("step", 0) for entry in log), default=0)
        found[f"{stage}/train_loss"] = _number(losses[-1]) if losses else None
        for name, key in (
            ("loss", "eval_loss"),
            ("accuracy", "eval_rewards/accuracies"),
            ("margin", "eval_rewards/margins"),
        ):
            if key in best:
                found[f"{stage}/validation_{name}"] = _number(best[key])
    return found


def write_history(folder: Path, history: History) -> None:
    """Write the log, and the picture where matplotlib is installed."""
    (folder / HISTORY).write_text(json.dumps(history), encoding="utf-8")
    try:
        draw(history, folder / PICTURE)
    except ImportError:  # a picture is no reason to ask for another install
        return


def draw(history: History, file: Path) -> None:
    """Draw loss and margin over the steps of each stage: in training, and at each evaluation on held-out people."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an optional install
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415 - as above

    panels = [(stage, "loss") for stage in history]
    panels += [(stage, "rewards/margins") for stage, log in history.items() if any("rewards/margins" in e for e in log)]
    figure = Figure(figsize=(4.2 * len(panels), 3.2), layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1))
    for place, (stage, what) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), place)
        axes.plot(*_points(history[stage], what), color=_BLUE, linewidth=1.4, label="training")
        axes.plot(*_points(history[stage], f"eval_{what}"), "o-", color=_ORANGE, linewidth=1.4, label="held-out people")
        axes.set_title(f"{stage}: {'margin' if 'margins' in what else what}", loc="left", fontsize=10, color=_INK)
        axes.set_xlabel("step", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        if place == 1:
            axes.legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=150, format="png")


def _points(log: Sequence[Mapping[str, Any]], what: str) -> tuple[list[int], list[float]]:
    found = [(int(entry["step"]), float(entry[what])) for entry in log if what in entry]
    return [step for step, _ in found], [value for _, value in found]


def _number(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None
