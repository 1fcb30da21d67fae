"""Databases in which Ada is known, in which Bob is known, too, and in which nobody is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from persona_sdk.engine import Personalizer
from tests.integrations.mcp.talking import bob, copied, teach


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PERSONA_DATABASE_URL", "PERSONA_TENANT", "PERSONA_TAILORS", "PERSONA_LEARNING"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of databases that were learnt once; every test gets a copy."""
    folder = tmp_path_factory.mktemp("learnt")
    with Personalizer(f"sqlite:///{folder / 'ada.db'}", learning="manual") as personalizer:
        teach(personalizer, "ada")
        assert len(personalizer.persona("ada").traits) == 2
    shutil.copy(folder / "ada.db", folder / "both.db")
    with Personalizer(f"sqlite:///{folder / 'both.db'}", learning="manual") as personalizer:
        bob(personalizer)
        assert personalizer.persona("bob").traits
    return folder


@pytest.fixture
def known(learnt: Path, tmp_path: Path) -> Iterator[Personalizer]:
    """Ada is known: she chose short answers, and does not eat meat."""
    with copied(learnt, "ada.db", tmp_path) as personalizer:
        yield personalizer


@pytest.fixture
def elsewhere(known: Personalizer, tmp_path: Path) -> Iterator[Personalizer]:
    """Another process on the same database, which records and does not learn."""
    with Personalizer(f"sqlite:///{tmp_path / 'ada.db'}", learning="manual") as personalizer:
        yield personalizer


@pytest.fixture
def both(learnt: Path, tmp_path: Path) -> Iterator[Personalizer]:
    """Ada is known, and so is Bob, who is nobody else's business."""
    with copied(learnt, "both.db", tmp_path) as personalizer:
        yield personalizer


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Personalizer]:
    """Nobody is known."""
    with Personalizer(f"sqlite:///{tmp_path / 'empty.db'}", time_budget=30) as personalizer:
        yield personalizer
