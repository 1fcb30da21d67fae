"""The reference page lists every command with exactly its options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from persona_integrations.cli.app import app

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    for child, inner in getattr(command, "commands", {}).items():
        full = f"{name} {child}".strip()
        if hasattr(inner, "commands"):
            yield from commands(inner, full)
        else:
            yield full, inner


def options(command: Any) -> set[str]:
    found = {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("-")}
    return found - {"--help"}


def arguments(command: Any) -> list[str]:
    return [p.metavar for p in command.params if not p.opts[0].startswith("-")]


def sections() -> dict[str, tuple[str, set[str]]]:
    """The heading's arguments and the options in its table, by command."""
    found = {}
    for part in PAGE.read_text("utf-8").split("\n### ")[1:]:
        title, _, body = part.partition("\n")
        heading = re.fullmatch(r"`persona ((?:[a-z]+ ?)+)(.*)`", title.strip())
        assert heading, title
        body = body.split("\n## ")[0]
        listed = {
            o for row in re.findall(r"^\| (`-.*?) \|", body, re.MULTILINE) for o in re.findall(r"`(-[\w-]+)", row)
        }
        found[heading[1].strip()] = (heading[2].strip(), listed)
    return found


def test_every_command_is_documented_with_its_options() -> None:
    documented = sections()
    real = dict(commands(get_command(app)))
    assert set(documented) == set(real)
    for name, command in real.items():
        assert documented[name][1] == options(command), name
        assert documented[name][0].replace("[", "").replace("]", "").split() == arguments(command), name


def test_global_options_are_documented() -> None:
    top = PAGE.read_text("utf-8").split("\n## ")[0]
    listed = set(re.findall(r"^\| `(--[\w-]+)", top, re.MULTILINE))
    assert listed == options(get_command(app))


def test_every_command_says_what_it_does() -> None:
    for name, command in commands(get_command(app)):
        assert command.help, name
        assert all(getattr(p, "help", None) for p in command.params), name
