"""The report of `evaluate inference` as tables and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from persona_integrations.cli.render import simple_table
from persona_integrations.cli.terminal import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from persona_sdk.evaluation.inference import InferenceReport
    from persona_sdk.evaluation.preference import Wins
    from persona_sdk.evaluation.saliency import SalientWord
    from persona_sdk.language import Spent

__all__ = ["inference"]


def inference(console: Console, report: InferenceReport) -> None:
    """Print accuracy with its controls, who wins, the most telling words, and what it took."""
    _accuracy(console, report)
    if report.preference:
        console.print(Text("\nThe better persona, % of pairs", style="bold"))
        numbers = ("better", "tie", "worse", "pairs", "failed")
        table = simple_table("persona of", *numbers[:3], "than that of", *numbers[3:], right=numbers)
        table.add_row(*_wins("chosen answer", "rejected answer", report.preference))
        if report.rivals:
            table.add_row(*_wins(one_line(report.inferrer, 40), one_line(report.against or "", 40), report.rivals))
        console.print(table)
    _words(console, report)
    minute = f"{report.pairs_per_minute:,.0f} pairs a minute, {report.calls_per_pair:.1f} calls a pair"
    console.print(f"\nInferring: {minute}{_cost(report.spent)}.")
    scored = report.scorer_spent
    console.print(f"Scoring: {scored.calls:,} calls, {scored.scored:,} answers scored by likelihood.")


def _accuracy(console: Console, report: InferenceReport) -> None:
    numbers = ("pairs", "failed", "right", "±", "shuffled", "gain", "± ", "longer", "picks it")
    table = simple_table("persona of", *numbers, right=numbers)
    for who, own in report.accuracy.items():
        gain = report.gain[who]
        table.add_row(
            who,
            f"{own.n:,}",
            f"{own.failed:,}",
            *map(_percent, (own.accuracy, own.standard_error, report.shuffled[who].accuracy)),
            *map(_percent, (gain.accuracy, gain.standard_error)),
            *map(_percent, (report.longer[who], report.picks_longer[who])),
        )
    console.print(table)
    console.print(
        f"\nShare of pairs, in per cent, in which the scorer {one_line(report.scorer, 40)} picked the answer that the"
        " persona was made for (right; chance is 50), with another pair's persona instead (shuffled), and always taking"
        " the longer answer (longer). gain: right − shuffled; ±: one standard error of the figure before it; picks it:"
        " how often the longer answer was picked; failed: pairs without a persona, in no share."
    )


def _wins(first: str, second: str, wins: Wins) -> tuple[str, ...]:
    shares = [_percent(part / wins.asked if wins.asked else None) for part in (wins.first, wins.ties, wins.second)]
    return first, *shares, second, f"{wins.asked:,}", f"{wins.failed:,}"


def _words(console: Console, report: InferenceReport) -> None:
    chosen, rejected = report.words["chosen"], report.words["rejected"]
    if not chosen and not rejected:
        console.print("\nNo word is frequent enough to tell the two kinds of personas apart.")
        return
    console.print(Text("\nWords that tell: % of the personas with the word that are of this kind", style="bold"))
    table = simple_table("chosen", "%", "n", "rejected", "% ", "n ", right=("%", "n", "% ", "n "))
    for i in range(max(len(chosen), len(rejected))):
        left = _word(chosen[i], chosen[i].chosen) if i < len(chosen) else ("", "", "")
        right = _word(rejected[i], rejected[i].rejected) if i < len(rejected) else ("", "", "")
        table.add_row(*left, *right)
    console.print(table)


def _word(word: SalientWord, own: int) -> tuple[str, str, str]:
    return one_line(word.word, 40), f"{100 * own / word.count:.0f}", f"{word.count:,}"


def _cost(spent: Spent) -> str:
    if not spent.calls:
        return ""
    tokens = f", {spent.input_tokens:,} tokens in and {spent.output_tokens:,} out"
    return f"{tokens}, cost {spent.cost:.2f}" if spent.cost else tokens


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
