"""`export` and `forget`: a person's data are theirs to take along and to have erased, from tuned models, too."""

from __future__ import annotations

import io
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO, cast

import typer

from persona_integrations.cli.context import Globals, JsonOption, UserArgument, check_user, given, known
from persona_integrations.cli.progress import people, waiting
from persona_integrations.cli.terminal import complain, emit_json, error_console, one_line, output, printable_json
from persona_sdk.errors import InputError, NotFoundError, StorageError
from persona_sdk.memory import Forgotten

if TYPE_CHECKING:
    from persona_sdk.engine import Personalizer
    from persona_sdk.settings import Settings
    from persona_sdk.tuning.adapters import Adapters
    from persona_sdk.tuning.forgetting import Affected
    from persona_sdk.tuning.listing import Listed

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
    adapters: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder of tuned models.", show_default="the configured one"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Erase everything about a person: signals, personas, rulings. It cannot be undone.

    Tuned models that hold their signals are left in use, withdrawn or deleted, as `persona tune policy` says.
    """
    from persona_integrations.cli import render_tune_adapters as render  # noqa: PLC0415 - loaded when used
    from persona_sdk.tuning.adapters import Adapters  # noqa: PLC0415 - loaded when used
    from persona_sdk.tuning.registry import REGISTRY  # noqa: PLC0415 - loaded when used

    check_user(user)
    settings = given(ctx).settings()
    tuned = Adapters(adapters or _configured(settings))
    with _erasable(given(ctx), tuned, user) as personalizer:
        if not yes:
            question = f"Erase everything about {one_line(user)} in the tenant {one_line(settings.tenant)}?"
            typer.confirm(question, abort=True, err=True)
        with waiting("erasing"):
            gone, affected, failed = _erased(personalizer, tuned, settings.tenant, user)
    if failed:
        for problem in failed[:-1]:
            complain(problem)
        raise StorageError(failed[-1])
    if not gone.signals and not gone.versions and not affected:
        raise NotFoundError(f"nothing was known of {user!r} in this tenant, so there was nothing to erase")
    if json:
        became = [one.model_dump(mode="json") for one in affected]
        emit_json({"user_id": user, "signals": gone.signals, "versions": gone.versions, "adapters": became})
        return
    output().print(f"Erased: {gone.signals:,} signals and {gone.versions:,} persona versions.")
    if affected:
        render.affected(output(), affected)
    elif not (tuned.folder / REGISTRY).exists():
        output().print(f"No tuned models were found in {one_line(str(tuned.folder))}; --adapters names another folder.")


def _erased(
    personalizer: Personalizer | None, tuned: Adapters, tenant: str, user: str
) -> tuple[Forgotten, list[Affected], list[str]]:
    """Erase a person from memory, then tell the adapters; return what is gone, what became, and what failed.

    What fails does not keep the rest from being done.
    """
    gone = Forgotten(0, 0)
    affected: list[Affected] = []
    failed: list[str] = []
    try:
        before = tuned.listed()
    except StorageError:  # memory is erased all the same
        before = []
    try:
        gone = personalizer.forget(user) if personalizer else gone
    except StorageError as error:
        failed.append(str(error))
    try:
        # After memory: a training that begins in between would read them again, and nobody would know.
        affected = _all_affected(tuned, tuned.forget(tenant, user), before)
    except StorageError as error:
        told = "were told" if _told(tuned, tenant, user) else "were NOT told"
        memory = "" if failed else "they were erased from memory, but "
        failed.append(
            f"{memory}the adapters in {tuned.folder} {told}: {error}. Then run"
            f" `persona forget {shlex.quote(user)} --adapters {shlex.quote(str(tuned.folder))}` again"
        )
    return gone, affected, failed


def _told(tuned: Adapters, tenant: str, user: str) -> bool:
    """Whether adapters know that somebody was forgotten, though something failed afterwards."""
    try:
        return bool(tuned.forgotten(tenant, [user]))
    except StorageError:
        return False


def _configured(settings: Settings) -> Path:
    """Return the folder of adapters that the tailor `lora` is told of."""
    return Path(settings.options.get("lora", {}).get("adapters", "adapters")).expanduser()


@contextmanager
def _erasable(options: Globals, tuned: Adapters, user: str) -> Iterator[Personalizer | None]:
    """Open the database; None where there is none, but adapters hold somebody's signals that came from a file."""
    try:
        opened = options.open()
    except NotFoundError:
        if not tuned.trained_on(options.settings().tenant, user):
            raise
        yield None
    else:
        with opened:
            yield opened


def _all_affected(tuned: Adapters, affected: Sequence[Affected], before: Sequence[Listed]) -> list[Affected]:
    """Return what became of adapters, also of those that a plugin has deleted when it heard of it, by name."""
    from persona_sdk.tuning.forgetting import Affected  # noqa: PLC0415 - loaded when used

    here = {*tuned.names(), *(one.name for one in affected)}
    gone = [
        Affected(name=one.name, rung=one.rung, became="dropped", exports=one.exports)
        for one in before
        if one.name not in here
    ]
    return sorted([*affected, *gone], key=lambda one: one.name)


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
