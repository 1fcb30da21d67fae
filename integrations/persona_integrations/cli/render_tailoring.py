"""The report of `evaluate tailoring` as tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.text import Text

from persona_integrations.cli.render import simple_table
from persona_integrations.cli.terminal import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from persona_sdk.evaluation.tailoring import Mean, TailoringReport
    from persona_sdk.evaluation.tailoring_cases import Cases
    from persona_sdk.evaluation.tailoring_tax import TaxReport
    from persona_sdk.evaluation.tailoring_text import TextFigures

__all__ = ["left_out", "tailoring", "tax", "written"]

#: Columns of a terminal from which on all figures stand in one table.
_WIDE = 100


def tailoring(console: Console, report: TailoringReport) -> None:
    """Print accuracy with its controls, an arm a row, and what swapping prefixes does."""
    people = "1 person" if len(report.people) == 1 else f"{len(report.people):,} people"
    console.print(Text(f"{report.choices:,} held-out choices of {people}", style="bold"))
    tuned = any(one.trained is not None for one in report.people.values())
    groups = ("trained", "unseen") if tuned else ()
    numbers = ("right", "±", *groups, "gain", "± ", "worse", "equity", "like length", "matched")
    rows = []
    for arm in report.arms.values():
        gain = arm.gain["all"] if arm.gain else None
        figures = (
            *_mean(arm.accuracy["all"]),
            *(_percent(arm.accuracy[group].value) for group in groups),
            *(("–", "–") if gain is None else _mean(gain, signed=True)),
            _percent(arm.worse),
            "–" if arm.equity is None else f"{arm.equity:.2f}",
            _percent(arm.controlled.value),
            _percent(arm.matched.value),
        )
        rows.append((one_line(arm.model_name, 40), one_line(arm.prefix, 40), *figures))
    # On a narrow terminal the last three columns would take the room of the names; they go below.
    for columns in (len(numbers),) if console.width >= _WIDE else (len(numbers) - 3, -3):
        shown = numbers[:columns] if columns > 0 else numbers[columns:]
        table = simple_table("model", "prefix", *shown, right=shown)
        for row in rows:
            table.add_row(*row[:2], *(row[2:][:columns] if columns > 0 else row[columns:]))
        console.print(table)
    longer = _percent(report.longer.value)
    console.print(
        "\nHow often, in per cent, the model finds the chosen answer likelier (chance is 50), the mean over people;"
        f" always taking the longer answer is right in {longer}. ±: one standard error of the figure before it, over"
        " people; gain: over the first row, in points; worse: people who lose by it; equity: correlation between a"
        " person's figure and theirs in the first row, 0 is fairest; like length: what is right as it were if both"
        " answers were as long; matched: right in the pairs that are within 10 % of each other in length."
    )
    if report.swaps:
        _swaps(console, report)


def _swaps(console: Console, report: TailoringReport) -> None:
    console.print(Text("\nSomebody else's prefix instead", style="bold"))
    numbers = ("steer", "±", "flips", "fits", "±", "choices")
    table = simple_table("model", "prefix", "of", *numbers, right=numbers)
    whose = {"shuffled": "anybody else", "contrary": "somebody contrary"}
    for swap in report.swaps:
        table.add_row(
            one_line(swap.model_name, 40),
            one_line(swap.prefix, 40),
            whose[swap.against],
            *_mean(swap.steer, signed=True),
            _percent(swap.flips.value),
            *_mean(swap.fits),
            f"{swap.choices:,}",
        )
    console.print(table)
    console.print(
        "\nsteer: by how many points more the chosen answer is preferred with one's own prefix; flips: how often, in"
        " per cent, the preferred answer changes; fits: how often, in per cent, the own prefix speaks more for what was"
        " chosen than the other does, however likely the answers are in themselves (chance is 50). Of the choices for"
        " which the two prefixes differ."
    )


def written(console: Console, found: Mapping[str, TextFigures]) -> None:
    """Print what the models wrote was like, an arm a row."""
    console.print(Text("\nAnswers written", style="bold"))
    numbers = ("answers", "failed", "words", "repeats", "looped", "empty", "distinct")
    table = simple_table("arm", *numbers, right=numbers)
    for arm, text in found.items():
        table.add_row(
            one_line(arm, 60),
            f"{text.answers:,}",
            f"{text.failed:,}",
            "–" if text.words is None else f"{text.words:.0f}",
            *map(_percent, (text.repetition, text.looped, text.empty, text.distinct)),
        )
    console.print(table)
    console.print(
        "\nwords: the mean; in per cent, repeats: runs of four words that an answer had before; looped: answers that"
        " say a sentence twice; empty: answers without a word; distinct: pairs of words that are new."
    )


def tax(console: Console, report: TaxReport) -> None:
    """Print what each arm costs on neutral prompts."""
    right = f", {_percent(report.accuracy)} % right of {report.pairs:,} pairs" if report.pairs else ""
    console.print(Text(f"\nOn {report.prompts:,} neutral prompts", style="bold"))
    console.print(f"{one_line(report.reference, 60)}: {report.nats:.3f} nats a token of the good answer{right}.")
    numbers = ("people", "prefixed", "nats", "±", "worst", "right", "± ", "worst ")
    table = simple_table("arm", *numbers, right=numbers)
    for arm, cost in report.arms.items():
        prefixed = sum(one.prefixed for one in cost.people.values()) / len(cost.people)
        error = cost.nats.standard_error
        table.add_row(
            one_line(arm, 60),
            "–" if "" in cost.people else f"{len(cost.people):,}",
            _percent(prefixed),
            "–" if cost.nats.value is None else f"{cost.nats.value:+.3f}",
            "–" if error is None else f"{error:.3f}",
            f"{cost.worst_nats:+.3f}",
            *_mean(cost.accuracy, signed=True),
            _percent(cost.worst_accuracy, signed=True),
        )
    console.print(table)
    console.print(
        "\nThe change from the figures above, negative is worse: of the log probability of a token of the good answer"
        " (nats), and of the good answers preferred, in points (right); the mean over people whose prefix is in front,"
        " and by the worst one's. prefixed: prompts with anything in front, in per cent."
    )


def left_out(console: Console, cases: Cases) -> None:
    """Say what was not asked about, and of whom nothing is known."""
    if cases.learnt:
        console.print(f"\nNot asked about, because an adapter has learnt from them: {cases.learnt:,} choices.")
    if cases.without:
        console.print(f"\nPeople of whom nothing was inferred, so that no persona is said: {cases.without:,}.")


def _mean(mean: Mean, *, signed: bool = False) -> tuple[str, str]:
    return _percent(mean.value, signed=signed), _percent(mean.standard_error)


def _percent(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "–"
    return f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"
