"""Pictures of reports, by matplotlib (the extra `plots`), which is loaded when a picture is drawn."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from persona_sdk.errors import InputError, MissingExtraError
from persona_sdk.evaluation.inference import CHANCE, Accuracy, InferenceReport
from persona_sdk.evaluation.preference import Wins
from persona_sdk.evaluation.saliency import LABELS, Label, SalientWord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bars", "plot_inference", "require_plots"]

# Blue and orange are told apart by colour-blind readers, too; greys are for what is compared with.
_BLUE, _ORANGE, _GREY, _PALE, _INK = "#3a6ea5", "#d1743c", "#9aa3ad", "#d5d9de", "#333a42"
_COLOURS = (_BLUE, _GREY, _PALE, _ORANGE)
_OF: dict[Label, str] = {"chosen": _BLUE, "rejected": _ORANGE}
_DOTS_PER_INCH = 150

#: A figure and its standard error, where there are such.
_Value: TypeAlias = tuple[float | None, float | None]


def require_plots(file: Path) -> None:
    """Check that a picture can be drawn into `file`, before anything is worked out for it.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InputError: the file is no PNG by its name, or its folder does not exist.
    """
    _new_figure(1, 1)
    if file.suffix.lower() != ".png":
        raise InputError(f"{file}: pictures are PNG, so the name must end in .png", field="plot")
    if not file.parent.is_dir():
        raise InputError(f"{file}: cannot be written (there is no such folder)", field="plot")


def _new_figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an optional install, and slow to load
        from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415
    except ImportError:
        message = "pictures need the extra `plots`: pip install 'persona-sdk[plots]'"
        raise MissingExtraError(message, plugin="evaluation") from None
    # Without pyplot: no window, and nothing global.
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.12))


def _save(figure: Figure, file: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")  # a word in a script the font lacks
            figure.savefig(file, dpi=_DOTS_PER_INCH, format="png")
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror})", field="plot") from error


def _bare(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=_INK, pad=10)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, colors=_INK, labelsize=9.5)


def bars(
    axes: Axes,
    groups: Sequence[str],
    series: Mapping[str, Sequence[_Value]],
    *,
    reference: tuple[float, str] | None = None,
    form: str = "{:.0f}",
) -> None:
    """Draw bars side by side: for each of `series`, a value with its ± error (either may be None) per group.

    Each bar carries its value, written as `form` says. `reference` is a dashed line across, with what it is.
    """
    width = 0.8 / max(1, len(series))
    for k, (name, values) in enumerate(series.items()):
        for i, (value, error) in enumerate(values):
            at = i + (k - (len(series) - 1) / 2) * width
            height = 0.0 if value is None else value
            axes.bar(at, height, width * 0.9, color=_COLOURS[k % len(_COLOURS)], label=None if i else name)
            if error:
                axes.errorbar(at, height, yerr=error, color=_INK, linewidth=1.2, capsize=3, zorder=3)
            text, above = ("–" if value is None else form.format(value)), height + (error or 0)
            place: dict[str, Any] = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
            axes.annotate(text, (at, above), fontsize=8.5, color=_INK, zorder=4, **place)
    axes.set_xticks(range(len(groups)), groups)
    axes.grid(axis="y", color="#eceef0", linewidth=0.8)
    axes.set_axisbelow(True)
    if reference:
        value, what = reference
        axes.axhline(value, color=_INK, linewidth=1, linestyle=(0, (4, 3)), zorder=2)
        edge: dict[str, Any] = {"xytext": (-2, 3), "textcoords": "offset points", "ha": "right", "fontsize": 8.5}
        axes.set_xlim(-0.5, len(groups) - 0.5 + 0.18)
        axes.annotate(what, (1, value), xycoords=("axes fraction", "data"), color=_INK, **edge)


def _percent(measured: Accuracy) -> _Value:
    error = measured.standard_error
    return (None if measured.accuracy is None else 100 * measured.accuracy), (100 * error if error else None)


def _draw_accuracy(axes: Axes, report: InferenceReport) -> None:
    who = list(report.accuracy)
    longer: list[_Value] = [(None if share is None else 100 * share, None) for share in report.longer.values()]
    series = {
        "the pair's own persona": [_percent(a) for a in report.accuracy.values()],
        "another pair's persona": [_percent(a) for a in report.shuffled.values()],
        "always the longer answer": longer,
    }
    bars(axes, [f"of {w} answers" if w != "both" else "both" for w in who], series, reference=(100 * CHANCE, "chance"))
    _bare(axes, "Personas under which the right answer was picked, % (± s.e.m.)")
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 25))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3, frameon=False, fontsize=9, labelcolor=_INK)


def _draw_shares(axes: Axes, rows: Sequence[tuple[str, str, Wins]]) -> None:
    """Draw who wins as one bar of three parts a row, named by the two sides it compares."""
    for i, (first, second, wins) in enumerate(rows):
        at, left = len(rows) - 1 - i, 0.0
        shares = [100 * part / max(1, wins.asked) for part in (wins.first, wins.ties, wins.second)]
        for share, colour, ink in zip(shares, (_BLUE, _PALE, _ORANGE), ("white", _INK, "white"), strict=True):
            axes.barh(at, share, 0.42, left=left, color=colour, edgecolor="white")
            if share >= 6:
                axes.text(left + share / 2, at, f"{share:.0f}", ha="center", va="center", color=ink, fontsize=9.5)
            left += share
        style: dict[str, Any] = {"fontsize": 9.5, "va": "bottom", "parse_math": False}
        axes.text(0, at + 0.26, first, ha="left", color=_BLUE, **style)
        axes.text(50, at + 0.26, "tie", ha="center", color=_INK, **style)
        axes.text(100, at + 0.26, second, ha="right", color=_ORANGE, **style)
    _bare(axes, "The better persona, % of pairs")
    axes.set_xlim(0, 100)
    axes.set_ylim(-0.5, len(rows) - 0.3)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_words(axes: Axes, words: Sequence[SalientWord], label: Label, most: int) -> None:
    _bare(axes, f"Salient words: P({label} | word), %")
    shares = [100 * w.probability(label) for w in words]
    axes.barh(range(len(words)), shares, 0.72, color=_OF[label])
    for i, (word, share) in enumerate(zip(words, shares, strict=True)):
        axes.text(share - 1.5, i, f"{share:.0f}", ha="right", va="center", color="white", fontsize=8.5)
        axes.text(share + 1.5, i, f"n={word.count}", ha="left", va="center", color=_GREY, fontsize=8.5)
    axes.set_yticks(range(len(words)), [w.word for w in words], parse_math=False)
    axes.set_ylim(max(most, 1) - 0.5, -0.5)  # the first on top, and bars as thick in both lists
    axes.set_xlim(0, 116)
    axes.set_xticks([])
    if not words:
        axes.text(0, 0, "none is frequent enough", color=_GREY, fontsize=9.5, va="center")


def plot_inference(report: InferenceReport, file: Path) -> None:
    """Draw a report as a PNG: accuracy with its controls and chance, who wins, and the most telling words.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InputError: the file cannot be written.
    """
    rows: list[tuple[str, str, Wins]] = []
    if report.preference:
        rows.append(("of the chosen answer", "of the rejected one", report.preference))
    if report.rivals:
        rows.append((report.inferrer, report.against or "", report.rivals))
    most = max(1, *(len(report.words[label]) for label in LABELS))
    heights = [3.6, *([0.55 + 0.75 * len(rows)] if rows else []), 0.9 + 0.26 * most]
    figure = _new_figure(9, math.fsum(heights) + 0.8)
    pairs = f"{report.pairs:,} pair{'s' if report.pairs > 1 else ''}"
    title = f"Personas inferred by {report.inferrer}, accuracy by {report.scorer}: {pairs}"
    figure.suptitle(title, fontsize=13, color=_INK, x=0.02, ha="left", parse_math=False)
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    _draw_accuracy(figure.add_subplot(grid[0, :]), report)
    if rows:
        _draw_shares(figure.add_subplot(grid[1, :]), rows)
    for column, label in enumerate(LABELS):
        _draw_words(figure.add_subplot(grid[-1, column]), report.words[label], label, most)
    _save(figure, file)
