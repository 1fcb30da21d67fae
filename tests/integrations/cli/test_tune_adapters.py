"""`persona tune adapters`, `export`, `policy`, `forgotten` and `remove`, as somebody types them."""

import json

import pytest
import typer
from typer.testing import CliRunner

from persona_integrations.cli import commands_tune_adapters as commands
from persona_integrations.cli.app import _Commands
from persona_integrations.cli.context import Globals
from persona_sdk.tuning.adapters import Adapters
from persona_sdk.tuning.assignments import Assignment
from tests.support.adapters import SHARED, card_of, key, lora

tune = typer.Typer(cls=_Commands)
for name in ("adapters", "export", "policy", "forgotten", "remove"):
    tune.command(name)(getattr(commands, name))


@tune.callback()
def options(ctx: typer.Context):
    ctx.obj = Globals()


def call(*arguments, text=None):
    result = CliRunner().invoke(tune, list(arguments), input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def adapters(tmp_path):
    """The folder `adapters` where the command is called, as `conftest` sees to."""
    found = Adapters(tmp_path / "adapters")
    metrics = {
        "1-sft/validation_loss": 2.5, "2-dpo/validation_accuracy": 0.64, "10-dpo/validation_accuracy": 0.71,
        "10-dpo/validation_margin": None, "11-sft/validation_accuracy": None,
    }  # fmt: skip
    found.add(lora(tmp_path / "made1"), card_of("shared", "abd", metrics=metrics))
    found.add(lora(tmp_path / "made2"), card_of("own-ann", "abd", own="a", parent="shared"))
    found.assign("default", "b", SHARED)
    found.set_default("default", SHARED)
    return found


def test_the_list(adapters):
    shown = call("adapters")
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[1].split() == ["own-ann", "own", "3", "0", "–", "shared", "base", "in", "use"]
    assert lines[2].split() == ["shared", "shared", "3", "1", "71%", "–", "base", "in", "use"]
    assert not lines[3].strip()  # a line each
    said = " ".join(shown.stdout.split())
    assert "All others of the tenant default: shared adapter shared predicts their 6 held-out choices better" in said
    assert "Problem" not in said
    (adapters.path("shared") / "persona_card.json").write_text("x")
    said = " ".join(call("adapters").stdout.split())
    assert "shared shared – 1 – – – damaged" in said
    assert "Problem: " in said


def test_the_list_as_json_names_nobody(adapters):
    shown = call("adapters", "--json")
    found = json.loads(shown.stdout)
    assert key("a") not in shown.stdout
    own, shared = found["adapters"]
    assert (own["name"], own["rung"], own["parent"], own["people"], own["cluster"]) == (
        "own-ann",
        "own",
        "shared",
        3,
        1,
    )
    assert (shared["used_by"], shared["usable"], shared["forgotten"], shared["damaged"]) == (1, True, 0, False)
    assert shared["metrics"]["10-dpo/validation_accuracy"] == 0.71
    assert len(shared["metrics"]) == 5
    assert (found["policy"], found["problems"]) == ("retrain", [])
    assert Assignment.model_validate(found["default"]) == SHARED
    (adapters.path("shared") / "persona_card.json").write_text("x")
    found = json.loads(call("adapters", "--json").stdout)
    assert [one["damaged"] for one in found["adapters"]] == [False, True]
    assert len(found["problems"]) == 1


def test_export(adapters, tmp_path):
    shown = call("export", "--out", "served", "--base", "Qwen/base")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("vllm serve Qwen/base --enable-lora --max-lora-rank 8")
    assert shown.stdout.count("\n") == 1
    assert "2 adapters copied to served" in shown.stderr
    assert (tmp_path / "served/own-ann/adapter_model.safetensors").exists()
    assert not (tmp_path / "served/shared/persona_card.json").exists()
    one = json.loads(
        call("export", "shared", "--out", "one", "--base", "b", "--seen-as", "/mnt", "--cards", "--json").stdout
    )
    assert one["modules"] == [{"name": "shared", "path": "/mnt/shared", "base_model_name": "b"}]
    assert (tmp_path / "one/shared/persona_card.json").exists()
    assert "1 adapter copied to one;" in call("export", "shared", "--out", "one", "--base", "b").stderr
    adapters.forget("default", "d")
    refused = call("export", "shared", "--out", "two", "--base", "b")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "shared: holds signals of people who were forgotten" in refused.stderr
    assert "there is no adapter to export" in call("export", "--out", "two", "--base", "b").stderr
    adapters.settle("mark", ["shared"])
    found = json.loads(call("export", "--out", "two", "--base", "b", "--json").stdout)
    assert [one["name"] for one in found["modules"]] == ["shared"]


def test_the_policy(adapters):
    assert call("policy").stdout.startswith("retrain: adapters that hold a forgotten person's signals are given to")
    assert call("policy", "drop").stdout.startswith("drop: ")
    assert json.loads(call("policy", "--json").stdout) == {"policy": "drop"}
    refused = call("policy", "keep")
    assert (refused.exit_code, "POLICY: is none of mark, retrain or drop" in refused.stderr) == (1, True)
    assert adapters.policy() == "drop"
    assert call("policy", "mark", "--adapters", "elsewhere").exit_code == 0
    assert Adapters("elsewhere").policy() == "mark"


def test_what_forgotten_people_are_in_and_what_becomes_of_it(adapters, tmp_path):
    assert "No adapter holds signals" in call("forgotten").stdout
    assert call("export", "shared", "--out", "served", "--base", "b").exit_code == 0
    adapters.forget("default", "d")
    lines = call("forgotten").stdout.splitlines()
    assert lines[1].split() == ["own-ann", "own", "1", "to", "be", "trained", "anew", "–"]
    assert lines[2].split()[:7] == ["shared", "shared", "1", "to", "be", "trained", "anew"]
    found = json.loads(call("forgotten", "--json").stdout)
    assert [one["name"] for one in found] == ["own-ann", "shared"]
    assert found[1]["exports"] == [str(tmp_path / "served/shared")]
    assert [one["name"] for one in json.loads(call("forgotten", "shared", "--json").stdout)] == ["shared"]
    assert call("forgotten", "shared", "--apply", "mark").stdout.startswith("shared: stays in use, and is listed")
    assert "in use, marked" in call("forgotten").stdout
    assert adapters.usable("shared")
    said = call("forgotten", "--apply", "drop").stdout
    assert said.splitlines()[:2] == ["own-ann: deleted", "shared: deleted"]
    assert "shared: unload it in the server, and delete it" in " ".join(said.split())
    assert adapters.names() == []
    assert json.loads(call("forgotten", "--apply", "drop", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("forgotten", "--apply", "keep"), "POLICY: is none of"),
        (("forgotten", "shared", "--apply", "drop"), "shared: no adapter of this name holds signals of a forgotten"),
        (("remove", "nonsense", "--yes"), "no adapter is named 'nonsense' in adapters: there are own-ann, shared"),
        (("export", "nonsense", "--out", "x", "--base", "b"), "no adapter is named 'nonsense'"),
        (("adapters", "--adapters", "elsewhere"), "there are no adapters in elsewhere"),
        (("export", "--adapters", "elsewhere", "--out", "x", "--base", "b"), "there are no adapters in elsewhere"),
    ],
)
def test_mistakes_are_named(adapters, tmp_path, arguments, says):
    failed = call(*arguments)
    assert failed.exit_code == 1
    assert says in failed.stderr
    assert "Traceback" not in failed.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"adapters"}


def test_one_is_removed_when_the_question_is_answered(adapters):
    assert call("remove", "own-ann", text="n\n").exit_code == 1
    assert adapters.names() == ["own-ann", "shared"]
    assert "Deleted: own-ann." in call("remove", "own-ann", text="y\n").stdout
    assert "Deleted: shared." in call("remove", "shared", "-y").stdout
    assert "There are no adapters yet." in call("adapters").stdout
    assert "All others of the tenant default: the base model with a prefix" in " ".join(call("adapters").stdout.split())


def test_what_a_card_says_cannot_steer_the_terminal(adapters, tmp_path):
    card = card_of("odd", "a", base="\x1b[31mred\x1b]0;title\x07", metrics={"\x1b[2Jcleared": 1.0})
    adapters.add(lora(tmp_path / "odd"), card)
    shown = call("adapters")
    assert "\x1b" not in shown.stdout
    assert "red" in shown.stdout
    assert "\x1b" not in call("adapters", "--json").stdout
