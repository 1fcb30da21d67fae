"""`persona tune rows`, as somebody types it."""

import json
import os
import stat

import pytest
import typer
from typer.testing import CliRunner

from persona_integrations.cli import app as cli
from persona_integrations.cli.commands_tune_rows import rows
from persona_sdk.engine import Personalizer
from persona_sdk.hooks import hookimpl
from persona_sdk.signals import Utterance
from persona_sdk.simulation.planted import people

#: Four people's choices, a persona's worth each.
PEOPLE = people(4, 40, noise=0.0)

tune = typer.Typer(cls=cli.app.info.cls, pretty_exceptions_enable=False)
tune.callback()(cli.global_options)
tune.command("rows")(rows)


def call(*arguments):
    result = CliRunner().invoke(tune, ["rows", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def written(name="out.jsonl"):
    with open(name, encoding="ascii") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A database with four people, each learnt; planted001 has also rated, and planted002 does not lend."""
    folder = tmp_path_factory.mktemp("known")
    with Personalizer(f"sqlite:///{folder / 'persona.db'}", learning="manual") as personalizer:
        for person in PEOPLE:
            personalizer.observe(person.choices)
        personalizer.rate("planted001", prompt="Is it late?", response="Yes.", score=1, id="r1")
        personalizer.rate("planted001", prompt="Is it early?", response="No.", score=-1, id="r2")
        personalizer.refit()
        for user in personalizer.users():
            personalizer.learn(user)
        personalizer.share("planted002", lend=False)
    return folder


@pytest.fixture
def database(known, monkeypatch):
    monkeypatch.setenv("PERSONA_DATABASE_URL", f"sqlite:///{known / 'persona.db'}")


@pytest.fixture
def file(tmp_path):
    """The choices of the same four people, and a line that is none."""
    made = [choice.model_dump_json() for person in PEOPLE for choice in person.choices]
    (tmp_path / "in.jsonl").write_text("\n".join([*made, "{"]), "utf-8")
    return "in.jsonl"


def test_rows_are_written_with_what_memory_knows(database):
    told = call("out.jsonl", "--json")
    assert told.exit_code == 0, told.output
    account, made = json.loads(told.stdout), written()
    assert (account["rows"], account["people"], account["examples"]) == (120, 3, 122)
    assert account["left_out"] == {
        "people_not_lending": 1, "people_unknown": 0, "without_persona": 0, "other_form": 2, "lines": 0,
    }  # fmt: skip
    assert len(made) == 120
    assert set(made[0]) == {"id", "prompt", "chosen", "rejected"}
    with_notes = [r for r in made if "<user_notes" in r["prompt"][0]["content"]]
    assert len(with_notes) > 60
    assert account["without_prefix"] <= 122 - len(with_notes)
    assert "planted002" not in json.dumps(made)


def test_the_account_says_what_was_left_out_and_warns(database):
    told = call("out.jsonl")
    assert "120 preference rows of 3 people written to out.jsonl." in told.stdout
    left_out = "people who do not lend (1); examples without both answers, which preference rows need (2)."
    assert f"Left out: {left_out}" in " ".join(told.stdout.split())
    assert "`persona forget` does not reach it" in told.stderr
    assert stat.S_IMODE(os.stat("out.jsonl").st_mode) == 0o600


@pytest.mark.parametrize(("form", "count"), [("preference", 120), ("kto", 242), ("sft", 121)])
def test_forms(database, form, count):
    assert call("out.jsonl", "--form", form).exit_code == 0
    assert len(written()) == count


def test_plain_text_and_a_system_message(database):
    assert call("out.jsonl", "--template", "plain", "--system", "Be kind.", "--prefix", "none").exit_code == 0
    assert all(r["prompt"].startswith("Be kind.\n\nUser: ") and isinstance(r["chosen"], str) for r in written())


def test_only_some_people_and_one_own(database):
    assert call("out.jsonl", "--users", "planted000", "--users", "planted001").exit_code == 0
    assert len(written()) == 80
    refused = call("new.jsonl", "--users", "planted002")
    assert refused.exit_code == 1
    assert "who is asked for does not lend" in refused.stderr
    assert not os.path.exists("new.jsonl")
    assert call("own.jsonl", "--own", "planted002").exit_code == 0
    assert len(written("own.jsonl")) == 40
    some = call("new.jsonl", "--users", "planted000", "--users", "stranger", "--json")
    assert json.loads(some.stdout)["left_out"]["people_unknown"] == 1
    assert "no signals of stranger" in some.stderr


@pytest.mark.parametrize("kind", ["tag", "few_shot", "few_shot_both", "shuffled", "shuffled:few_shot", "retrieved"])
def test_prefixes_from_memory(database, kind):
    assert call("out.jsonl", "--prefix", kind).exit_code == 0
    assert sum(r["prompt"][0]["role"] == "system" for r in written()) > 60
    assert call("none.jsonl", "--prefix", kind, "--training", "none").exit_code == 0
    assert all(r["prompt"][0]["role"] == "user" for r in written("none.jsonl"))


def test_the_seed_decides_what_is_shuffled(database):
    for seed in range(6):
        assert call(f"{seed}.jsonl", "--prefix", "shuffled:few_shot", "--seed", str(seed)).exit_code == 0
    assert len({json.dumps(written(f"{seed}.jsonl")) for seed in range(6)}) == 2  # three people turn in two ways


@pytest.mark.parametrize("kind", ["name", "gold", "written", "system", "shuffled:gold"])
def test_texts_of_people_come_from_a_file(database, tmp_path, kind):
    texts = "Short, always." if kind == "system" else {f"planted00{n}": f"Is number {n}." for n in range(4)}
    (tmp_path / "texts.json").write_text(json.dumps(texts), "utf-8")
    assert call("out.jsonl", "--prefix", kind, "--texts", "texts.json").exit_code == 0
    assert all(("Short" if kind == "system" else "Is number") in r["prompt"][0]["content"] for r in written())
    lists = {"planted000": ["Is short.", "Is calm."]}
    (tmp_path / "texts.json").write_text(json.dumps(lists), "utf-8")
    if kind in ("gold", "written"):
        assert call("lists.jsonl", "--prefix", kind, "--texts", "texts.json").exit_code == 0
        assert "- Is short.\n- Is calm." in written("lists.jsonl")[0]["prompt"][0]["content"]


# From a file


def test_a_file_needs_no_database_and_makes_none(file, tmp_path):
    told = call("out.jsonl", "--from", file, "--json")
    assert told.exit_code == 0, told.output
    account = json.loads(told.stdout)
    assert (account["rows"], account["people"], account["left_out"]["lines"]) == (160, 4, 1)
    assert account["problems"][0]["line"] == 161
    assert "line 161: not JSON" in told.stderr
    assert sum("<user_notes" in r["prompt"][0]["content"] for r in written()) > 80
    assert not list(tmp_path.glob("*.db*"))


def test_a_file_does_not_undo_what_people_consented_to(database, file):
    told = json.loads(call("out.jsonl", "--from", file, "--json").stdout)
    assert (told["people"], told["left_out"]["people_not_lending"]) == (3, 1)


# Pairs


class Pairs:
    """An inferrer that says of each pair which answer is longer; it has no idea of the first question."""

    @hookimpl
    def persona_register(self, registry):
        from persona_sdk.inference import Inference, Inferrer, PairPersonas

        class Longer(Inferrer):
            name = "longer"

            def infer(self, request):
                return Inference(())

            def abduce(self, choice, journal=None):
                said = ["Wants much.", "Wants little."]
                chosen = len(choice.chosen) < len(choice.rejected)
                return PairPersonas(said[chosen], None if "kettle" in choice.prompt else said[not chosen])

        registry.add_inferrer("longer", lambda settings: Longer())


@pytest.fixture
def longer(monkeypatch):
    from persona_sdk import hooks

    class Host(hooks.PluginHost):
        def __init__(self, settings, **more):
            super().__init__(settings, **{**more, "extra": [Pairs()]})

    monkeypatch.setattr(hooks, "PluginHost", Host)


def test_pairs_are_taught_with_either_side(database, longer):
    assert call("chosen.jsonl", "--prefix", "pair", "--inferrer", "longer").exit_code == 0
    told = call("all.jsonl", "--prefix", "pair", "--inferrer", "longer", "--training", "all")
    chosen, both = written("chosen.jsonl"), written("all.jsonl")
    assert len(chosen) == 120
    assert len(chosen) < len(both) < 240
    assert f"rows of a rejected answer that nobody is known to take ({244 - len(both) - 2})" in " ".join(
        told.stdout.split()
    )
    by_id = {r["id"]: r for r in both}
    for row in chosen:
        other = by_id.get(f"{row['id']}-rejected")
        if other is not None:
            assert (other["chosen"], other["rejected"]) == (row["rejected"], row["chosen"])
            assert other["prompt"][0] != row["prompt"][0]


# Mistakes


def test_a_file_is_not_overwritten_unless_asked(database, tmp_path):
    (tmp_path / "out.jsonl").write_text("precious", "utf-8")
    failed = call("out.jsonl")
    assert failed.exit_code == 1
    assert "exists already" in failed.stderr
    assert (tmp_path / "out.jsonl").read_text("utf-8") == "precious"
    assert call("out.jsonl", "--force").exit_code == 0
    assert len(written()) == 120


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--form", "dpo"), "--form: must be one of preference, kto, sft"),
        (("--template", "jinja"), "--template: must be one of chat, plain"),
        (("--training", "both"), "--training: must be one of chosen, rejected, all, none"),
        (("--training", "all"), "training: all needs prefixes that differ"),
        (("--prefix", "persona:"), "prefix: no kind of that name"),
        (("--prefix", "gold"), "--texts: is needed for --prefix gold"),
        (("--prefix", "gold", "--texts", "nowhere.json"), "nowhere.json: cannot be read"),
        (("--prefix", "gold", "--texts", "."), ".: cannot be read"),
        (("--prefix", "gold", "--texts", "bad.json"), "bad.json: is not JSON in UTF-8"),
        (("--prefix", "gold", "--texts", "five.json"), "must hold an object"),
        (("--prefix", "system", "--texts", "five.json"), "must hold one text"),
        (("--prefix", "pair"), "contrastive does not infer a persona from a single choice"),
        (("--prefix", "retrieved_similar", "--from", "in.jsonl"), "similar people are known in memory only"),
        (("--own", "ann", "--users", "bob"), "--own: is about one person already"),
        (("--own", " "), "USER: is empty"),
        (("--from", "nowhere.jsonl"), "nowhere.jsonl: cannot be read"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(database, tmp_path, arguments, says):
    (tmp_path / "bad.json").write_bytes(b"\xff{")
    (tmp_path / "five.json").write_text('{"planted000": 5}', "utf-8")
    failed = call("out.jsonl", *arguments)
    assert failed.exit_code == 1
    assert says in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    assert not (tmp_path / "out.jsonl").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.json", "five.json"]


def test_places_that_cannot_be_written_are_named(database, tmp_path):
    failed = call("nowhere/out.jsonl")
    assert failed.exit_code == 1
    assert "nowhere/out.jsonl: cannot be written" in failed.stderr


def test_nothing_is_created_by_looking(tmp_path):
    failed = call("out.jsonl")
    assert failed.exit_code == 1
    assert "there is no database" in failed.stderr
    assert list(tmp_path.iterdir()) == []


def test_similar_people_lend_theirs(tmp_path, monkeypatch):
    monkeypatch.setenv("PERSONA_SIMILAR", "similar_personas")
    monkeypatch.setenv("PERSONA_INDEX", f"exact:{tmp_path / 'index'}")
    with Personalizer(learning="manual") as personalizer:
        for person in people(9, 24):
            personalizer.observe([*person.choices, Utterance(user_id=person.user_id, text="Hello.")])
        personalizer.refit()
        for user in personalizer.users():
            personalizer.learn(user)
        personalizer.rebuild_index()
        assert personalizer.neighbours("planted000")
    told = call("out.jsonl", "--prefix", "retrieved_similar", "--users", "planted000")
    assert told.exit_code == 0, told.output
    assert any(r["prompt"][0]["role"] == "system" for r in written())
