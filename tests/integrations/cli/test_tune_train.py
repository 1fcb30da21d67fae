"""`persona tune train` on a tiny base: what it makes, what it says, and what it refuses."""

import json

import pytest

from persona_sdk.memory import person_key
from persona_sdk.simulation.planted import people
from persona_sdk.tuning.adapters import Adapters
from tests.support.tiny import tiny_base

pytest.importorskip("trl", reason="the extra `tune` is not installed; `make test` installs it")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("train") / "base")


@pytest.fixture(scope="session")
def signals(tmp_path_factory):
    file = tmp_path_factory.mktemp("train") / "signals.jsonl"
    file.write_text("".join(c.model_dump_json() + "\n" for one in people(10, 12) for c in one.choices))
    return file


def run(empty, *arguments):
    return empty("tune", "train", *map(str, arguments))


def test_trains_a_shared_adapter_from_a_file(empty, base, signals, tmp_path):
    given = ("--from", signals, "--base", base, "--adapters", tmp_path / "a", "--dtype", "float32")
    done = run(empty, "first", *given, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["card"]["rung"] == "shared"
    assert said["card"]["prefix"] == "persona"
    assert said["left_out"]["test"] > 0
    adapters = Adapters(tmp_path / "a")
    assert adapters.names() == ["first"]
    assert adapters.card("first").rows["train"] > 0
    assert not (tmp_path / "a" / ".runs" / "first").exists()


def test_trains_one_persons_own_and_says_so(empty, base, signals, tmp_path):
    done = run(empty, "own", "--from", signals, "--base", base, "--adapters", tmp_path / "a", "--for", "planted003",
               "--dtype", "float32")  # fmt: skip
    assert done.exit_code == 0, done.output
    card = Adapters(tmp_path / "a").card("own")
    assert card.rung == "own"
    assert [person.key for person in card.people] == [person_key("default", "planted003")]
    assert card.cluster == (person_key("default", "planted003"),)
    assert "persona tune choose" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("Bad Name!",), "an adapter's name has"),
        (("x", "--recipe", "best"), "there is none called 'best'"),
        (("x", "--base", "nowhere"), "nothing is downloaded"),
        (("x", "--dtype", "int4"), "--dtype: must be one of float32, bfloat16"),
        (("x", "--training", "both"), "--training: must be one of"),
        (("x", "--for", "planted001", "--cluster", "planted002"), "no cluster"),
        (("x", "--for", "nobody"), "nothing is known that this person chose"),
    ],
)
def test_refuses_what_cannot_be_trained(empty, signals, tmp_path, arguments, said):
    done = run(empty, *arguments, "--from", signals, "--adapters", tmp_path / "a")
    assert done.exit_code == 1
    assert said in done.output


def test_leaves_out_who_was_forgotten_though_the_file_still_has_them(empty, base, signals, tmp_path):
    given = ("--from", signals, "--base", base, "--adapters", tmp_path / "a")
    assert run(empty, "x", *given).exit_code == 0
    adapters = Adapters(tmp_path / "a")
    taught = {person.key for person in adapters.card("x").people}
    user = next(one.user_id for one in people(10, 1) if person_key("default", one.user_id) in taught)
    assert empty("forget", user, "--adapters", str(tmp_path / "a"), "--yes").exit_code == 0
    assert not adapters.usable("x")
    done = run(empty, "x", *given, "--replace")
    assert done.exit_code == 0, done.output
    assert person_key("default", user) not in {person.key for person in adapters.card("x").people}
    assert adapters.usable("x")


def test_a_parent_is_looked_at_before_anything_is_trained(empty, base, signals, tmp_path):
    given = ("--from", signals, "--base", base, "--adapters", tmp_path / "a")
    assert run(empty, "mine", *given, "--for", "planted001").exit_code == 0
    done = run(empty, "everybody", *given, "--parent", "mine")
    assert done.exit_code == 1
    assert "parent: mine" in done.output


def test_leaves_out_who_does_not_lend(empty, base, signals, tmp_path):
    assert empty("infer", str(signals)).exit_code == 0
    assert empty("share", "planted003", "--no-lend").exit_code == 0
    done = run(empty, "x", "--from", signals, "--base", base, "--adapters", tmp_path / "a")
    assert done.exit_code == 0, done.output
    assert "1 people in the file do not lend" in done.output
    card = Adapters(tmp_path / "a").card("x")
    assert person_key("default", "planted003") not in {person.key for person in card.people}


def test_refuses_a_name_that_is_taken_before_anything_is_trained(empty, base, signals, tmp_path):
    given = ("mine", "--from", signals, "--base", base, "--adapters", tmp_path / "a", "--for", "planted001")
    assert run(empty, *given).exit_code == 0
    again = run(empty, *given)
    assert again.exit_code == 1
    assert "replace it" in again.output
    assert run(empty, *given, "--replace").exit_code == 0
