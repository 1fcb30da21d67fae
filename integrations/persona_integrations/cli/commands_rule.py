"""`reject`, `keep`, `allow`, `rollback`, `pin` and `unpin`: the person's word over what was learnt."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from persona_integrations.cli import render
from persona_integrations.cli.context import JsonOption, UserArgument, given, known
from persona_integrations.cli.terminal import emit_json, one_line, output
from persona_sdk.errors import NotFoundError

if TYPE_CHECKING:
    from persona_sdk.engine import Personalizer
    from persona_sdk.models import Persona, Trait

__all__ = ["allow", "keep", "pin", "reject", "rollback", "unpin"]

KeyArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="KEY", help="The trait's key, as `persona show` lists it.", show_default=False)
]


def reject(ctx: typer.Context, user: UserArgument, key: KeyArgument, json: JsonOption = False) -> None:
    """Take a trait back: it goes, and later learning does not bring it back."""
    with given(ctx).open() as personalizer:
        trait = _trait(personalizer, user, key)
        after = personalizer.reject(user, key)
    said = f"Taken back: {one_line(trait.statement)}  (undo: persona allow USER {one_line(trait.id)})"
    _report(after, said, json, rejected=trait.id)


def keep(ctx: typer.Context, user: UserArgument, key: KeyArgument, json: JsonOption = False) -> None:
    """Keep a trait, whatever later signals say."""
    with given(ctx).open() as personalizer:
        trait = _trait(personalizer, user, key)
        after = personalizer.keep(user, key)
    said = f"Kept: {one_line(trait.statement)}  (undo: persona allow USER {one_line(trait.id)})"
    _report(after, said, json, kept=trait.id)


def allow(
    ctx: typer.Context,
    user: UserArgument,
    trait: Annotated[
        str,
        typer.Argument(metavar="TRAIT", help="The trait's id, as `reject` and `keep` print it.", show_default=False),
    ],
    json: JsonOption = False,
) -> None:
    """Undo a `reject` or `keep`: what was learnt decides again."""
    with given(ctx).open() as personalizer:
        after = personalizer.allow(known(personalizer, user), trait)
    _report(after, f"What was learnt decides again about {one_line(trait)}.", json, allowed=trait)


def rollback(
    ctx: typer.Context,
    user: UserArgument,
    version: Annotated[int, typer.Argument(metavar="N", min=1, help="The version to go back to.", show_default=False)],
    json: JsonOption = False,
) -> None:
    """Make an earlier version the current one; later signals can supersede it again."""
    _move(ctx, user, lambda p: p.rollback(user, version), "is current again", json)


def pin(
    ctx: typer.Context,
    user: UserArgument,
    version: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The version to pin.", show_default="the current one")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Keep a version of the persona as it is, whatever later signals say."""
    _move(ctx, user, lambda p: p.pin(user, version), "stays as it is until `persona unpin`", json)


def unpin(ctx: typer.Context, user: UserArgument, json: JsonOption = False) -> None:
    """Let later signals change the persona again."""
    _move(ctx, user, lambda p: p.unpin(user), "follows new signals again", json)


def _trait(personalizer: Personalizer, user: str, key: str) -> Trait:
    persona = personalizer.persona(known(personalizer, user))
    found = next((t for t in persona.traits if key in (t.key, t.id)), None)
    if found is None:
        keys = ", ".join(one_line(t.key, 60) for t in persona.traits) or "none"
        raise NotFoundError(f"this persona has no trait {one_line(key, 60)!r}; it has: {keys}")
    return found


def _move(ctx: typer.Context, user: str, move: Callable[[Personalizer], Persona], said: str, json: bool) -> None:
    with given(ctx).open() as personalizer:
        known(personalizer, user)
        if not personalizer.versions(user):
            raise NotFoundError(f"there is no version of this persona yet: {personalizer.persona(user).note}")
        after = move(personalizer)
    _report(after, f"Version {after.version} {said}.", json)


def _report(after: Persona, said: str, json: bool, **more: str) -> None:
    if json:
        emit_json({**more, "persona": after.model_dump(mode="json")})
        return
    console = output()
    console.print(said)
    render.persona(console, after)
