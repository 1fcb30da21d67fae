"""Bad input, and people's text that would like to be more than data."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from persona_integrations.cli.terminal import clean, one_line, printable_json

HOSTILE_ID = "[bold]x[/bold] \u202e\x9b31m[link=file:///etc]y"
HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x1b[0m [red]not markup[/red] :smile: \u202e\u2066hidden\x9b2J \x07\x08\r end"


def acts_on_a_terminal(text: str) -> list[str]:
    return [c for c in text if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf") and c not in "\u200c\u200d"]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    rows = [
        {"user_id": HOSTILE_ID, "id": f"i{n}", "prompt": HOSTILE + str(n), "chosen": f"short {HOSTILE}",
         "rejected": f"a much longer and much warmer answer, lovely friend, with {HOSTILE}"}
        for n in range(8)
    ]  # fmt: skip
    said = {"kind": "utterance", "user_id": HOSTILE_ID, "id": "u", "text": "I don't eat [red]meat\u202e[/red]."}
    file = tmp_path / "hostile.jsonl"
    file.write_text("\n".join(json.dumps(r) for r in [*rows, said]), "utf-8")
    return file


def test_hostile_text_is_printed_as_data(empty: Any, hostile: Path, tmp_path: Path) -> None:
    commands = [
        ("infer", str(hostile)),
        ("show", HOSTILE_ID),
        ("explain", HOSTILE_ID),
        ("explain", HOSTILE_ID, "--prompt", HOSTILE),
        ("explain", HOSTILE_ID, "--prompt", "What should I eat?"),
        ("versions", HOSTILE_ID),
        ("reject", HOSTILE_ID, "[red]nothing[/red]\x1b[31m"),
        ("export",),
        ("show", HOSTILE_ID, "--json"),
        ("chat", HOSTILE_ID),
        ("show", "nobody\x1b[31m[red]"),
        ("forget", HOSTILE_ID, "--yes"),
    ]
    for command in commands:
        result = empty(*command, text=f"{HOSTILE}\n/quit\n")
        assert acts_on_a_terminal(result.stdout) == [], command
        assert acts_on_a_terminal(result.stderr) == [], command
        if command[0] in ("show", "explain") and "nobody" not in command[1] and "--json" not in command:
            assert "[bold]x[/bold] " in result.stdout, "brackets are text, not markup"


def test_export_loses_nothing(empty: Any, hostile: Path) -> None:
    empty("import", str(hostile))
    rows = [json.loads(line) for line in empty("export").stdout.splitlines()]
    assert rows[0]["chosen"] == f"short {HOSTILE}"
    assert rows[0]["user_id"] == HOSTILE_ID


@pytest.mark.parametrize(
    ("given", "cleaned"),
    [
        ("a\x1b[31mb\x1b[0m", "ab"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]8;;http://x\x1b\\b", "ab"),
        ("a\x1b]0;never ends\nb", "a\nb"),
        ("a\x9b31mb", "ab"),
        ("a\x1bPq#0\x1b\\b", "ab"),
        ("\u202ea\u2066\u200b\ufeff", "a"),
        ("a\rb\x00\x07\x08", "ab"),
        ("a\r\nb\tc", "a\nb    c"),
        ("\ud800", "\ufffd"),
        ("👩\u200d🔬 می\u200cخواهم", "👩\u200d🔬 می\u200cخواهم"),
        ("[red]:smile:", "[red]:smile:"),
    ],
)
def test_clean(given: str, cleaned: str) -> None:
    assert clean(given) == cleaned


def test_one_line_is_one_line() -> None:
    assert one_line("a\n b\u2028c \x1b[2J") == "a b c"
    assert len(one_line("word " * 1000, 50)) <= 50


def test_printable_json_means_the_same() -> None:
    text = json.dumps({"a": HOSTILE + "\x7f\u2028 é 😀"}, ensure_ascii=False)
    assert json.loads(printable_json(text)) == json.loads(text)
    assert acts_on_a_terminal(printable_json(text)) == []
    assert "é 😀" in printable_json(text)


def test_broken_lines_are_named_and_the_others_kept(empty: Any, tmp_path: Path) -> None:
    file = tmp_path / "mixed.jsonl"
    good = '{"user_id": "a", "prompt": "p", "chosen": "x", "rejected": "y"}'
    file.write_bytes(
        f'{good}\n\n{{"broken\n[1]\n{{"user_id": "a", "prompt": "p", "chosen": ""}}\n'.encode() + b"\xff\n"
    )
    result = empty("import", str(file))
    assert result.exit_code == 0
    assert "1 signals read: 1 new." in result.stdout
    lines = result.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["line 3", "line 4", "line 5", "line 6"]
    assert empty("import", str(file), "--strict").exit_code == 1
    report = json.loads(empty("import", str(file), "--json").stdout)
    assert [p["line"] for p in report["problems"]] == [3, 4, 5, 6]


def test_many_broken_lines_are_cut_short(empty: Any, tmp_path: Path) -> None:
    file = tmp_path / "broken.jsonl"
    file.write_text("nonsense\n" * 100)
    result = empty("infer", str(file))
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 21
    assert "and 80 more" in result.stderr


def one_line_of(result: Any, code: int = 1) -> str:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr
    return str(result.stderr)


def test_expected_failures_are_one_line(persona: Any, tmp_path: Path) -> None:
    assert "missing.jsonl: cannot be read" in one_line_of(persona("infer", "missing.jsonl"))
    assert "nobody is called 'nobody'" in one_line_of(persona("show", "nobody"))
    assert "nobody is called 'nobody'" in one_line_of(persona("export", "nobody"))
    assert "nothing to erase" in one_line_of(persona("forget", "nobody", "--yes"))
    assert "it has: " in one_line_of(persona("reject", "lena", "no-such-trait"))
    assert "USER: is empty" in one_line_of(persona("show", " "))
    assert "99" in one_line_of(persona("rollback", "lena", "99"))
    assert "cannot be written" in one_line_of(persona("export", "--out", str(tmp_path / "no" / "where.jsonl")))
    assert "not a database URL" in one_line_of(persona("--db", "nonsense", "show", "lena"))
    assert "secret" not in one_line_of(persona("--db", "mysql://u:secret@h/d", "show", "lena"))
    assert "tenant" in one_line_of(persona("--tenant", "", "show", "lena"))
    assert "missing.jsonl" in one_line_of(persona("evaluate", "choices", "missing.jsonl"))
    assert "no inferrer is named" in one_line_of(persona("evaluate", "choices", "x.jsonl", "--inferrer", "nope"))


def test_reading_creates_no_database(empty: Any, tmp_path: Path) -> None:
    for command in (("show", "a"), ("export",), ("forget", "a", "--yes"), ("refit",), ("versions", "a")):
        assert "there is no database persona.db" in one_line_of(empty(*command))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(empty: Any, tmp_path: Path) -> None:
    (tmp_path / "persona.db").write_text("not a database at all, but text that is long enough to be one" * 20)
    assert one_line_of(empty("show", "a"))


def test_usage_errors_are_2(empty: Any) -> None:
    for command in (("nope",), ("show",), ("show", "a", "--nope"), ("rollback", "a", "x"), ("rollback", "a", "0")):
        result = empty(*command)
        assert result.exit_code == 2, command
        assert result.stdout == ""
