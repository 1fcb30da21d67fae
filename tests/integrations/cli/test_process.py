"""The real thing, in processes of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PERSONA = [sys.executable, "-m", "persona_integrations.cli"]
PARTS = (
    "1  Their choices are learnt",
    "2  What was learnt, and how well it predicts",
    "3  One question, different people",
    "4  Tomas corrects it",
    "5  Grace is forgotten",
    "What to do next",
)


def run(*arguments: str, cwd: Path, columns: int = 100) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": str(columns), "PYTHONUTF8": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [*PERSONA, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("columns", [80, 100])
def test_demo(tmp_path: Path, columns: int) -> None:
    done = run("demo", cwd=tmp_path, columns=columns)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    places = [done.stdout.find(part) for part in PARTS]
    assert -1 not in places
    assert places == sorted(places)
    words = " ".join(done.stdout.split())
    assert "Sam, new here: 2 choices are too little evidence" in words
    assert "hold 0 now" in words
    assert "These four were written by hand" in words
    assert max(map(len, done.stdout.splitlines())) <= columns
    assert "\x1b" not in done.stdout
    assert list(tmp_path.iterdir()) == []
    before, after = re.search(r"picked for Tomas: (\w+) → (\w+)", words).groups()
    assert before != after
    if columns == 100:
        assert len(done.stdout.splitlines()) <= 62


def test_demo_twice_in_a_database_of_ones_own(tmp_path: Path) -> None:
    first = run("--db", "sqlite:///mine.db", "demo", "--model", "none", cwd=tmp_path)
    again = run("--db", "sqlite:///mine.db", "demo", "--model", "none", cwd=tmp_path)
    assert first.returncode == again.returncode == 0, again.stderr
    picked = [next(line for line in d.stdout.splitlines() if "picked for Tomas" in line) for d in (first, again)]
    assert picked[0] == picked[1]
    assert (
        run("--db", "sqlite:///mine.db", "export", cwd=tmp_path).stdout == ""
    )  # its people are in a tenant of their own
    assert run("--db", "sqlite:///mine.db", "--tenant", "demo", "show", "lena", cwd=tmp_path).returncode == 0


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "demo" in done.stdout
    check = (
        "import sys, persona_integrations.cli.app as a\n"
        "heavy = ('numpy', 'sqlalchemy', 'langchain_core', 'openai', 'persona_sdk.engine')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    loaded = subprocess.run([sys.executable, "-c", check], env=environment, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end differently there")
def test_a_broken_pipe_is_quiet(tmp_path: Path) -> None:
    row = '{{"user_id": "a", "prompt": "p{0}", "chosen": "{1}", "rejected": "y"}}\n'
    (tmp_path / "many.jsonl").write_text("".join(row.format(n, "x" * 2000) for n in range(300)))
    assert run("import", "many.jsonl", cwd=tmp_path).returncode == 0
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for command in (["export"], ["explain", "a", "--json"]):
        process = subprocess.Popen(
            [*PERSONA, *command], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) in (0, 1)
