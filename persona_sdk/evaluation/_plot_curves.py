"""The picture of learning curves: what borrowing from similar people adds to a person's own first choices."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_sdk.evaluation._plot import _BLUE, _GREY, _INK, _ORANGE, _bare, _new_figure, _save
from persona_sdk.evaluation.borrowing import BorrowingReport, Curve, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_curves"]

_COLUMNS = 2
#: Colour and stroke of each arm. Borrowed is dashed, so that one sees it lie on the line of the own choices.
_LINES: dict[str, dict[str, Any]] = {
    "shared": {"color": _GREY, "linewidth": 1.4, "label": "what people have in common"},
    "other": {"color": _ORANGE, "linewidth": 1.2, "linestyle": ":", "label": "borrowed from people like somebody else"},
    "own": {"color": _BLUE, "linewidth": 2.0, "label": "own choices"},
    "borrowed": {
        "color": _ORANGE, "linewidth": 2.2, "linestyle": (0, (5, 2)), "marker": "o", "markersize": 4,
        "label": "own choices, and borrowed from similar people",
    },
}  # fmt: skip


def plot_curves(report: BorrowingReport, file: Path) -> None:
    """Draw a panel for each source as a PNG: accuracy by the number of own choices known, with chance at ½.

    Bands are ± one standard error, of what is predicted from own choices and with what is borrowed.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InputError: the file cannot be written.
    """
    count = max(1, len(report.curves))
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    figure = _new_figure(5.4 * columns, 3.9 * rows + 0.9)
    figure.suptitle("Held-out choices predicted right, % (± s.e.)", fontsize=13, color=_INK, x=0.02, ha="left")
    first = None
    for i, (source, curve) in enumerate(report.curves.items()):
        axes = figure.add_subplot(rows, columns, i + 1)
        _draw(axes, source, curve)
        first = first or axes
    if first is not None:
        handles, labels = first.get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=min(2, columns),
            frameon=False,
            fontsize=9,
            labelcolor=_INK,
        )
    _save(figure, file)


def _draw(axes: Axes, source: str, curve: Curve) -> None:
    points = curve.points
    places = list(range(len(points)))
    for arm, line in _LINES.items():
        values = [100 * point.accuracy[arm] for point in points]
        if arm in ("own", "borrowed"):
            errors = [100 * point.standard_error[arm] for point in points]
            low, high = ([v + sign * e for v, e in zip(values, errors, strict=True)] for sign in (-1, 1))
            axes.fill_between(places, low, high, color=line["color"], alpha=0.13, linewidth=0)
        axes.plot(places, values, **line)
    axes.axhline(50, color=_INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    edge: dict[str, Any] = {"xytext": (-2, 3), "textcoords": "offset points", "ha": "right", "fontsize": 8.5}
    axes.annotate("chance", (1, 50), xycoords=("axes fraction", "data"), color=_INK, **edge)
    _bare(axes, "")
    axes.set_title(source, loc="left", fontsize=11, fontweight="bold", color=_INK, pad=10, parse_math=False)
    axes.grid(axis="y", color="#eceef0", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xticks(places, [_tick(point) for point in points])
    said = "\n".join(textwrap.wrap(curve.verified, 72))
    axes.set_xlabel(f"own choices known\n{said}", fontsize=8.5, color=_INK, parse_math=False)


def _tick(point: Point) -> str:
    return f"{'all' if point.known is None else point.known}\nn={point.n}"
