"""`persona evaluate similar` and `persona evaluate choices --similar`, with a plugin that says who is similar."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import random
from pathlib import Path
from typing import Any

import pytest

PLUGIN = '''
from persona_sdk.hooks import hookimpl
from persona_sdk.similar import IndexStatus, Neighbour, SimilarPeople, Study


class Even(Study):
    """People with an even number are alike, and so are those with an odd one; it always favours what was chosen."""

    verified = "it helps \\x1b[31m a lot"

    def __init__(self, histories):
        self.users = [h.user_id for h in histories]

    def neighbours(self, request, limit=None):
        own = int(request.user_id[1:]) % 2
        return [Neighbour(u, float(int(u[1:]) % 2 == own)) for u in self.users if u != request.user_id]

    def adds(self, request, asked):
        return [5.0 if request.signals else 0.0] * len(asked)


class Evens(SimilarPeople):
    def __init__(self, name):
        self.name = name

    def neighbours(self, tenant, user_id, limit=10): ...
    def follow(self, tenant): ...
    def rebuild(self, tenant, progress=iter): ...
    def status(self, tenant): ...
    def leave(self, tenant, user_id): ...
    def study(self, tenant, inferrer, population, histories):
        return Even(histories)


class Flat:
    def embed_documents(self, texts):
        return [[1.0, 0.0] for _ in texts]

    def embed_query(self, text):
        return [1.0, 0.0]


@hookimpl
def persona_register(registry):
    registry.add_similar("similar_personas", lambda settings: Evens("similar_personas"))
    registry.add_similar("rival", lambda settings: Evens("rival"))
    registry.add_embedder("flat", lambda name: Flat())
'''


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "installed"
    info = folder / "stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    plugins = "stranger = stranger_similar\ncontrastive = persona_plugins.contrastive\n"
    (info / "entry_points.txt").write_text(f"[persona_sdk.plugins]\n{plugins}")
    (folder / "stranger_similar.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(folder))
    found = importlib.metadata.distributions
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: found(path=[str(folder)]))
    for name in ("PERSONA_SIMILAR", "PERSONA_EMBEDDER", "PERSONA_INFERRER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Six people who choose between short and long answers at random."""
    rng = random.Random(0)
    rows = []
    for i in range(6):
        for k in range(8):
            sides = rng.sample(["Yes.", "Yes, and here is a lot more about it.", "Well, that may depend."], 2)
            row = {"prompt": f"Question {k}?", "chosen": sides[0], "rejected": sides[1], "user_id": f"u{i}"}
            rows.append({**row, "source": "talk" if i < 5 else "rest"})
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(["nonsense", *map(json.dumps, rows)]), "utf-8")
    return file


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    rows = [
        {"source": "talk", "user_id": "u0", "most_similar": [{"user_id": "u2"}, "u4"], "least_similar": ["u1", "gone"]},
        {"source": "talk", "user_id": "u1", "most_similar": ["u3"], "least_similar": ["u4"]},
        {"source": "away", "user_id": "u1", "most_similar": ["u3"], "least_similar": ["u4"]},
    ]
    file = tmp_path / "similarity.jsonl"
    file.write_text("\n".join([json.dumps(rows[0]), "[]", *map(json.dumps, rows[1:])]), "utf-8")
    return file


def test_who_is_similar_is_judged(empty: Any, pairs: Path, truth: Path) -> None:
    result = empty("evaluate", "similar", str(pairs), str(truth), "--json", "--source", "talk")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    talk = report["sources"]["talk"]
    assert (talk["users"], talk["people"], talk["skipped"]) == (2, 5, 1)
    assert talk["methods"]["similar"]["auc"] == 1.0
    assert talk["methods"]["similar"]["rank"] == {"similar": 1.25, "dissimilar": 3.25}
    assert set(talk["left_out"]) == {"sentences", "joined"}
    assert "line 2: a row must be a JSON object" in result.stderr
    assert not list(Path.cwd().glob("*.db"))


def test_the_report_reads_well_and_nothing_in_it_acts_on_the_terminal(empty: Any, pairs: Path, truth: Path) -> None:
    result = empty("evaluate", "similar", str(pairs), str(truth))
    assert result.exit_code == 0
    assert "talk" in result.stdout
    assert "100.0" in result.stdout
    assert "sentences: left out, no embedder is configured" in result.stdout
    assert "it helps a lot" in result.stdout
    assert "\x1b" not in result.stdout
    assert "away: 1 rows were left out" in result.stderr


def test_sentences_are_compared_with_an_embedder(empty: Any, pairs: Path, truth: Path) -> None:
    result = empty("evaluate", "similar", str(pairs), str(truth), "--json", "--embedder", "flat")
    talk = json.loads(result.stdout)["sources"]["talk"]
    assert set(talk["methods"]) == {"similar", "sentences", "joined", "random"}
    assert talk["left_out"] == {}


def test_the_plugin_of_the_settings_is_asked(
    empty: Any, pairs: Path, truth: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONA_SIMILAR", "rival")
    assert empty("evaluate", "similar", str(pairs), str(truth), "--json").exit_code == 0
    monkeypatch.setenv("PERSONA_SIMILAR", "nobody")
    result = empty("evaluate", "similar", str(pairs), str(truth), "--json")
    assert result.exit_code == 1
    assert "no similar is named 'nobody'" in result.stderr


def test_files_that_cannot_be_used_are_said_in_a_line(empty: Any, pairs: Path, truth: Path, tmp_path: Path) -> None:
    for first, second, more in (
        (pairs, tmp_path / "none", ()),
        (tmp_path / "none", truth, ()),
        (pairs, truth, ("--source", "who")),
        (pairs, pairs, ()),
    ):
        result = empty("evaluate", "similar", str(first), str(second), *more)
        assert result.exit_code == 1
        assert "Traceback" not in result.output


# evaluate choices --similar


def test_curves_are_in_the_report(empty: Any, pairs: Path) -> None:
    result = empty("evaluate", "choices", str(pairs), "--similar", "--json", "--source", "talk")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    curve = report["curves"]["talk"]
    assert [p["known"] for p in curve["points"]] == [0, 1, 2, 4, "all"]
    assert curve["points"][0]["gain"]["log_loss"] == 0.0
    assert curve["points"][1]["accuracy"]["borrowed"] == 1.0
    assert report["sources"]["talk"]["n"] == curve["points"][-1]["n"]
    assert "curves" not in json.loads(empty("evaluate", "choices", str(pairs), "--json").stdout)


def test_curves_are_printed(empty: Any, pairs: Path) -> None:
    result = empty("evaluate", "choices", str(pairs), "--similar")
    assert result.exit_code == 0
    assert "borrowed" in result.stdout
    assert result.stdout.count("it helps a lot") == 2
    assert "\x1b" not in result.stdout


def test_several_inferrers_have_curves_each(empty: Any, pairs: Path) -> None:
    both = ("--inferrer", "contrastive", "--inferrer", "contrastive")
    assert "curves" in json.loads(empty("evaluate", "choices", str(pairs), "--similar", "--json", *both).stdout)


def test_a_plot_needs_what_it_draws_and_a_place(empty: Any, pairs: Path, tmp_path: Path) -> None:
    for more, said in (
        (("--plot", "x.png"), "--similar"),
        (("--plot", "x.png", "--similar", "--inferrer", "a", "--inferrer", "b"), "one inferrer"),
        (("--plot", "x.svg", "--similar"), "PNG"),
        (("--plot", "no/where.png", "--similar"), "no such folder"),
    ):
        if said in ("PNG", "no such folder") and importlib.util.find_spec("matplotlib") is None:
            continue
        result = empty("evaluate", "choices", str(pairs), *more)
        assert result.exit_code == 1
        assert said in result.stderr


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="the extra `plots` is not installed")
def test_curves_are_drawn(empty: Any, pairs: Path, tmp_path: Path) -> None:
    file = tmp_path / "curves.png"
    result = empty("evaluate", "choices", str(pairs), "--similar", "--plot", str(file), "--json")
    assert result.exit_code == 0
    assert file.read_bytes().startswith(b"\x89PNG")
