"""`export` and `forget`: a person's data are theirs to take along and to have erased."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO, cast

import typer

from persona_integrations.cli.context import JsonOption, UserArgument, check_user, given, known
from persona_integrations.cli.progress import people, waiting
from persona_integrations.cli.terminal import emit_json, error_console, one_line, output, printable_json
from persona_sdk.errors import InputError, NotFoundError, StorageError

__all__ = ["export", "forget"]


def export(
    ctx: typer.Context,
    user: Annotated[
        str | None, typer.Argument(metavar="USER", help="Whose signals.", show_default="everyone's")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to a file, whole or not at all.", show_default="stdout")
    ] = None,
) -> None:
    """Write signals as JSON Lines, in the form that `infer` and `import` take."""
    with given(ctx).open() as personalizer:
        users = personalizer.users() if user is None else [known(personalizer, user)]
        with _target(out) as file, people("export", len(users)) as track:
            written = sum(personalizer.export_jsonl(file, user_id=one) for one in track(users))
    if out is not None:
        error_console().print(f"{written:,} signals written to {one_line(str(out))}")


def forget(
    ctx: typer.Context,
    user: UserArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: JsonOption = False,
) -> None:
    """Erase everything about a person: signals, personas, rulings. It cannot be undone."""
    check_user(user)
    with given(ctx).open() as personalizer:
        if not yes:
            question = f"Erase everything about {one_line(user)} in the tenant {one_line(personalizer.tenant)}?"
            typer.confirm(question, abort=True, err=True)
        with waiting("erasing"):
            gone = personalizer.forget(user)
    if not gone.signals and not gone.versions:
        raise NotFoundError(f"nothing was known of {user!r} in this tenant, so there was nothing to erase")
    if json:
        emit_json({"user_id": user, "signals": gone.signals, "versions": gone.versions})
    else:
        output().print(f"Erased: {gone.signals:,} signals and {gone.versions:,} persona versions.")


@contextmanager
def _target(out: Path | None) -> Iterator[TextIO]:
    """Give what to write to. A file appears under its name only when it is complete."""
    if out is None:
        yield cast("TextIO", _Printable(sys.stdout))
        return
    try:
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            yield file
        Path(name).replace(out)
    except StorageError:  # it is an OSError, too, but not of this file
        raise
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        Path(name).unlink(missing_ok=True)


def _unwritable(out: Path, error: OSError) -> InputError:
    return InputError(f"{out}: cannot be written ({error.strerror or type(error).__name__})", field="--out")


class _Printable(io.TextIOBase):
    """Standard output that JSON is written to in a form no terminal can be steered by."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(printable_json(text))
