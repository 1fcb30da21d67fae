"""The `persona` command: its commands by name, its global options, and what becomes of errors."""

from __future__ import annotations

import inspect
import io
import logging
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from persona_integrations.cli import (
    commands_chat,
    commands_data,
    commands_demo,
    commands_evaluate,
    commands_evaluate_inference,
    commands_evaluate_similar,
    commands_evaluate_tailoring,
    commands_learn,
    commands_look,
    commands_mcp,
    commands_rule,
    commands_serve,
    commands_similar,
    commands_tune_adapters,
    commands_tune_choose,
    commands_tune_rows,
    commands_tune_train,
)
from persona_integrations.cli.context import Globals
from persona_integrations.cli.terminal import complain
from persona_sdk.errors import PersonaError

__all__ = ["app", "main"]


class _Commands(TyperGroup):
    """Ends a command that failed in an expected way with one line on stderr and exit code 1, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except PersonaError as error:
            complain(str(error))
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks may show local variables, which are people's text
    help="Learn why each person prefers what they prefer, and tailor any chat model to them.",
)
evaluate = typer.Typer(no_args_is_help=True, help="Measure how well personas predict what people choose.")
similar = typer.Typer(no_args_is_help=True, help="Who prefers alike, and what may be borrowed.")
keys = typer.Typer(no_args_is_help=True, help="Who may use the gateway.")
tune = typer.Typer(no_args_is_help=True, help="Make rows, tune a model with them, and manage adapters.")


def _paragraphs(command: Callable[..., None]) -> str:
    """Return a command's docstring with a line for each paragraph; the terminal decides where lines break."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


_LEARN, _LOOK, _DECIDE, _OTHER = "Learn", "Look", "Correct and erase", "Try out and measure"
_TUNE, _SERVE = "Tune a model", "Serve apps"
for _name, _command, _panel in (
    ("infer", commands_learn.infer, _LEARN),
    ("import", commands_learn.import_file, _LEARN),
    ("refit", commands_learn.refit, _LEARN),
    ("show", commands_look.show, _LOOK),
    ("explain", commands_look.explain, _LOOK),
    ("versions", commands_look.versions, _LOOK),
    ("export", commands_data.export, _LOOK),
    ("reject", commands_rule.reject, _DECIDE),
    ("keep", commands_rule.keep, _DECIDE),
    ("allow", commands_rule.allow, _DECIDE),
    ("rollback", commands_rule.rollback, _DECIDE),
    ("pin", commands_rule.pin, _DECIDE),
    ("unpin", commands_rule.unpin, _DECIDE),
    ("share", commands_similar.share, _DECIDE),
    ("forget", commands_data.forget, _DECIDE),
    ("serve", commands_serve.serve, _SERVE),
    ("mcp", commands_mcp.mcp, _SERVE),
    ("demo", commands_demo.demo, _OTHER),
    ("chat", commands_chat.chat, _OTHER),
    ("plugins", commands_evaluate.plugins, _OTHER),
):
    app.command(_name, help=_paragraphs(_command), rich_help_panel=_panel)(_command)
_GROUPED: tuple[tuple[typer.Typer, str, Callable[..., None]], ...] = (
    (evaluate, "choices", commands_evaluate.choices),
    (evaluate, "inference", commands_evaluate_inference.inference),
    (evaluate, "similar", commands_evaluate_similar.similar),
    (evaluate, "tailoring", commands_evaluate_tailoring.tailoring),
    (similar, "people", commands_similar.people),
    (similar, "rebuild", commands_similar.rebuild),
    (similar, "status", commands_similar.status),
    (keys, "create", commands_serve.create),
    (keys, "list", commands_serve.list_keys),
    (keys, "revoke", commands_serve.revoke),
    (tune, "rows", commands_tune_rows.rows),
    (tune, "train", commands_tune_train.train),
    (tune, "choose", commands_tune_choose.choose),
    (tune, "clusters", commands_tune_choose.clusters),
    (tune, "adapters", commands_tune_adapters.adapters),
    (tune, "export", commands_tune_adapters.export),
    (tune, "policy", commands_tune_adapters.policy),
    (tune, "forgotten", commands_tune_adapters.forgotten),
    (tune, "remove", commands_tune_adapters.remove),
)
for _group, _name, _grouped in _GROUPED:
    _group.command(_name, help=_paragraphs(_grouped))(_grouped)
app.add_typer(evaluate, name="evaluate", rich_help_panel=_OTHER)
app.add_typer(similar, name="similar", rich_help_panel=_LOOK)
app.add_typer(keys, name="keys", rich_help_panel=_SERVE)
app.add_typer(tune, name="tune", rich_help_panel=_TUNE)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - loaded when used

        typer.echo(f"persona {version('persona-sdk')}")
        raise typer.Exit


@app.callback()
def global_options(
    ctx: typer.Context,
    db: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The database, as an SQLAlchemy URL.", show_default="sqlite:///persona.db"),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="T", help="Whose people these are.", show_default="default")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options that stand before the command; `PERSONA_DATABASE_URL` and `PERSONA_TENANT` set them, too."""
    ctx.obj = Globals(db=db, tenant=tenant)
    log = logging.getLogger("persona_sdk")
    if not any(isinstance(h, _OneLine) for h in log.handlers):
        log.addHandler(_OneLine())


class _OneLine(logging.Handler):
    """Warnings of the SDK (a plugin that did not load, a tailor that was skipped) as one cleaned line on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            complain(f"{record.levelname.lower()}: {record.getMessage()}")


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character is no reason to fail
    app(prog_name="persona")
