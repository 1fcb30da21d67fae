"""`persona evaluate inference`, with a plugin that enters as a stranger's does: by an entry point."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

PLUGIN = '''
from persona_sdk.hooks import hookimpl
from persona_sdk.inference import Inferrer, PairPersonas
from persona_sdk.language import Spent
from persona_sdk.scoring import StatementScorer

GIVEN = {}


class Says(Inferrer):
    name = "says"

    def infer(self, request): ...

    def abduce(self, choice, journal=None):
        if "fail" in choice.prompt:
            return PairPersonas(None, None)
        likes = "The user likes {} \\x1b[31m instead of this"
        return PairPersonas(likes.format(choice.chosen), likes.format(choice.rejected))


class Rival(Says):
    name = "rival"

    def abduce(self, choice, journal=None):
        return PairPersonas("The user is dull", None)


class Mentions(StatementScorer):
    """An answer suits whom it is said of."""

    def __init__(self, name):
        self.name = name

    def score(self, offers, statements, journal=None):
        return [[[float(f"likes {a} " in s) for a in offer.answers] for s in statements] for offer in offers]


class Model:
    def invoke(self, input, config=None, **kwargs): ...


def given(what, name, product):
    def factory(settings):
        GIVEN[what, name] = settings
        return product

    return factory


@hookimpl
def persona_register(registry):
    registry.add_inferrer("says", given("inferrer", "says", Says()))
    registry.add_inferrer("rival", given("inferrer", "rival", Rival()))
    registry.add_statement_scorer("mentions", given("scorer", "mentions", Mentions("mentions")))
    registry.add_statement_scorer("judge", given("scorer", "judge", Mentions("judge")))
    registry.add_chat_model("fake", given("model", "fake", Model()))
'''


class Caller:
    """Stands in for what asks the model: whoever is dull loses, else the order decides."""

    def __init__(self, model: Any, *, name: str, limits: Any) -> None:
        assert name == "fake:tell"

    def ask(self, messages: Any, schema: Any, journal: Any = None) -> Any:
        first = messages[-1]["content"].split("</first>")[0]
        return schema(better="second" if "dull" in first else "first")


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = tmp_path / "installed"
    info = folder / "stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    plugins = "stranger = stranger_plugin\ncontrastive = persona_plugins.contrastive\n"
    (info / "entry_points.txt").write_text(f"[persona_sdk.plugins]\n{plugins}")
    (folder / "stranger_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(folder))
    found = importlib.metadata.distributions
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: found(path=[str(folder)]))  # nobody else's judge
    monkeypatch.setitem(sys.modules, "persona_sdk.calling", types.SimpleNamespace(Caller=Caller, Limits=object))
    module = importlib.import_module("stranger_plugin")
    monkeypatch.setitem(sys.modules, "stranger_plugin", module)  # so that it is gone afterwards
    return module


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    pairs = [
        ("ask 1", "poems", "plots"),
        ("ask 2", "poems", "plots"),
        ("ask 3", "plots", "poems"),
        ("ask 4", "a", "bb"),
    ]
    lines = [json.dumps({"prompt": p, "chosen": c, "rejected": r, "user_id": "u"}) for p, c, r in pairs]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join([lines[0], "nonsense", *lines[1:], lines[0].replace("ask 1", "fail")]), "utf-8")
    return file


def evaluate(persona: Any, *arguments: object) -> Any:
    return persona("evaluate", "inference", *map(str, arguments))


def report_of(result: Any) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def one_line_of(result: Any) -> str:
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    return str(result.stderr)


def test_the_figures_as_json(empty: Any, plugin: Any, rows: Path) -> None:
    result = evaluate(empty, rows, "--inferrer", "says", "--scorer", "mentions", "--json")
    report = report_of(result)
    assert "line 2: " in result.stderr
    assert report["pairs"] == 5
    for who in ("chosen", "rejected", "both"):
        figures = report["accuracy"][who]
        assert (figures["accuracy"], figures["n"], figures["failed"]) == (1.0, 4, 1)
        assert figures["counting_failed"] == 0.8
    assert report["shuffled"]["chosen"]["accuracy"] < 1
    assert report["preference"] is None
    assert (report["inferrer"], report["scorer"]) == ("says", "mentions")


def test_the_table_for_people(empty: Any, plugin: Any, rows: Path) -> None:
    command = (rows, "--inferrer", "says", "--scorer", "mentions", "--judge", "fake:tell", "--against", "rival")
    printed = evaluate(empty, *command).stdout
    lines = [line.split() for line in printed.splitlines()]
    assert ["chosen", "4", "1", "100.0", "0.0"] in [words[:5] for words in lines]
    assert ["chosen", "answer", "0.0", "100.0", "0.0", "rejected", "answer", "4", "1"] in lines
    assert ["says", "100.0", "0.0", "0.0", "rival", "4", "1"] in lines
    assert "chance is 50" in printed
    assert "\x1b" not in printed


def test_with_a_judge_the_judge_scores_and_compares(empty: Any, plugin: Any, rows: Path) -> None:
    command = (rows, "--inferrer", "says", "--model", "fake:infer", "--embedder", "e")
    report = report_of(evaluate(empty, *command, "--judge", "fake:tell", "--json"))
    assert report["scorer"] == "judge"
    assert report["preference"] == {"chosen": 0, "rejected": 0, "ties": 4, "failed": 1}  # always the first: a tie
    assert plugin.GIVEN["inferrer", "says"].model == "fake:infer"
    assert plugin.GIVEN["scorer", "judge"].model == "fake:tell"
    assert {plugin.GIVEN["inferrer", "says"].embedder, plugin.GIVEN["scorer", "judge"].embedder} == {"e"}
    assert plugin.GIVEN["model", "fake"] == "tell"
    report_of(evaluate(empty, *command, "--scorer", "mentions", "--json"))
    assert plugin.GIVEN["scorer", "mentions"].model == "fake:infer"  # without a judge there is one model


def test_a_limit_draws_pairs_by_the_seed(empty: Any, plugin: Any, rows: Path) -> None:
    def drawn(*more: str) -> Any:
        report = report_of(
            evaluate(empty, rows, "--inferrer", "says", "--scorer", "mentions", "--limit", "3", "--json", *more)
        )
        return report["pairs"], report["accuracy"], report["longer"]

    assert drawn()[0] == 3
    assert drawn("--seed", "1") == drawn("--seed", "1")
    assert len({json.dumps(drawn("--seed", str(seed))) for seed in range(8)}) > 1
    assert evaluate(empty, rows, "--limit", "0").exit_code == 2


def test_a_picture(empty: Any, plugin: Any, rows: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    command = (rows, "--inferrer", "says", "--scorer", "mentions")
    report_of(evaluate(empty, *command, "--json", "--plot", tmp_path / "report.png"))
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    assert "no such folder" in one_line_of(evaluate(empty, *command, "--plot", tmp_path / "no" / "report.png"))
    assert "end in .png" in one_line_of(evaluate(empty, *command, "--plot", tmp_path / "report.svg"))


def test_the_extra_for_pictures_is_named(empty: Any, rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "persona-sdk[plots]" in one_line_of(evaluate(empty, rows, "--plot", "report.png"))


def test_expected_failures_are_one_line(empty: Any, plugin: Any, rows: Path, tmp_path: Path) -> None:
    says = ("--inferrer", "says", "--scorer", "mentions")
    assert "'contrastive' does not infer a persona" in one_line_of(evaluate(empty, rows))
    assert "no inferrer is named 'nope'" in one_line_of(evaluate(empty, rows, "--inferrer", "nope"))
    assert "'nope'" in one_line_of(evaluate(empty, rows, "--inferrer", "says", "--scorer", "nope"))
    assert "needs a chat model" in one_line_of(evaluate(empty, rows, *says, "--against", "rival"))
    judged = evaluate(empty, rows, *says, "--against", "contrastive", "--judge", "fake:tell")
    assert "'contrastive' does not infer a persona" in one_line_of(judged)
    assert "missing.jsonl: cannot be read" in one_line_of(evaluate(empty, "missing.jsonl", *says))
    (tmp_path / "empty.jsonl").write_text("\n")
    assert "holds no pair of answers" in one_line_of(evaluate(empty, "empty.jsonl", *says))


def test_of_many_bad_lines_the_first_are_named(empty: Any, plugin: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("nonsense\n" * 50)
    result = evaluate(empty, "bad.jsonl", "--inferrer", "says", "--scorer", "mentions")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0].startswith("persona: line 1: ")
    assert lines[-2:] == [
        "persona: and 30 more lines that could not be used",
        "persona: bad.jsonl: holds no pair of answers",
    ]


def test_what_nobody_could_measure_is_a_dash(empty: Any, plugin: Any, tmp_path: Path) -> None:
    row = {"prompt": "fail", "chosen": "a", "rejected": "b", "user_id": "u"}
    (tmp_path / "one.jsonl").write_text(json.dumps(row))
    result = evaluate(empty, "one.jsonl", "--inferrer", "says", "--scorer", "mentions", "--judge", "fake:tell")
    assert result.exit_code == 0, result.output
    assert ["chosen", "0", "1", *"–––––––"] in [line.split() for line in result.stdout.splitlines()]
    assert ["chosen", "answer", "–", "–", "–", "rejected", "answer", "0", "1"] in [
        line.split() for line in result.stdout.splitlines()
    ]
    assert "No word is frequent enough" in result.stdout


def test_what_a_model_writes_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from persona_integrations.cli import render_inference
    from persona_sdk.evaluation.saliency import SalientWord

    report: Any = types.SimpleNamespace(words={"chosen": [SalientWord("\x1b[31mred\u202e", 3, 0)], "rejected": []})
    render_inference._words(Console(markup=False, emoji=False, highlight=False), report)
    printed = capsys.readouterr().out
    assert "red" in printed
    assert "\x1b" not in printed
    assert "\u202e" not in printed
