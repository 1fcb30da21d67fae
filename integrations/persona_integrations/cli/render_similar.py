"""What similar people bring, as tables and sentences: learning curves, and how well similar people are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from persona_integrations.cli.render import simple_table
from persona_integrations.cli.terminal import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from persona_sdk.evaluation.borrowing import BorrowingReport
    from persona_sdk.evaluation.similar import SimilarReport

__all__ = ["about_curves", "curves", "similar"]


def curves(console: Console, report: BorrowingReport, inferrer: str = "") -> None:
    """Print a table for each source: a row for each number of own choices that are known."""
    of = f", {inferrer}" if inferrer else ""
    for source, curve in report.curves.items():
        console.print(Text(f"\n{one_line(source, 60)}{of}", style="bold"))
        numbers = ("known", "n", "shared", "own", "borrowed", "other", "gain", "±", "log loss", "gain ")
        table = simple_table(*numbers, right=numbers)
        for point in curve.points:
            loss, gain = point.log_loss, point.gain
            table.add_row(
                "all" if point.known is None else str(point.known),
                f"{point.n:,}",
                *(_percent(point.accuracy[arm]) for arm in ("shared", "own", "borrowed", "other")),
                f"{100 * gain['accuracy']:+.1f}",
                _percent(gain["standard_error"]),
                f"{loss['own']:.3f} → {loss['borrowed']:.3f}",
                f"{gain['log_loss']:+.4f}",
            )
        console.print(table)
        console.print(one_line(curve.verified, 400))


def about_curves(console: Console) -> None:
    """Say what the columns of `curves` are."""
    console.print(
        "\nHeld-out choices predicted right, in per cent, where only so many of each person's own choices are known, by"
        " what people have in common (shared), from those choices (own), with what similar people lend (borrowed), and"
        " with what people lend who are similar to somebody else (other). log loss: own → borrowed, in nats; gain:"
        " borrowed − own, more is better for both; ±: one standard error of the first, over people. With no"
        " choice known nobody is similar, and nothing is borrowed."
    )


def similar(console: Console, report: SimilarReport) -> None:
    """Print how well each method finds who is truly similar, by source."""
    for source, found in report.sources.items():
        console.print(Text(one_line(source, 60), style="bold"))
        numbers = ("before", "±", "rank", "rank of dissimilar", "first ten", "first ten of dissimilar")
        table = simple_table("by", *numbers, right=numbers)
        for method, figures in found.methods.items():
            ranks = [_number(figures.rank[side]) for side in ("similar", "dissimilar")]
            hits = [_percent(figures.hit[side]) for side in ("similar", "dissimilar")]
            area = (_percent(figures.auc), _percent(figures.standard_error))
            table.add_row(method, *area, ranks[0], ranks[1], hits[0], hits[1])
        console.print(table)
        for method, why in found.left_out.items():
            console.print(f"{method}: left out, {one_line(why)}")
        console.print(
            f"{found.users:,} people, each compared with {max(0, found.people - 1):,} others; {found.described:,} have"
            f" sentences; {found.skipped:,} named in the file are not among them."
        )
        console.print(one_line(found.verified, 400))
    console.print(
        "\nbefore: how often, in per cent, somebody truly similar ranks before somebody truly dissimilar (chance: 50)."
        " ±: one standard error, over people. rank: the mean rank of those truly similar; first ten: the share of them"
        " that is among the first ten; beside each, the same of those truly dissimilar."
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
