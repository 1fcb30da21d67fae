"""`persona similar …` and `persona share`, as somebody types them."""

import json

import pytest

from tests.support.alike import SAID


@pytest.fixture
def alike(empty, tmp_path, monkeypatch):
    """`persona`, on a database whose people want it short, or long."""
    monkeypatch.setenv("PERSONA_SIMILAR", "similar_personas")
    monkeypatch.setenv("PERSONA_INDEX", f"exact:{tmp_path / 'index'}")
    rows = []
    for n, user in enumerate(SAID):
        for i in range(30):
            short, long = f"Yes, {i}.", f"Well, it depends on {i}, and on quite a few other things, I should think."
            chosen, rejected = (long, short) if n == 3 else (short, long)
            rows.append({"user_id": user, "prompt": f"Is it {i}?", "chosen": chosen, "rejected": rejected})
    rows += [{**row, "user_id": "eve"} for row in rows[:30]]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    assert empty("infer", "rows.jsonl").exit_code == 0
    return empty


def test_who_is_alike(alike):
    shown = alike("similar", "people", "ann")
    assert shown.exit_code == 0, shown.output
    assert sorted(line.split()[-1] for line in shown.output.splitlines()[1:4]) == ["bob", "cleo", "eve"]
    assert "dan" not in shown.output
    found = json.loads(alike("similar", "people", "ann", "--limit", "2", "--json").output)
    assert len({one["user_id"] for one in found} & {"bob", "cleo", "eve"}) == 2
    assert all(0.9 < one["similarity"] <= 1 for one in found)
    assert "Nobody is known to prefer alike." in alike("similar", "people", "dan").output


def test_people_learnt_without_it_need_a_rebuild(alike, monkeypatch, tmp_path):
    monkeypatch.delenv("PERSONA_SIMILAR")
    assert alike("--db", "sqlite:///other.db", "infer", "rows.jsonl").exit_code == 0
    other = ("--db", "sqlite:///other.db", "similar")
    assert "`persona similar rebuild`" in alike(*other, "people", "ann", "--index", "exact").output
    rebuilt = alike(*other, "rebuild", "--index", f"exact:{tmp_path / 'other'}")
    assert "5 of 5 people" in rebuilt.output
    assert "orrowing" in rebuilt.output
    assert "bob" in alike(*other, "people", "ann", "--index", f"exact:{tmp_path / 'other'}").output


def test_status_and_rebuild_as_json(alike):
    rebuilt = json.loads(alike("similar", "rebuild", "--json").output)
    assert (rebuilt["people"], rebuilt["expected"], rebuilt["problem"]) == (5, 5, "")
    assert json.loads(alike("similar", "status", "--json").output) == rebuilt


def test_consent(alike):
    assert "bob does lend, and does borrow." in alike("share", "bob").output
    assert json.loads(alike("share", "bob", "--no-lend", "--json").output) == {"lend": False, "borrow": True}
    assert "bob" not in alike("similar", "people", "ann").output
    assert "bob does lend, and does not borrow." in alike("share", "bob", "--lend", "--no-borrow").output
    assert "bob" in alike("similar", "people", "ann").output
    assert "stranger does not lend" in alike("share", "stranger", "--no-lend").output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("similar", "people", "stranger"), "nobody is called 'stranger'"),
        (("similar", "people", "ann", "--index", "nonsense"), "no index is named 'nonsense'"),
        (("share", " "), "USER: is empty"),
    ],
)
def test_mistakes_are_named(alike, arguments, says):
    failed = alike(*arguments)
    assert failed.exit_code == 1
    assert says in failed.stderr
    assert "Traceback" not in failed.stderr


def test_nothing_is_created_by_looking(empty, tmp_path):
    assert empty("similar", "status").exit_code == 1
    assert list(tmp_path.iterdir()) == []
