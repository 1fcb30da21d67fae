"""`persona tune choose` and `clusters`, and what `forget` does to adapters, as somebody types them.

The models follow rules, but for one test's, which is a real one, if a tiny one.
"""

import json
import shlex

import pytest

from persona_plugins.sql_memory.memory import SqlMemory
from persona_sdk.hooks.registry import Registry
from persona_sdk.memory import Leaning
from persona_sdk.tuning.adapters import Adapters
from persona_sdk.tuning.assignments import Assignment
from tests.integrations.cli.conftest import call
from tests.support.adapters import card_of, key, lora
from tests.support.reading import Reads, people
from tests.support.tuned import Rules

PEOPLE = people(8, 12)
USERS = sorted(history.user_id for history in PEOPLE)


@pytest.fixture
def memory(tmp_path):
    """The database `persona.db` where the command is called, as `conftest` sees to."""
    memory = SqlMemory(f"sqlite:///{tmp_path / 'persona.db'}")
    for history in PEOPLE:
        memory.append(history.signals)
    yield memory
    memory.close()


@pytest.fixture
def adapters(tmp_path):
    found = Adapters(tmp_path / "adapters")
    found.add(lora(tmp_path / "made1"), card_of("shared", "xyz", prefix="persona"))
    found.add(lora(tmp_path / "made2"), card_of("mine", own="user0", prefix="persona"))
    return found


@pytest.fixture
def model(monkeypatch):
    """The model that is used, whatever is named, and the names by which it was."""
    model = Rules({None: -0.6, "shared": 0.9, "mine": -2.0})
    model.named = []
    model.log_likelihoods = model.with_adapter(None).log_likelihoods
    monkeypatch.setattr(Registry, "chat_model", lambda self, spec: (model.named.append(spec), model)[1])
    monkeypatch.setattr(Registry, "inferrer", lambda self, name, settings: Reads())
    return model


# Choosing


def test_who_is_given_what(memory, adapters, model):
    shown = call("tune", "choose")
    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert lines[0] == ["rung", "adapter", "people", "choices", "below", "with", "gain", "±", "given", "to"]
    assert (lines[1][:5], lines[1][6:]) == (["prefix", "–", "8", "48", "–"], ["–", "–", "0"])
    assert (lines[2][:4], lines[2][-1]) == (["shared", "shared", "8", "48"], "8")
    assert (lines[3][:4], lines[3][-2:]) == (["own", "mine", "1", "6"], ["–", "0"])
    said = " ".join(shown.stdout.split())
    assert "Shared predicts better on 48 held-out choices of 8 people: +" in said
    assert "All others of the tenant default: shared adapter shared predicts 8 people's 48 held-out" in said
    assert "Recorded in adapters." in said
    assert model.named == ["tuned:adapters"]
    assert {adapters.assigned("default", user).adapter for user in USERS} == {"shared"}
    assert adapters.default("default").adapter == "shared"


def test_as_json(memory, adapters, model):
    found = json.loads(call("tune", "choose", "--json", "--dry-run").stdout)
    prefix, shared, own = found["rungs"]
    assert (prefix["adapters"], shared["adapters"], own["adapters"]) == ([], ["shared"], ["mine"])
    assert (prefix["now"], shared["now"], own["now"]) == (0, 8, 0)
    assert shared["gain"] > 0
    assert shared["verified"].startswith("shared predicts better on 48 held-out choices of 8 people: +")
    assert set(found["people"]) == set(USERS)
    assert Assignment.model_validate(found["people"]["user0"]).adapter == "shared"
    assert found["default"]["adapter"] == "shared"
    assert "held-out choices better" in found["default"]["verified"]
    assert found["recorded"] is False
    assert adapters.assigned("default", "user0") is None
    assert json.loads(call("tune", "choose", "--json").stdout)["recorded"] is True
    assert adapters.assigned("default", "user0").adapter == "shared"


def test_only_some_and_nothing_recorded(memory, adapters, model):
    shown = call("tune", "choose", "mine", "--dry-run", "--model", "another")
    said = " ".join(shown.stdout.split())
    assert "Nothing was recorded (--dry-run)." in said
    assert "All others of the tenant default: as before, no shared adapter was measured." in said
    assert "shared" not in said.split("All others")[0]
    assert model.named == ["another"]
    assert adapters.assigned("default", "user0") is None
    assert json.loads(call("tune", "choose", "mine", "--dry-run", "--json").stdout)["default"] is None


def test_a_file_in_place_of_memory(adapters, model, tmp_path):
    rows = [signal.model_dump_json() for history in PEOPLE for signal in history.signals]
    (tmp_path / "in.jsonl").write_text("\n".join([*rows, "{"]), "utf-8")
    shown = call("tune", "choose", "--from", "in.jsonl", "--json")
    assert shown.exit_code == 0, shown.output
    assert len(json.loads(shown.stdout)["people"]) == 8
    assert f"line {len(rows) + 1}: " in shown.stderr
    assert not (tmp_path / "persona.db").exists()
    assert adapters.assigned("default", "user0").adapter == "shared"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--adapters", "elsewhere"), "there are no adapters in elsewhere"),
        (("nonsense",), "no adapter is named 'nonsense'"),
        (("--from", "no.jsonl"), "no.jsonl: cannot be read"),
        (("--base", "other"), "--base: this model's cannot be changed; leave it out"),
    ],
)
def test_mistakes_are_named(memory, adapters, model, arguments, says):
    failed = call("tune", "choose", *arguments)
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert says in failed.stderr
    assert adapters.default("default") is None


def test_a_model_without_adapters_will_not_do(memory, adapters, model, monkeypatch):
    monkeypatch.setattr(Registry, "chat_model", lambda self, spec: object())
    assert "--model: this one has no adapters" in call("tune", "choose").stderr


def test_there_is_no_database(adapters, model, tmp_path):
    assert "there is no database persona.db" in call("tune", "choose").stderr
    assert not (tmp_path / "persona.db").exists()


def test_a_real_model_fails_where_an_adapter_is_another_base_s(memory, tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="`make test` installs it")
    from tests.plugins.lora import made
    from tests.support.tiny import tiny_base

    monkeypatch.setattr(Registry, "inferrer", lambda self, name, settings: Reads())
    base, adapters = tiny_base(tmp_path / "base"), Adapters(tmp_path / "adapters")
    made.add(adapters, base, "shared", 0, like={"prefix": "persona"})
    shown = call("tune", "choose", "--base", "base", "--json")
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert [(one["rung"], one["people"]) for one in found["rungs"]] == [("prefix", 8), ("shared", 8)]
    assert adapters.assigned("default", "user0") == Assignment.model_validate(found["people"]["user0"])
    kept = adapters.assigned("default", "user0")
    made.add(adapters, base, "shared", 1, replace=True, like={"prefix": "persona", "base": made.other_base()})
    failed = call("tune", "choose", "--base", "base")
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert "shared" in failed.stderr
    assert kept.adapter is None  # these weights mean nothing, and what they were not given for does not change
    assert adapters.assigned("default", "user0") == kept


# Clusters


def lean(memory, user, **weights):
    newest = memory.signals("default", user)[-1].seq
    memory.lean("default", Leaning(user, weights, choices=12, through=newest, inferrer="reads"))


def test_clusters_are_arguments(memory):
    failed = call("tune", "clusters", "--clusters", "3")
    assert failed.exit_code == 1
    assert "--clusters: cannot be more than 0, the people" in failed.stderr
    assert "`persona similar rebuild` learns what" in failed.stderr
    assert (
        "Nobody is known to lean to anything; `persona similar rebuild` learns it." in call("tune", "clusters").stdout
    )
    for user in USERS[:5]:
        lean(memory, user, short=1.0)
    for user in USERS[5:]:
        lean(memory, user, long=1.0)
    found = json.loads(call("tune", "clusters", "--clusters", "2", "--json").stdout)
    assert found == [{"users": USERS[:5]}, {"users": USERS[5:]}]
    lines = call("tune", "clusters", "--clusters", "2").stdout.splitlines()
    assert lines[::2] == ["Cluster 1: 5 people", "Cluster 2: 3 people"]
    assert shlex.split(lines[1]) == [word for user in USERS[:5] for word in ("--cluster", user)]
    assert "They are one cluster" in call("tune", "clusters").stdout  # three are too few
    memory.set_consent("default", "user0", lend=False)
    assert "user0" not in call("tune", "clusters", "--json").stdout
    failed = call("tune", "clusters", "--clusters", "9")
    assert (failed.exit_code, "--clusters: cannot be more than 7, the people" in failed.stderr) == (1, True)


def test_ids_cannot_act_on_a_shell_or_a_terminal(memory):
    for user in ("a b", "$(rm)", "it's", "re\u202ed"):
        memory.append([PEOPLE[0].signals[0].model_copy(update={"user_id": user})])
        lean(memory, user, short=1.0)
    shown = call("tune", "clusters")
    assert "\u202e" not in shown.stdout
    typed = next(line for line in shown.stdout.splitlines() if line.startswith("--cluster"))
    assert set(shlex.split(typed)) == {"--cluster", "a b", "$(rm)", "it's", "red"}
    assert "characters that cannot be shown are left out of 1 ids; --json has them" in shown.stderr
    assert call("tune", "clusters", "--json").stdout.isascii()


# Forgetting


@pytest.fixture
def trained(tmp_path, memory):
    """Adapters that hold user0's and user1's signals, and one with nobody's of these."""
    found = Adapters(tmp_path / "adapters")
    for name, whose in (("both", ("user0", "user1")), ("other", ("user5",))):
        found.add(lora(tmp_path / f"made-{name}"), card_of(name, whose))
    found.add(lora(tmp_path / "made-own"), card_of("mine", own="user0"))
    found.exported("both", tmp_path / "served/both")
    return found


def test_forgetting_says_what_becomes_of_adapters(trained, tmp_path):
    shown = call("forget", "user0", "--yes")
    assert shown.exit_code == 0, shown.output
    said = " ".join(shown.stdout.split())
    assert said.startswith("Erased: 13 signals and 0 persona versions. both: is given to nobody until it is trained")
    assert "exported to" in said
    assert "mine: deleted" in said
    assert "other" not in said
    assert (trained.names(), trained.usable("both")) == (["both", "other"], False)
    again = call("forget", "user0", "--yes", "--json")
    assert json.loads(again.stdout) == {
        "user_id": "user0",
        "signals": 0,
        "versions": 0,
        "adapters": [
            {"name": "both", "rung": "shared", "became": "withdrawn", "exports": [str(tmp_path / "served/both")]}
        ],
    }


@pytest.mark.parametrize("tailors", ["prompt_prefix", "lora"])
def test_what_a_plugin_deleted_first_is_listed_too(trained, monkeypatch, tailors):
    monkeypatch.setenv("PERSONA_TAILORS", tailors)
    trained.set_policy("drop")
    found = json.loads(call("forget", "user0", "--yes", "--json").stdout)
    assert [(one["name"], one["became"]) for one in found["adapters"]] == [("both", "dropped"), ("mine", "dropped")]
    assert len(found["adapters"][0]["exports"]) == 1
    assert trained.names() == ["other"]
    assert json.loads(call("forget", "user6", "--yes", "--json").stdout)["adapters"] == []


def test_a_training_that_begins_meanwhile_reads_nothing_of_them_or_is_refused(trained, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(SqlMemory, "forget", _before(SqlMemory.forget, lambda: begun.append(trained.begin())))
    assert call("forget", "user0", "--yes").exit_code == 0
    with pytest.raises(ValueError, match="were forgotten after its training began"):
        trained.add(lora(tmp_path / "late"), card_of("late", ["user0"]), since=begun[0])


def _before(what, then):
    def both(*given):
        then()
        return what(*given)

    return both


def test_nothing_is_done_unless_the_question_is_answered(trained, memory):
    assert call("forget", "user0", text="n\n").exit_code == 1
    assert trained.usable("both")
    assert memory.signals("default", "user0")


def test_the_folder_is_named_or_configured(trained, tmp_path, monkeypatch):
    trained.folder.rename(tmp_path / "elsewhere")
    elsewhere = Adapters(tmp_path / "elsewhere")
    assert json.loads(call("forget", "user0", "--yes", "--json").stdout)["adapters"] == []
    assert elsewhere.usable("both")
    assert not (tmp_path / "adapters").exists()
    found = json.loads(call("forget", "user0", "--yes", "--json", "--adapters", "elsewhere").stdout)
    assert [one["name"] for one in found["adapters"]] == ["both", "mine"]
    from persona_sdk.settings import Settings

    load = Settings.load
    monkeypatch.setattr(Settings, "load", lambda **given: load(options={"lora": {"adapters": "elsewhere"}}, **given))
    found = json.loads(call("forget", "user1", "--yes", "--json").stdout)
    assert [one["name"] for one in found["adapters"]] == ["both"]


def test_whoever_is_in_adapters_only_is_forgotten_too(tmp_path):
    trained = Adapters(tmp_path / "adapters")
    trained.add(lora(tmp_path / "made"), card_of("shared", ["ann"]))
    assert "there is no database" in call("forget", "bob", "--yes").stderr
    shown = call("forget", "ann", "--yes")
    assert shown.stdout.startswith("Erased: 0 signals and 0 persona versions.\nshared: is given to nobody")
    assert not trained.usable("shared")
    assert not (tmp_path / "persona.db").exists()
    assert trained.trained_on("default", "ann")[0].people[0].key == key("ann")
