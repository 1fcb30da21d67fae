"""The picture of a tailoring report: accuracy by arm, what each person gains, and whether everybody is served alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_sdk.evaluation._plot import _BLUE, _GREY, _INK, _ORANGE, _bare, _new_figure, _save, bars
from persona_sdk.evaluation._tailoring_report import TailoringReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from persona_sdk.evaluation._tailoring_figures import Mean

__all__ = ["main_arm", "plot_tailoring"]

_SHUFFLED = "shuffled:"
#: Lines of gains, in the order of `_compared`.
_STROKES: tuple[dict[str, Any], ...] = (
    {"color": _BLUE, "linestyle": "-", "linewidth": 2.0},
    {"color": _ORANGE, "linestyle": "-", "linewidth": 2.0},
    {"color": _BLUE, "linestyle": (0, (4, 2)), "linewidth": 1.6},
    {"color": _GREY, "linestyle": "-", "linewidth": 1.6},
)
_SEEN = {"trained": "people it was trained on", "unseen": "people it never saw"}


def main_arm(report: TailoringReport) -> str | None:
    """Return the arm that a picture is about: the last model with the persona, else with the first prefix there is.

    A prefix of one's own before somebody else's, any before none. None where there is nothing but the reference.
    """
    others = [name for name in report.arms if name != report.reference]
    if not others:
        return None
    model = report.arms[others[-1]].model_name
    order = [name for name in others if report.arms[name].model_name == model]
    return min(order, key=lambda name: _rank(report.arms[name].prefix))  # the first of equals


def _rank(prefix: str) -> int:
    known = {"persona": 0, "none": 3}
    return known.get(prefix, 2 if prefix.startswith(_SHUFFLED) else 1)


def _compared(report: TailoringReport) -> dict[str, dict[str, Any]]:
    """Return whose gains are drawn and how: the main arm's, the first model's with its prefix, and what is without."""
    main = main_arm(report)
    if main is None:
        return {}
    arm, first = report.arms[main], report.arms[report.reference]
    wanted = (
        (arm.model_name, arm.prefix),
        (first.model_name, arm.prefix),
        (arm.model_name, "none"),
        (arm.model_name, _SHUFFLED + arm.prefix),
    )
    found = {(one.model_name, one.prefix): name for name, one in report.arms.items() if name != report.reference}
    drawn: dict[str, dict[str, Any]] = {}
    for pair, stroke in zip(wanted, _STROKES, strict=True):
        if pair in found:
            drawn.setdefault(found[pair], stroke)
    return drawn


def plot_tailoring(report: TailoringReport, file: Path) -> None:
    """Draw a report as a PNG: accuracy by arm with chance, people's gains in order, and equity for the main arm.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InputError: the file cannot be written.
    """
    figure = _new_figure(max(9.0, 1.5 + 1.35 * len(report.arms)), 8.4)
    people = "1 person" if len(report.people) == 1 else f"{len(report.people):,} people"
    title = f"Held-out choices preferred: {report.choices:,} choices of {people}"
    figure.suptitle(title, fontsize=13, color=_INK, x=0.02, ha="left")
    grid = figure.add_gridspec(2, 2, height_ratios=(1.0, 1.05), width_ratios=(1.25, 1.0))
    _draw_accuracy(figure.add_subplot(grid[0, :]), report)
    _draw_gains(figure.add_subplot(grid[1, 0]), report)
    _draw_equity(figure.add_subplot(grid[1, 1]), report)
    _save(figure, file)


def _draw_accuracy(axes: Axes, report: TailoringReport) -> None:
    arms = list(report.arms.values())
    both = any(arm.accuracy[group].people for arm in arms for group in _SEEN)
    shown = _SEEN if both else {"all": "everybody"}
    present = {g: label for g, label in shown.items() if any(arm.accuracy[g].people for arm in arms)}
    series = {
        f"{label} (n = {arms[0].accuracy[group].people:,})": [_percent(arm.accuracy[group]) for arm in arms]
        for group, label in present.items()
    }
    bars(axes, [_label(arm.model_name, arm.prefix) for arm in arms], series, reference=(50.0, "chance"))
    if report.longer.value is not None:
        longer = 100 * report.longer.value
        axes.axhline(longer, color=_GREY, linewidth=1.2, linestyle=":", zorder=2, label="always the longer answer")
    _bare(axes, "Accuracy, % (mean over people ± s.e.)")
    for tick in axes.get_xticklabels():
        tick.set_parse_math(False)
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 25))
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda place: labels[place] not in series)  # bars first
    axes.legend(
        [handles[place] for place in order], [labels[place] for place in order], loc="upper center",
        bbox_to_anchor=(0.5, -0.17), ncols=3, frameon=False, fontsize=9, labelcolor=_INK,
    )  # fmt: skip


def _draw_gains(axes: Axes, report: TailoringReport) -> None:
    """Draw for some arms the gains of all people, each arm's sorted by themselves."""
    _bare(axes, "Gain by person, points, from least to most")
    chosen = _compared(report)
    places = list(range(1, len(report.people) + 1))
    for name, stroke in chosen.items():
        gains = sorted(100 * gain for gain in report.gains(name).values())
        arm = report.arms[name]
        worse = f"{100 * (arm.worse or 0):.0f} % worse off"
        label = f"{_label(arm.model_name, arm.prefix, ', ')}: {worse}"
        axes.plot(places, gains, marker="o", markersize=3.5, label=label, **stroke)
    axes.axhline(0, color=_INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -10), max(high, 10))
    axes.grid(axis="y", color="#eceef0", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("people", fontsize=9, color=_INK)
    axes.set_xticks(sorted({1, len(places)}))
    if chosen:
        legend = axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=1, frameon=False, fontsize=8.5, labelcolor=_INK
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def _draw_equity(axes: Axes, report: TailoringReport) -> None:
    """Draw each person's accuracy with the main arm over that with the first arm; people in one place as one disc."""
    name = main_arm(report)
    if name is None:
        _bare(axes, "Equity: nothing to compare with")
        axes.set_xticks([])
        axes.set_yticks([])
        return
    arm = report.arms[name]
    r = "–" if arm.equity is None else f"{arm.equity:.2f}"
    _bare(axes, f"Equity: r = {r} (0 is fairest)")
    for trained, colour, label in (
        (True, _BLUE, _SEEN["trained"]),
        (False, _GREY, _SEEN["unseen"]),
        (None, _BLUE, ""),
    ):
        points = Counter(
            (100 * one.accuracy[report.reference], 100 * one.accuracy[name])
            for one in report.people.values()
            if one.trained is trained
        )
        if points:
            (x, y), sizes = zip(*points, strict=True), [26 * count for count in points.values()]
            axes.scatter(x, y, s=sizes, color=colour, alpha=0.6, linewidths=0, label=label or None, zorder=3)
    axes.plot([0, 100], [0, 100], color=_INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for at, what, where in (((0.02, 0.97), "better off", "left"), ((0.98, 0.03), "worse off", "right")):
        place: dict[str, Any] = {"xycoords": "axes fraction", "ha": where, "va": "top" if at[1] > 0.5 else "bottom"}
        axes.annotate(what, at, fontsize=8.5, color=_INK, **place)
    first = report.arms[report.reference]
    labels = [f"{_label(one.model_name, one.prefix, ', ')}, %" for one in (first, arm)]
    axes.set_xlabel(labels[0], fontsize=9, color=_INK, parse_math=False)
    axes.set_ylabel(labels[1], fontsize=9, color=_INK, parse_math=False)
    axes.set_xlim(-5, 105)
    axes.set_ylim(-12, 113)  # room for the two words
    axes.set_xticks(range(0, 101, 25))
    axes.set_yticks(range(0, 101, 25))
    axes.grid(color="#eceef0", linewidth=0.8)
    axes.set_axisbelow(True)


def _label(model: str, prefix: str, between: str = "\n") -> str:
    said: Mapping[str, str] = {"none": "no prefix", "shuffled:persona": "shuffled persona"}
    short = model if len(model) <= 18 else f"{model[:17]}…"
    return f"{short}{between}{said.get(prefix, prefix.replace('_', ' ').replace(':', ' '))}"


def _percent(mean: Mean) -> tuple[float | None, float | None]:
    error = mean.standard_error
    return (None if mean.value is None else 100 * mean.value), (100 * error if error else None)
