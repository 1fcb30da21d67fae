"""Every command on people who are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from persona_sdk.learning import Learner


def as_json(result: Any) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_infer_goes_on_where_it_was(empty: Any, people: Path) -> None:
    first = as_json(empty("infer", str(people), "--json"))
    assert (first["read"], first["new"], first["users"], first["learnt"]) == (65, 65, 6, 6)
    assert first["population"] is None, "six people are too few to tell what they have in common"
    again = as_json(empty("infer", str(people), "--json"))
    assert (again["read"], again["new"], again["learnt"], again["population"]) == (65, 0, 0, None)


def test_infer_resumes_after_an_interruption(empty: Any, people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn, learnt = Learner.learn, []

    def interrupted(self: Learner, tenant: str, user_id: str) -> Any:
        if len(learnt) == 2:
            raise KeyboardInterrupt
        learnt.append(user_id)
        return learn(self, tenant, user_id)

    with monkeypatch.context() as patched:
        patched.setattr(Learner, "learn", interrupted)
        assert empty("infer", str(people)).exit_code == 130
    report = as_json(empty("infer", str(people), "--json"))
    assert (report["new"], report["learnt"]) == (0, 5)  # four, and the first, who had nobody to be compared with


def test_infer_learns_what_many_have_in_common(empty: Any, tmp_path: Path) -> None:
    subjects = ("tea", "bread", "trains", "novels", "gardens", "maps")
    rows = [
        {
            "user_id": f"u{u}",
            "prompt": f"Tell me about {s}.",
            "chosen": f"Short: {s}.",
            "rejected": f"A long word on {s}!",
        }
        for u in range(20)
        for s in subjects
    ]
    file = tmp_path / "many.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    report = as_json(empty("infer", str(file), "--json"))
    assert (report["learnt"], report["population"]) == (20, {"users": 20, "choices": 120})
    assert "what 20 people have in common" in empty("--tenant", "b", "infer", str(file)).stdout


def test_infer_in_words(empty: Any, people: Path) -> None:
    result = empty("infer", str(people))
    assert "65 signals read: 65 new." in result.stdout
    assert "6 people learnt" in result.stdout
    assert result.stderr == ""  # no progress bar where nobody watches


def test_import_does_not_learn(empty: Any, people: Path) -> None:
    assert as_json(empty("import", str(people), "--json")) == {"read": 65, "new": 65, "problems": []}
    assert as_json(empty("infer", str(people), "--json"))["learnt"] == 6


def test_import_of_rows_without_a_user(empty: Any, tmp_path: Path) -> None:
    file = tmp_path / "trl.jsonl"
    file.write_text('{"prompt": "Hi?", "chosen": "Hello.", "rejected": "What?"}\n')
    assert empty("import", str(file)).exit_code == 1
    assert as_json(empty("import", str(file), "--user", "ann", "--json"))["new"] == 1
    assert "ann" in empty("export", "ann").stdout


def test_refit(persona: Any) -> None:
    report = as_json(persona("refit", "--json"))
    assert report["users"] == report["learnt"] == 2
    assert report["population"] is None  # two people have too little in common to speak of
    assert persona("refit").exit_code == 0


def test_show(persona: Any) -> None:
    shown = as_json(persona("show", "lena", "--json"))
    assert shown["user_id"] == "lena"
    assert any("meat" in t["statement"] for t in shown["traits"])
    text = persona("show", "lena").stdout
    assert "Does not eat meat." in text
    assert "said" in text
    assert "predicts" in text


def test_explain(persona: Any) -> None:
    text = persona("explain", "lena").stdout
    assert "because they said: 'I don't eat meat'" in text
    tailored = as_json(persona("explain", "lena", "--prompt", "What is for dinner?", "--json"))
    assert "Does not eat meat." in tailored["messages"][0]["content"]
    assert tailored["messages"][-1]["content"] == "What is for dinner?"
    silent = persona("explain", "lena", "--prompt", "Translate to French: the sky is blue").stdout
    assert "what is sent to the model" in silent
    assert "Does not eat meat.  (not used:" in silent or "nothing to say" in silent


def test_versions_rollback_and_pin(persona: Any) -> None:
    trait = as_json(persona("show", "lena", "--json"))["traits"][0]
    key, trait_id = trait["key"], f"{trait['key']}/{trait['polarity']}"
    assert as_json(persona("reject", "lena", key, "--json"))["persona"]["version"] >= 2
    listed = as_json(persona("versions", "lena", "--json"))["versions"]
    assert [v["version"] for v in listed] == list(range(1, len(listed) + 1))
    assert sum(v["current"] for v in listed) == 1
    back = as_json(persona("rollback", "lena", "1", "--json"))["persona"]
    assert key not in [t["key"] for t in back["traits"]]  # what was taken back does not return with an old version
    assert persona("allow", "lena", trait_id).exit_code == 0
    assert "Version 1 is current again." in persona("rollback", "lena", "1").stdout
    pinned = as_json(persona("pin", "lena", "--version", "2", "--json"))["persona"]
    assert (pinned["version"], pinned["pinned"]) == (2, True)
    assert "pinned" in persona("versions", "lena").stdout
    assert not as_json(persona("unpin", "lena", "--json"))["persona"]["pinned"]


def test_reject_allow_and_keep(persona: Any) -> None:
    before = as_json(persona("show", "lena", "--json"))["traits"]
    key = next(t["key"] for t in before if t["stated"])
    rejected = as_json(persona("reject", "lena", key, "--json"))
    assert key not in [t["key"] for t in rejected["persona"]["traits"]]
    assert persona("show", "lena").exit_code == 0
    allowed = as_json(persona("allow", "lena", rejected["rejected"], "--json"))
    assert key in [t["key"] for t in allowed["persona"]["traits"]]
    assert "Kept: Does not eat meat." in persona("keep", "lena", key).stdout
    assert "Taken back: Does not eat meat." in persona("reject", "lena", key).stdout


def test_forget_asks(persona: Any) -> None:
    refused = persona("forget", "lena", text="n\n")
    assert refused.exit_code == 1
    assert "Erase everything about lena" in refused.stderr
    assert persona("show", "lena").exit_code == 0
    assert "Erased: 13 signals" in persona("forget", "lena", text="y\n").stdout
    assert persona("show", "lena").exit_code == 1
    assert as_json(persona("forget", "tomas", "--yes", "--json"))["signals"] == 12


def test_export_is_what_import_takes(persona: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = persona("export", "--out", str(out))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert len(out.read_text("utf-8").splitlines()) == 25
    only = persona("export", "lena").stdout.splitlines()
    assert {json.loads(line)["user_id"] for line in only} == {"lena"}
    again = as_json(persona("--db", "sqlite:///other.db", "import", str(out), "--json"))
    assert (again["new"], again["problems"]) == (25, [])
    assert persona("--db", "sqlite:///other.db", "export").stdout == out.read_text("utf-8")
    assert [p.name for p in tmp_path.glob(".out*")] == []


def test_plugins(empty: Any) -> None:
    listed = as_json(empty("plugins", "--json"))
    memory = next(p for p in listed if p["name"] == "sql_memory")
    assert memory["kinds"] == ["memory"]
    assert memory["state"] == "loaded"
    assert "sql_memory" in empty("plugins").stdout


@pytest.fixture
def rows(people: Path, tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    kept = [json.loads(line) for line in people.read_text("utf-8").splitlines() if "utterance" not in line]
    file.write_text("\n".join(map(json.dumps, kept)) + "\nnonsense\n", "utf-8")
    return file


def test_evaluate_choices(empty: Any, rows: Path) -> None:
    result = empty("evaluate", "choices", str(rows), "--json")
    report = as_json(result)
    assert report["sources"]["demo"]["n"] > 10
    assert report["sources"]["demo"]["accuracy"]["none"] == 0.5
    assert "line 62: " in result.stderr
    table = empty("evaluate", "choices", str(rows), "--inferrer", "contrastive").stdout
    assert "demo" in table
    assert "50.0" in table


def test_tenants_do_not_meet(persona: Any, people: Path) -> None:
    assert persona("--tenant", "b", "show", "lena").exit_code == 1
    assert as_json(persona("--tenant", "b", "import", str(people), "--json"))["new"] == 65
    assert len(persona("export").stdout.splitlines()) == 25


def test_settings_come_from_the_environment(persona: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONA_DATABASE_URL", "sqlite:///elsewhere.db")
    result = persona("show", "lena")
    assert result.exit_code == 1
    assert "there is no database elsewhere.db" in result.stderr
