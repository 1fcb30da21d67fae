"""The plugin as the host sees it, and how its queries are answered."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import event

from persona_plugins import sql_memory
from persona_plugins.sql_memory import memory as module
from persona_plugins.sql_memory.memory import SqlMemory
from persona_plugins.sql_memory.tables import digest
from persona_sdk.errors import SettingsError
from persona_sdk.hooks import Registry
from persona_sdk.settings import Settings
from persona_sdk.testing.memory_strategies import persona, said


def test_it_registers_a_memory(sqlite_url: str) -> None:
    registry = Registry()
    sql_memory.persona_register(registry)
    settings = Settings(database_url=sqlite_url, options={"sql_memory": {"busy_timeout": 2}})
    memory = registry.memory("sql_memory", settings)
    assert isinstance(memory, SqlMemory)
    memory.close()


@pytest.mark.parametrize(
    "options", [{"timeout": 1}, {"busy_timeout": 0}, {"busy_timeout": "5"}, {"cached_personas": True}]
)
def test_impossible_options(options: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="sql_memory"):
        SqlMemory.from_options("sqlite://", options)


def test_registering_imports_no_database_library() -> None:
    script = "import sys, persona_plugins.sql_memory; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_constructing_writes_no_file(tmp_path: Path) -> None:
    SqlMemory(f"sqlite:///{tmp_path / 'persona.db'}").close()
    assert list(tmp_path.iterdir()) == []


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    memory = SqlMemory("sqlite:///persona.db")
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    memory.append([said("x", "ann")])
    memory.close()
    assert (tmp_path / "persona.db").exists()


def test_acknowledged_means_synced(sqlite_url: str) -> None:
    memory = SqlMemory(sqlite_url)
    with memory._store.reading() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "secure_delete", "temp_store")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "temp_store": 2}
    memory.close()


@pytest.mark.parametrize("statement", ["_CURRENT", "_SIGNALS", "_VERSIONS", "_STATE", "_VERDICTS", "_PROGRESS"])
def test_reads_of_one_person_scan_no_table(sqlite_url: str, tmp_path: Path, statement: str) -> None:
    memory = SqlMemory(sqlite_url)
    memory.append([said("x", "ann")])
    sql = str(getattr(module, statement).compile())
    plan = _plan(tmp_path / "persona.db", sql, {"digest": digest("default", "ann"), "version": 1, "last_seq_1": 0})
    assert "SCAN" not in plan
    memory.close()


def test_pending_and_other_state_use_their_indexes(sqlite_url: str, tmp_path: Path) -> None:
    memory = SqlMemory(sqlite_url)
    memory.append([said("x", "ann")])
    memory.remember(persona("ben"), {"n": 1})
    seen: list[tuple[str, object]] = []
    event.listen(memory._store._opened().reads, "before_cursor_execute", lambda *a: seen.append((a[2], a[3])))
    memory.pending("default")
    memory.other_state("default", "ann")
    plans = [_plan(tmp_path / "persona.db", sql, values) for sql, values in seen]
    assert "persona_persons_pending" in plans[0]
    assert "persona_persons_states" in plans[2]
    assert all("SCAN" not in plan and "TEMP B-TREE" not in plan for plan in plans)
    memory.close()


def _plan(path: Path, sql: str, values: object) -> str:
    connection = sqlite3.connect(path)
    rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()  # type: ignore[arg-type]
    connection.close()
    return "\n".join(row[3] for row in rows)


def test_the_current_persona_is_one_read_once_it_is_cached(sqlite_url: str) -> None:
    memory = SqlMemory(sqlite_url)
    memory.remember(persona("ann"), {"n": 1})
    first = memory.current("default", "ann")
    statements: list[str] = []
    event.listen(memory._store._opened().reads, "before_cursor_execute", lambda *a: statements.append(a[2]))
    assert memory.current("default", "ann") is first
    assert len(statements) == 1
    memory.close()


def test_the_cache_is_bounded(sqlite_url: str) -> None:
    memory = SqlMemory(sqlite_url, cached_personas=3)
    for n in range(10):
        memory.remember(persona(f"u{n}"), None)
        assert memory.current("default", f"u{n}") is not None
    assert len(memory._cache._kept) == 3
    memory.close()
