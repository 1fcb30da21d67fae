"""The registry of adapters: kept whole, given to whom they are good for, and gone with somebody who is forgotten."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import datetime
from multiprocessing import get_context

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from persona_sdk.errors import InputError, NotFoundError, StorageBusyError, StorageError
from persona_sdk.tuning import placing, registry
from persona_sdk.tuning.adapters import Adapters
from persona_sdk.tuning.cards import read_card
from persona_sdk.tuning.folders import CONFIG, WEIGHTS
from tests.support.adapters import CLUSTER, OWN, SHARED, card_of, key, lora

# What is added


def test_what_was_trained_is_taken_in_whole(adapters, tmp_path):
    made = lora(tmp_path / "made", value=3.0)
    (made / "README.md").write_text("about")
    card = card_of("shared", "ab", metrics={"accuracy": 0.7})
    path = adapters.add(made, card)
    assert (adapters.names(), adapters.path("shared"), adapters.usable("shared")) == (["shared"], path, True)
    assert adapters.card("shared") == card == read_card(path)
    assert adapters.cards() == [card]
    assert float(load_file(path / WEIGHTS).popitem()[1].max()) == 3.0
    assert (path / "README.md").read_text() == "about"
    assert not made.exists()
    assert adapters.problems() == []


def test_from_another_disk_it_is_copied(adapters, tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    made = lora(tmp_path / "made", value=2.0)
    path = adapters.add(made, card_of("shared"))
    assert float(load_file(path / WEIGHTS).popitem()[1].max()) == 2.0
    assert adapters.problems() == []
    assert not made.exists()


def test_a_name_is_taken_until_it_is_replaced(adapters, add, tmp_path):
    first = add("shared", "a", value=1.0)
    made = lora(tmp_path / "again", value=2.0)
    with pytest.raises(InputError, match="there is an adapter of this name already"):
        adapters.add(made, card_of("shared", "b"))
    assert made.exists()
    assert (adapters.path("shared"), [p.key for p in adapters.card("shared").people]) == (first, [key("a")])
    second = adapters.add(made, card_of("shared", "b"), replace=True)
    assert (adapters.path("shared"), [p.key for p in adapters.card("shared").people]) == (second, [key("b")])
    assert not first.exists()
    assert {p.name for p in adapters.folder.iterdir()} == {"registry.db", second.name}


@example("con")
@example("com1.tar")
@example("lpt9")
@example("com10")
@example("console")
@example("ends.")
@example("a\n")
@example("base")
@example("default")
@example("base.2")
@given(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True) | st.text(max_size=70))
def test_names_are_safe_everywhere(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("names")
    adapters = Adapters(folder / "adapters")
    stem = name.partition(".")[0]
    device = stem in ("con", "prn", "aux", "nul") or (
        stem[:3] in ("com", "lpt") and stem[3:].isdigit() and len(stem) == 4
    )
    good = (
        0 < len(name) <= 64
        and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
        and name[0] not in "._-"
        and name[-1] != "."
        and not device
        and name not in ("base", "default")
    )
    made = lora(folder / "made")
    if good:
        assert adapters.add(made, card_of(name)).parent == adapters.folder
        assert adapters.names() == [name]
    else:
        with pytest.raises(InputError, match="name: an adapter's name has"):
            adapters.add(made, card_of(name))
        assert not adapters.folder.exists()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda made: (made / CONFIG).unlink(), "holds no adapter_config.json"),
        (lambda made: (made / CONFIG).write_text("{"), "is no JSON object"),
        (lambda made: (made / CONFIG).write_bytes(b"\xff"), "is no JSON object"),
        (lambda made: (made / WEIGHTS).unlink(), "holds no adapter_model.safetensors"),
        (lambda made: os.truncate(made / WEIGHTS, 100), "is damaged, empty or not complete"),
        (lambda made: os.truncate(made / WEIGHTS, (made / WEIGHTS).stat().st_size - 1), "is damaged"),
        (lambda made: (made / WEIGHTS).write_bytes((made / WEIGHTS).read_bytes() + b"x"), "is damaged"),
        (lambda made: (made / WEIGHTS).write_bytes(b""), "is damaged"),
        (lambda made: (made / WEIGHTS).write_bytes(b"\xff" * 50), "is damaged"),
        (lambda made: (made / WEIGHTS).write_bytes((2).to_bytes(8, "little") + b"{}"), "is damaged, empty"),
        (lambda made: (made / WEIGHTS).write_bytes((2).to_bytes(8, "little") + b"[]"), "is damaged"),
    ],
)
def test_what_is_not_complete_is_refused_and_reported(adapters, add, tmp_path, spoil, says):
    made = lora(tmp_path / "made")
    spoil(made)
    with pytest.raises(InputError, match=says):
        adapters.add(made, card_of("shared"))
    assert made.exists()
    assert adapters.names() == []
    add("fine", "a")
    spoil(add("spoilt", "b"))
    assert any(says in problem and "spoilt@" in problem for problem in adapters.problems())
    assert [one.name for one in adapters.listed()] == ["fine", "spoilt"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"name": "spoilt"}', b"\xff\xfe"])
def test_a_damaged_card_hides_neither_the_others_nor_who_is_in_it(adapters, add, content):
    add("fine", "a")
    (add("spoilt", "a") / "persona_card.json").write_bytes(content)
    assert [card.name for card in adapters.cards()] == ["fine"]
    assert [(one.name, one.card is None) for one in adapters.listed()] == [("fine", False), ("spoilt", True)]
    (problem,) = adapters.problems()
    assert "persona_card.json" in problem
    with pytest.raises(InputError, match="cannot be read"):
        adapters.card("spoilt")
    assert [card.name for card in adapters.trained_on("default", "a")] == ["fine"]
    assert [one.name for one in adapters.forget("default", "a", "drop")] == ["fine", "spoilt"]
    assert adapters.names() == []


def test_another_ones_card_and_strays_are_problems(adapters, add):
    (add("one") / "persona_card.json").write_text(card_of("two").model_dump_json())
    stray = lora(adapters.folder / "stray")
    assert [problem.partition(": ")[2].partition(";")[0] for problem in adapters.problems()] == [
        "is the card of another adapter",
        "registry.db does not know this adapter, so nobody is given it",
    ]
    adapters.add(stray, card_of("stray"))
    assert len(adapters.problems()) == 1
    assert adapters.names() == ["one", "stray"]


def test_what_is_missing_is_named_with_what_there_is(adapters, add):
    with pytest.raises(NotFoundError, match=r"no adapter is named 'shraed' in .*: there are none yet"):
        adapters.path("shraed")
    assert not adapters.folder.exists()
    add("shared")
    add("other")
    for ask in (adapters.path, adapters.card, adapters.remove):
        with pytest.raises(NotFoundError, match=r"no adapter is named 'shraed' in .*: there are other, shared"):
            ask("shraed")


def test_reading_makes_nothing(adapters):
    assert (adapters.names(), adapters.cards(), adapters.listed(), adapters.problems()) == ([], [], [], [])
    assert adapters.assigned("default", "a") is adapters.default("default") is adapters.given("default", "a") is None
    assert (adapters.policy(), adapters.usable("x"), adapters.trained_on("default", "a")) == ("retrain", False, [])
    assert (adapters.forget("default", "a"), adapters.settle("drop")) == ([], [])
    assert not adapters.folder.exists()


def test_a_removed_one_is_gone(adapters, add):
    path = add("shared", "a")
    adapters.assign("default", "a", SHARED)
    adapters.remove("shared")
    assert not path.exists()
    assert (adapters.names(), adapters.assigned("default", "a"), adapters.usable("shared")) == ([], None, False)


def test_a_moment_without_a_zone_is_refused(adapters, tmp_path):
    with pytest.raises(InputError, match="has no time zone"):
        adapters.add(lora(tmp_path / "made"), card_of("shared"), since=datetime(2026, 1, 1))


# Faults, kills and many processes


def test_a_damaged_registry_is_named(adapters, family):
    file = adapters.folder / "registry.db"
    kept = file.read_bytes()
    file.write_bytes(b"x" * 5000)
    for ask in (adapters.names, adapters.listed, lambda: adapters.assigned("default", "a"), adapters.begin):
        with pytest.raises(StorageError, match=r"registry.db: is damaged; restore it"):
            ask()
    file.write_bytes(kept)
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StorageError, match="newer version"):
        adapters.names()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="folder of adapters cannot be read or written"):
        Adapters(tmp_path / "file").begin()


def test_somebody_who_writes_for_too_long_is_named(adapters, family, monkeypatch):
    monkeypatch.setattr(registry, "_PATIENCE", 0.05)
    with registry.writing(adapters.folder):
        assert adapters.names()  # reading goes on
        with pytest.raises(StorageBusyError, match="another process writes"):
            adapters.set_policy("mark")
    assert adapters.policy() == "retrain"


def test_a_chat_call_does_not_wait_for_whoever_locks_the_registry(adapters, family):
    with sqlite3.connect(adapters.folder / "registry.db", isolation_level=None) as db:
        db.execute("BEGIN EXCLUSIVE")
        start = time.perf_counter()
        with pytest.raises(StorageBusyError, match="another process writes"):
            adapters.given("default", "a")
        assert time.perf_counter() - start < 2
    db.close()


REPLACE = """
import sys
from pathlib import Path
from persona_sdk.tuning.adapters import Adapters
from tests.support.adapters import card_of, lora
adapters = Adapters(sys.argv[1])
for n in range(int(sys.argv[2]), 10**6):
    made = lora(Path(sys.argv[1] + f"-made-{n}"), value=float(n))
    adapters.add(made, card_of("shared", "ab", seed=n), replace=True)
    print(n, flush=True)
"""


def start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
    )


def test_killed_at_any_moment_the_old_or_the_new_is_there_whole(adapters):
    chance, last = random.Random(3), -1
    for turn in range(8):
        with start(REPLACE, adapters.folder, (turn + 1) * 10_000) as process:
            first = process.stdout.readline()
            time.sleep(chance.uniform(0.0, 0.12))
            process.send_signal(signal.SIGKILL)
            done = (first + process.stdout.read().rpartition("\n")[0]).split()
        last = int(done[-1])
        (card,) = adapters.cards()
        assert card.seed in (last, last + 1)
        weights = load_file(adapters.path("shared") / WEIGHTS)
        assert {float(tensor.max()) for tensor in weights.values()} == {float(card.seed)}
        assert json.loads((adapters.path("shared") / CONFIG).read_text())["r"] == 4
    adapters.begin()
    adapters.set_default("t", None)
    assert last > 80_000
    placing.sweep(adapters.folder)
    assert adapters.problems() == []
    assert len(list(adapters.folder.glob("*@*"))) == 1


DIE = """
import os, sys
from pathlib import Path
from persona_sdk.tuning import folders
from persona_sdk.tuning.adapters import Adapters
from tests.support.adapters import card_of, lora
folders._sync = lambda path: os._exit(9)
Adapters(sys.argv[1]).add(lora(Path(sys.argv[1] + "-made")), card_of("new", "ab"))
"""


def test_what_a_process_leaves_that_dies_while_adding_is_swept(adapters, add):
    add("old", "a")
    with start(DIE, adapters.folder) as process:
        pass
    assert process.returncode == 9
    assert len(list(adapters.folder.glob("new@*"))) == 1
    assert adapters.names() == ["old"]
    add("other", "a")
    assert not list(adapters.folder.glob("new@*"))
    assert adapters.names() == ["old", "other"]
    assert adapters.problems() == []


def assign_some(folder, mine):
    adapters = Adapters(folder)
    for n in range(25):
        adapters.assign("default", f"{mine}-{n}", OWN if n % 2 else SHARED)
        assert adapters.assigned("default", f"{mine}-{n}") is not None
        adapters.assign("default", "everybody's", CLUSTER if mine % 2 else SHARED)


def test_processes_assign_at_once(adapters, family):
    context = get_context("spawn")
    others = [context.Process(target=assign_some, args=(adapters.folder, mine)) for mine in range(4)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert [other.exitcode for other in others] == [0] * 4
    for mine in range(4):
        assert [adapters.assigned("default", f"{mine}-{n}") for n in range(25)] == [SHARED, OWN] * 12 + [SHARED]
    assert adapters.assigned("default", "everybody's") in (CLUSTER, SHARED)
    assert {one.name: one.used_by for one in adapters.listed() if one.name == "own-ann"} == {"own-ann": 48}


ADD = """
import sys
from pathlib import Path
from persona_sdk.errors import InputError
from persona_sdk.tuning.adapters import Adapters
from tests.support.adapters import card_of, lora
adapters, mine = Adapters(sys.argv[1]), sys.argv[2]
sys.stdin.readline()
for n in range(10):
    adapters.add(lora(Path(f"{sys.argv[1]}-{mine}-{n}")), card_of(f"own-{mine}-{n}", "a"))
    try:
        adapters.add(lora(Path(f"{sys.argv[1]}-{mine}-{n}-same")), card_of(f"same-{n}", "a"))
        print("won", n)
    except InputError:
        pass
"""


def test_processes_add_at_once_and_one_of_them_wins_a_name(adapters):
    command = [sys.executable, "-c", ADD, str(adapters.folder)]
    started = [
        subprocess.Popen([*command, mine], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for mine in "pq"
    ]
    said = [process.communicate("go\n")[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert sorted("".join(said).splitlines()) == [f"won {n}" for n in range(10)]
    assert len(adapters.names()) == 30
    assert adapters.problems() == []
