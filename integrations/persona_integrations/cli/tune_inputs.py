"""What the commands of `tune` read: signals out of memory or a file, texts about people; and options they share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from persona_integrations.cli.context import Globals
from persona_integrations.cli.terminal import complain
from persona_sdk.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from persona_sdk.hooks import Registry
    from persona_sdk.settings import Settings
    from persona_sdk.tuning.building import Source

__all__ = ["SHOWN", "SeedOption", "TemplateOption", "TextsOption", "TrainingOption", "signals_from", "texts_about"]

#: How many broken lines are shown one by one.
SHOWN = 20

SeedOption: TypeAlias = Annotated[int, typer.Option(metavar="S", help="The seed of what is drawn.")]
TemplateOption: TypeAlias = Annotated[str, typer.Option(metavar="T", help="chat messages, or plain text.")]
TrainingOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--training", metavar="T", help="Which answer is taught under its persona: chosen, rejected, all, none."
    ),
]
TextsOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE.json", help="Texts by user id for name, gold and written; one text for system."),
]


@contextmanager
def signals_from(
    options: Globals, settings: Settings, file: Path | None, own: str | None = None
) -> Iterator[tuple[Source, Registry]]:
    """Open where signals are read: memory, or a file whose bad lines are named.

    Who does not lend, as memory knows it if there is one, is left out of a file, too; `own` is not.
    """
    from persona_sdk.hooks import PluginHost  # noqa: PLC0415 - loaded when used

    registry = PluginHost(settings).registry
    try:
        if file is None:
            options.open().close()  # says so where there is no database, and makes none
            memory = registry.memory(settings.memory, settings)
            try:
                yield memory, registry
            finally:
                memory.close()
            return
        from persona_sdk.tuning.examples import histories_from_jsonl  # noqa: PLC0415 - loaded when used

        histories, problems = histories_from_jsonl(file, tenant=settings.tenant)
        refused = _not_lending(options, settings, registry, {one.user_id for one in histories} - {own})
        histories = [one for one in histories if one.user_id not in refused]
        if refused:
            complain(f"{len(refused):,} people in the file do not lend; they are left out")
        for problem in problems[:SHOWN]:
            complain(f"line {problem.line}: {problem.message}")
        if len(problems) > SHOWN:
            complain(f"and {len(problems) - SHOWN:,} more lines that could not be used")
        yield histories, registry
    finally:
        registry.close()


def _not_lending(options: Globals, settings: Settings, registry: Registry, users: Iterable[str]) -> set[str]:
    try:
        options.open().close()
    except NotFoundError:
        return set()  # there is no memory, and nobody's consent is known
    memory = registry.memory(settings.memory, settings)
    try:
        return {user for user in users if not memory.consent(settings.tenant, user).lend}
    finally:
        memory.close()


def texts_about(file: Path, kind: str) -> Mapping[str, Any]:
    """Read texts about people, as a part of a `Knowledge`.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        held = json.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})", field="--texts") from error
    except (ValueError, RecursionError):
        raise InputError(f"{file}: is not JSON in UTF-8", field="--texts") from None
    if kind == "system":
        if isinstance(held, str):
            return {"system": held}
        raise InputError(f"{file}: must hold one text for --prefix system", field="--texts")
    if not isinstance(held, dict) or not all(_is_text(text) for text in held.values()):
        raise InputError(f"{file}: must hold an object: a text, or a list of sentences, by user id", field="--texts")
    if kind == "gold":
        return {"gold": {user: (text,) if isinstance(text, str) else tuple(text) for user, text in held.items()}}
    joined = {user: text if isinstance(text, str) else "\n".join(text) for user, text in held.items()}
    return {"names" if kind == "name" else kind: joined}


def _is_text(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))
