"""`similar people`, `similar rebuild`, `similar status` and `share`: who is alike, and who lends what they prefer."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from persona_integrations.cli import progress
from persona_integrations.cli.context import JsonOption, UserArgument, check_user, given, known
from persona_integrations.cli.render import simple_table
from persona_integrations.cli.terminal import complain, emit_json, one_line, output

if TYPE_CHECKING:
    from persona_sdk.engine import Personalizer
    from persona_sdk.similar import IndexStatus

__all__ = ["people", "rebuild", "share", "status"]

_PLUGIN = "similar_personas"
IndexOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="SPEC",
        help="Where vectors are kept: chroma, chroma:FOLDER, chroma:http://HOST:PORT, exact:FOLDER.",
        show_default="chroma",
    ),
]


def people(
    ctx: typer.Context,
    user: UserArgument,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many, at most.")] = 10,
    index: IndexOption = None,
    json: JsonOption = False,
) -> None:
    """Show the people who prefer most alike."""
    with _open(ctx, index) as personalizer:
        found = personalizer.neighbours(known(personalizer, user), limit)
        expected = personalizer.index_status().expected if not found else 0
    if json:
        emit_json([asdict(one) for one in found])
        return
    console = output()
    if not found:
        hint = "" if expected else ": nobody can be compared yet; `persona similar rebuild` compares everybody anew"
        console.print(f"Nobody is known to prefer alike{hint}.")
        return
    table = simple_table("similarity", "person", right=("similarity",))
    for one in found:
        table.add_row(f"{one.similarity:.2f}", one_line(one.user_id, 80))
    console.print(table)
    console.print("\nsimilarity: cosine of what two people lean to beyond everybody (0 … 1)")


def rebuild(ctx: typer.Context, index: IndexOption = None, json: JsonOption = False) -> None:
    """Compare everybody anew.

    What each person leans to is learnt again from their signals, what may be borrowed is verified on held-out choices,
    and the index is built from that.
    """
    with _open(ctx, index) as personalizer, progress.people("comparing", len(personalizer.users())) as track:
        found = personalizer.rebuild_index(track)
    _report(found, json)


def status(ctx: typer.Context, index: IndexOption = None, json: JsonOption = False) -> None:
    """Show how the index stands, and what was verified that may be borrowed."""
    with _open(ctx, index) as personalizer:
        found = personalizer.index_status()
    _report(found, json)


def share(
    ctx: typer.Context,
    user: UserArgument,
    lend: Annotated[
        bool | None, typer.Option("--lend/--no-lend", help="Others may be helped by what this person prefers.")
    ] = None,
    borrow: Annotated[
        bool | None, typer.Option("--borrow/--no-borrow", help="This person may be helped by what others prefer.")
    ] = None,
    index: IndexOption = None,
    json: JsonOption = False,
) -> None:
    """Show or set whether a person lends what they prefer, in general words, and borrows from others."""
    with _open(ctx, index) as personalizer:
        check_user(user)
        if not personalizer.signals(user):
            complain(f"there are no signals of {one_line(user, 80)} yet; is the id spelt right?")
        if lend is None and borrow is None:
            consent = personalizer.consent(user)
        else:
            consent = personalizer.share(user, lend=lend, borrow=borrow)
    if json:
        emit_json(asdict(consent))
        return
    lends, borrows = ("" if yes else "not " for yes in (consent.lend, consent.borrow))
    output().print(f"{one_line(user, 80)} does {lends}lend, and does {borrows}borrow.")


def _open(ctx: typer.Context, index: str | None) -> Personalizer:
    globals_ = given(ctx)
    named = globals_.settings().similar or _PLUGIN
    return globals_.open(similar=named, index=index)


def _report(found: IndexStatus, json: bool) -> None:
    if json:
        emit_json(asdict(found))
        return
    console = output()
    console.print(f"{found.people:,} of {found.expected:,} people who lend can be found.")
    for sentence in (found.verified or {}).values():
        console.print(f"{sentence[:1].upper()}{sentence[1:]}.")
    if not found.verified:
        console.print("Nothing was verified yet that may be borrowed: `persona similar rebuild` does it.")
    if found.problem:
        console.print(f"The index cannot be used now: {one_line(found.problem, 400)}")
