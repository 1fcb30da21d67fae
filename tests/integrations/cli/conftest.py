"""A command line to call, and a database that the demo's people were learnt into once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from persona_integrations.cli.app import app
from persona_integrations.cli.demo import cast

Persona = Callable[..., Any]


def call(*arguments: str, text: str | None = None) -> Any:
    result = CliRunner().invoke(app, list(arguments), input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("PERSONA_DATABASE_URL", "PERSONA_TENANT", "PERSONA_TAILORS", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def people() -> Path:
    return Path(str(cast.choices()))


@pytest.fixture(scope="session")
def learnt(tmp_path_factory: pytest.TempPathFactory, people: Path) -> Path:
    """A database with two of the demo's people; small, because every test gets a copy."""
    folder = tmp_path_factory.mktemp("learnt")
    file = folder / "two.jsonl"
    rows = [line for line in people.read_text("utf-8").splitlines() if '"tomas"' in line or '"lena"' in line]
    file.write_text("\n".join(rows), "utf-8")
    result = call("--db", f"sqlite:///{folder / 'persona.db'}", "infer", str(file))
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def persona(learnt: Path, tmp_path: Path) -> Persona:
    """`persona`, on a database of its own in which Tomas and Lena are known."""
    for file in learnt.glob("persona.db*"):
        shutil.copy(file, tmp_path)
    return call


@pytest.fixture
def empty() -> Persona:
    """`persona`, in a directory without a database."""
    return call
