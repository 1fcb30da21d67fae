"""Personas, explanations and reports as text and tables that read well with and without colour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from persona_integrations.cli.terminal import clean, one_line
from persona_sdk.explanation import diff

if TYPE_CHECKING:
    from rich.console import Console

    from persona_sdk.explanation import Explanation, PersonaDiff
    from persona_sdk.hooks import PluginStatus
    from persona_sdk.models import Lift, Persona, Trait

__all__ = [
    "changes",
    "choices",
    "explanation",
    "lift",
    "messages",
    "persona",
    "plugins",
    "simple_table",
    "traits",
    "versions",
    "weight",
]


def simple_table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Return a table without frames; columns named in `right` are aligned there."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=any(columns))
    for column in columns:
        numeric = column in right
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    return table


def weight(trait: Trait) -> str:
    """Return a trait's weight with half its interval; what somebody said outright has no weight to be unsure of."""
    if trait.stated:
        return "said"
    return f"{trait.weight:+.1f} ± {(trait.interval[1] - trait.interval[0]) / 2:.1f}"


def lift(measured: Lift) -> str:
    """Return in a sentence how well held-out choices are predicted."""
    without = f"{measured.accuracy_without:.0%} without the persona"
    other = "" if measured.accuracy_other is None else f", {measured.accuracy_other:.0%} with somebody else's"
    return f"predicts {measured.accuracy_with:.0%} of {measured.choices} choices it had not seen ({without}{other})"


def persona(console: Console, shown: Persona, why: Explanation | None = None) -> None:
    """Print a persona: its traits with weight, key and (from `why`) evidence, and how well it predicts."""
    pinned = ", pinned" if shown.pinned else ""
    head = f"{one_line(shown.user_id)}, persona version {shown.version}{pinned}"
    if not shown.version:
        head = one_line(shown.user_id)
    learnt = f", learnt from {shown.lineage.signals:,} signals" if shown.lineage.signals else ""
    console.print(Text(head, style="bold").append(learnt, style="not bold"))
    if shown.lift:
        console.print(lift(shown.lift))
    if shown.note:
        console.print(one_line(shown.note, 400))
    if shown.traits:
        console.print()
        traits(console, shown, why)


def traits(console: Console, shown: Persona, why: Explanation | None = None) -> None:
    """Print the traits as a table; weights are changes in the log-odds of a choice."""
    evidence = {r.trait.id: r.evidence for r in why.reasons} if why else {}
    table = simple_table("weight", "trait", "key", "status", right=("weight",))
    for trait in shown.traits:
        said = Text(one_line(trait.statement, 300))
        for line in evidence.get(trait.id, ())[:1]:
            said.append(f"\n{one_line(line, 100)}", style="dim")
        table.add_row(weight(trait), said, one_line(trait.key, 60), trait.status)
    console.print(table)
    console.print("\nweight: change in the log-odds of a choice, with its 80 % interval; said: in their own words")


def explanation(console: Console, shown: Explanation) -> None:
    """Print why a call (or a persona) is as it is: traits that spoke, those that did not, evidence, tailors."""
    version = f", persona version {shown.version}" if shown.version else ""
    console.print(
        Text(f"{one_line(shown.user_id)}{version}: ", style="bold").append(one_line(shown.gate, 400), "not bold")
    )
    if shown.lift:
        console.print(lift(shown.lift))
    for reason in shown.reasons:
        silent = "" if reason.used or not shown.steps else f"  (not used: {one_line(reason.why)})"
        mark = "+" if reason.used else "-" if shown.steps else "·"
        console.print(Text(f"{mark} {one_line(reason.trait.statement, 300)}").append(silent, style="dim"))
        for line in reason.evidence:
            console.print(Padding(Text(f"because {one_line(line, 300)}", style="dim"), (0, 0, 0, 4)))
    for step in shown.steps:
        did = (
            f"skipped: {step.skipped}" if step.skipped else f"{step.detail or 'applied'}, {step.tokens_added:+} tokens"
        )
        console.print(f"{one_line(step.tailor)}: {one_line(did)}")
        for loan in step.borrowed:
            console.print(f"    {one_line(loan.statement, 300)}  (borrowed from {loan.people} similar people)")


def messages(console: Console, sent: Iterable[Mapping[str, Any]]) -> None:
    """Print the messages of a call, each with its role."""
    console.print(Text("\nwhat is sent to the model", style="bold"))
    for message in sent:
        content = message.get("content")
        text = content if isinstance(content, str) else repr(content)
        console.print(Text(f"[{one_line(str(message.get('role')), 40)}]", style="dim"))
        console.print(Padding(Text(clean(text)), (0, 0, 0, 2)))


def versions(console: Console, listed: Sequence[Persona], current: Persona) -> None:
    """Print the versions of a persona, oldest first, each with what it changed."""
    if not listed:
        console.print(f"{one_line(current.user_id)} has no persona yet: {one_line(current.note, 400)}")
        return
    table = simple_table("", "version", "time (UTC)", "predicts", "changes", "why", right=("version", "predicts"))
    before: Persona | None = None
    for version in listed:
        mark = "" if version.version != current.version else "pinned" if current.pinned else "current"
        predicts = f"{version.lift.accuracy_with:.0%}" if version.lift else "–"
        changed = _counts(diff(before, version)) if before else f"+{len(version.traits)}"
        at = f"{version.at:%Y-%m-%d %H:%M}"
        table.add_row(mark, str(version.version), at, predicts, changed, one_line(version.lineage.reason, 300))
        before = version
    console.print(table)
    console.print("\nchanges: traits that came (+), went (-) or changed (~) against the version above")


def _counts(changed: PersonaDiff) -> str:
    counts = (("+", changed.added), ("-", changed.removed), ("~", changed.changed))
    return " ".join(f"{sign}{len(what)}" for sign, what in counts if what) or "none"


def changes(console: Console, changed: PersonaDiff, *, most: int = 50) -> None:
    """Print what changed from one version to another, a line each, of mere changes in weight `most`."""
    console.print(f"version {changed.old} → {changed.new}")
    for trait in {t.statement: t for t in changed.added}.values():  # one sentence may be about several things
        console.print(Text(f"  + {one_line(trait.statement, 300)}  [{weight(trait)}]"))
    for trait in changed.removed:
        console.print(Text(f"  - {one_line(trait.statement, 300)}  [{weight(trait)}]"))
    visible = [(old, new) for old, new in changed.changed if (weight(old), old.status) != (weight(new), new.status)]
    for old, new in visible[:most]:
        console.print(Text(f"  ~ {one_line(new.statement, 300)}  [{weight(old)} → {weight(new)}]"))
    if len(visible) > most:
        console.print(f"  ~ and {len(visible) - most} more weights, slightly")
    if not (changed.added or changed.removed or visible):
        console.print("  nothing changed")


def plugins(console: Console, statuses: Iterable[PluginStatus]) -> None:
    """Print what became of every plugin."""
    table = simple_table("name", "version", "from", "adds", "state", "reason")
    for s in statuses:
        cells = (s.name, s.version, s.distribution, ", ".join(s.kinds), s.state, s.reason)
        table.add_row(*(one_line(cell) for cell in cells))
    console.print(table)


_ARMS = ("none", "shared", "persona", "other", "verified")


def choices(console: Console, report: Mapping[str, Any], inferrer: str = "") -> None:
    """Print an evaluation of choices: accuracy under each condition, by where the rows come from."""
    numbers = ("n", *_ARMS, "±", "off")
    table = simple_table(inferrer or "source", *numbers, right=numbers)
    for source, measured in report["sources"].items():
        accuracy = [_percent(measured["accuracy"].get(arm)) for arm in _ARMS]
        error, off = ((measured.get(what) or {}).get("persona") for what in ("standard_error", "calibration_error"))
        table.add_row(one_line(source, 60), f"{measured['n']:,}", *accuracy, _percent(error), _percent(off))
    console.print(table)
    seconds = sum(measured.get("seconds") or 0 for measured in report["sources"].values())
    spent = report.get("spent")
    asked = ""
    if spent:
        asked = f", {spent['calls']:,} calls of a model ({spent['calls_per_user']:.1f} a person)"
        asked += f", {spent['scored']:,} answers scored, {spent['pairs_per_minute']:,.0f} pairs a minute"
    console.print(f"{seconds:.1f} s{asked}", style="dim")


def about_choices(console: Console) -> None:
    """Say what the columns of `choices` are."""
    console.print(
        "\nHeld-out choices predicted right, in per cent, knowing nothing (none), what people have in common (shared),"
        " also this person's own choices (persona), somebody else's instead (other), or their own only where"
        " verification believed them (verified). ±: one standard error of persona; off: its calibration error."
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
