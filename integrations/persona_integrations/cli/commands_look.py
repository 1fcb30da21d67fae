"""`show`, `explain` and `versions`: what is known of a person, why, and how it came about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from persona_integrations.cli import render
from persona_integrations.cli.context import JsonOption, UserArgument, given, known
from persona_integrations.cli.progress import waiting
from persona_integrations.cli.terminal import emit_json, output

if TYPE_CHECKING:
    from persona_sdk.engine import Personalizer
    from persona_sdk.models import Persona

__all__ = ["explain", "show", "versions"]


def current(personalizer: Personalizer, user: str) -> Persona:
    """Return a known person's persona, learning first what is new."""
    known(personalizer, user)
    with waiting("learning"):
        return personalizer.persona(user)


def show(ctx: typer.Context, user: UserArgument, json: JsonOption = False) -> None:
    """Show a person's persona: traits with weight and evidence, and how well they predict the person's choices."""
    with given(ctx).open() as personalizer:
        persona = current(personalizer, user)
        if json:
            emit_json(persona.model_dump(mode="json"))
        else:
            render.persona(output(), persona, personalizer.explain(user))


def explain(
    ctx: typer.Context,
    user: UserArgument,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Tailor this question, and explain what became of it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Explain a persona by its evidence; with --prompt, which traits speak to a question and what is sent."""
    with given(ctx).open() as personalizer:
        current(personalizer, user)
        tailored = None if prompt is None else personalizer.tailor(user, prompt)
        explanation = personalizer.explain(user if tailored is None else tailored)
        if json:
            messages = {} if tailored is None else {"messages": tailored.messages}
            emit_json({**explanation.model_dump(mode="json"), **messages})
            return
        console = output()
        render.explanation(console, explanation)
        if tailored is not None:
            render.messages(console, tailored.messages)


def versions(ctx: typer.Context, user: UserArgument, json: JsonOption = False) -> None:
    """List the versions of a persona: when, why, how well each predicts, and what changed."""
    with given(ctx).open() as personalizer:
        persona = current(personalizer, user)
        listed = personalizer.versions(user)
        if json:
            rows = [{**v.model_dump(mode="json"), "current": v.version == persona.version} for v in listed]
            emit_json({"user_id": user, "versions": rows, "note": persona.note})
        else:
            render.versions(output(), listed, persona)
