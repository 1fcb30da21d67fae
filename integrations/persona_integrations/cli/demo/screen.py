"""How the demo looks: short, in plain words, readable at 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from persona_integrations.cli import render
from persona_integrations.cli.demo.cast import WHO
from persona_integrations.cli.terminal import clean, one_line
from persona_sdk.signals import Signal, Utterance, choices_of, prompt_text

if TYPE_CHECKING:
    from rich.console import Console

    from persona_sdk.explanation import PersonaDiff
    from persona_sdk.memory import Forgotten
    from persona_sdk.models import Persona, Tailored, Trait

__all__ = [
    "SHOWN", "block", "closing", "corrected", "forgotten", "heading", "learnt", "opening", "person", "picks",
    "real_answers", "side_by_side",
]  # fmt: skip

_TRAITS_SHOWN = 2
#: A quotation shorter than this many characters says nothing.
_LEAST_QUOTED = 16
#: How many characters of a model's answer are shown.
SHOWN = 240
_LETTERS = "ABCDEFGH"
_INDENT = (0, 0, 0, 2)


def heading(console: Console, number: int, text: str) -> None:
    """Print the heading of one part."""
    console.print(Rule(Text(f"{number}  {text}", style="bold"), align="left", style="dim"))


def opening(console: Console, answering: str, missing: str) -> None:
    """Say what this is, who is answering, and what could be installed to answer."""
    console.print(f"Six made-up people, each of whom chose between two answers a few times. {answering}".strip())
    if missing:
        console.print(one_line(missing, 300))


def learnt(console: Console, people: int, choices: int, sayings: int, seconds: float) -> None:
    """Print part one."""
    heading(console, 1, "Their choices are learnt")
    console.print(f"{choices} choices and {sayings} remarks of {people} people, learnt in {seconds:.1f} s.")


def person(console: Console, persona: Persona, signals: Sequence[Signal]) -> None:
    """Print one person of part two: how well they are predicted, and the traits that do it."""
    name, occupation = WHO[persona.user_id]
    head = Text(f"{name}, {occupation}: ", style="bold")
    console.print(head.append(_lift(persona, len(choices_of(signals))), "not bold"))
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for trait in _shown(persona.traits):
        table.add_row(
            render.weight(trait), _trait(trait, {signal.id: signal for signal in signals}, console.width - 14)
        )
    if table.rows:
        console.print(Padding(table, _INDENT))


def _lift(persona: Persona, choices: int) -> str:
    lift = persona.lift
    if lift is None:
        return f"{choices} choices are too little evidence, so there is no persona"
    other = "" if lift.accuracy_other is None else f", another's: {lift.accuracy_other:.0%}"
    unsaid = "" if persona else ", but nothing is sure enough to be put in words"
    right = f"predicts {lift.accuracy_with:.0%} of {lift.choices} unseen choices"
    return f"{right} (no persona: {lift.accuracy_without:.0%}{other}){unsaid}"


def _shown(traits: Sequence[Trait]) -> list[Trait]:
    """Return the traits to show: the surest that were inferred, and one that was said."""
    stated = [t for t in traits if t.stated]
    return [*[t for t in traits if not t.stated][:_TRAITS_SHOWN], *stated[:1]]


def _trait(trait: Trait, signals: Mapping[str, Signal], room: int) -> Text:
    """Return a trait's sentence, with the evidence that spoke loudest if there is room for it on the line."""
    said = Text(one_line(trait.statement))
    first = next((e for e in trait.evidence if e.signal_id in signals), None)
    if first is None:
        return said
    signal = signals[first.signal_id]
    opening, shown = "as on", "" if isinstance(signal, Utterance) else prompt_text(signal)
    if first.quote:
        opening, shown = "their words:", first.quote
    left = room - len(said) - len(opening) - 6
    if shown and left >= _LEAST_QUOTED:
        said.append(f' ({opening} "{one_line(shown, left)}")', "dim")
    return said


def block(tailored: Tailored) -> str:
    """Return what tailoring put in front of a question: the notes, without the preface they all share."""
    system = "\n".join(str(m.get("content")) for m in tailored.messages if m.get("role") == "system")
    return "\n".join(line for line in system.splitlines() if line.startswith("- "))


def side_by_side(console: Console, question: str, blocks: Sequence[tuple[str, str]]) -> None:
    """Print the question, and what a model would be told about each person beside it."""
    console.print(f'They ask: "{question}"  A model would be told, in front of the question:')
    console.print(Padding(_columns([(f"about {WHO[user][0]}", text or "nothing") for user, text in blocks]), _INDENT))


def real_answers(console: Console, answers: Sequence[tuple[str, str]], local: bool) -> None:
    """Print the beginnings of what a model really answered; of the one on this machine, not to expect too much."""
    own = "The model's own answers:"
    if local:
        own = "The answers of a 135M-parameter model on this machine; it follows notes poorly:"
    console.print(own)
    console.print(Padding(_columns([(f"to {WHO[user][0]}", one_line(text, SHOWN)) for user, text in answers]), _INDENT))


def _columns(parts: Sequence[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), expand=True)
    for title, _ in parts:
        table.add_column(Text(title), ratio=1, overflow="fold")
    table.add_row(*(Text(clean(text)) for _, text in parts))
    return table


def picks(console: Console, answers: Sequence[str], picked: Mapping[str, int | None]) -> None:
    """Print the candidate answers, and who is given which."""
    console.print("Or pick the best of several answers. These four were written by hand:")
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for letter, answer in zip(_LETTERS, answers, strict=False):
        index = _LETTERS.index(letter)
        names = ", ".join(WHO[user][0] for user, choice in picked.items() if choice == index)
        table.add_row(
            Text(f"{letter}  {one_line(answer, max(40, console.width - 20))}"),
            Text(f"→ {names}" if names else "", style="bold"),
        )
    console.print(Padding(table, _INDENT))
    unknown = ", ".join(WHO[user][0] for user, choice in picked.items() if choice is None)
    if unknown:
        console.print(f"  {unknown} would get whichever comes first: nothing is known.")


def corrected(
    console: Console, user: str, said: str, changed: PersonaDiff, picked: tuple[int | None, int | None]
) -> None:
    """Print part four: what one sentence changed."""
    name = WHO[user][0]
    heading(console, 4, f"{name} corrects it")
    console.print(f'{name} says: "{said}"')
    render.changes(console, changed, most=2)
    before, after = (_LETTERS[p] if p is not None else "none" for p in picked)
    console.print(f"  answer picked for {name}: {before} → {after}")


def forgotten(console: Console, user: str, gone: Forgotten, texts: int, found: tuple[int | None, int | None]) -> None:
    """Print part five: what is left of somebody."""
    name = WHO[user][0]
    heading(console, 5, f"{name} is forgotten")
    versions = "1 persona version" if gone.versions == 1 else f"{gone.versions} persona versions"
    console.print(f"{gone.signals} signals and {versions} erased.")
    if found[0] is None:
        console.print("The database has no file here that could be searched.")
        return
    console.print(f"Of {name}'s {texts} texts, the database's files held {found[0]} before, and hold {found[1]} now.")


def closing(console: Console) -> None:
    """Say what to do next."""
    console.print(Rule(Text("What to do next", style="bold"), align="left", style="dim"))
    console.print(Padding("persona infer FILE.jsonl    your own rows: user_id, prompt, chosen, rejected", _INDENT))
    console.print(
        Padding("persona chat YOU --model …  talk to a model that adapts; persona --help has the rest", (0, 0, 0, 2))
    )
