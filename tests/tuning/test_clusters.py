"""Clusters of people who lean alike."""

import subprocess
import sys

import numpy as np
import pytest

from persona_plugins.sql_memory.memory import SqlMemory
from persona_sdk.errors import InputError, MissingExtraError
from persona_sdk.memory import Leaning
from persona_sdk.signals import Preference
from persona_sdk.tuning.clusters import MINIMUM_SIZE, clusters, from_memory


def people(*sizes, noise=0.2, seed=0):
    """People around one direction each, for each size; how strongly somebody leans is of no matter."""
    rng = np.random.default_rng(seed)
    found = {}
    for group, size in enumerate(sizes):
        for n in range(size):
            row = noise * rng.normal(size=6)
            row[group] += 1.0
            found[f"group {group} person {n:03}"] = dict(zip("abcdef", rng.uniform(0.1, 10) * row, strict=True))
    return found


def group_of(user):
    return user.split()[1]


@pytest.mark.parametrize("sizes", [(20, 12), (30, 20, 10), (9, 8, 7, 6, 5)])
def test_groups_are_found_with_their_number(sizes):
    found = clusters(people(*sizes))
    assert [len(group) for group in found] == list(sizes)
    assert [{group_of(user) for user in group} for group in found] == [{str(n)} for n in range(len(sizes))]


def test_a_group_too_small_is_not_made():
    assert MINIMUM_SIZE == 5
    assert [len(group) for group in clusters(people(30, 4))] == [34]
    assert [len(group) for group in clusters(people(30, 5))] == [30, 5]
    assert [len(group) for group in clusters(people(5, 4))] == [9]


def test_as_many_as_asked_for():
    some = people(20, 12)
    assert [len(clusters(some, k)) for k in (1, 2, 3, 5)] == [1, 2, 3, 5]
    for k in (0, -1, 33):
        with pytest.raises(InputError, match="k: has to be between 1 and 32"):
            clusters(some, k)
    assert clusters({}) == clusters({}, 1) == []


def test_the_same_people_give_the_same_groups():
    some = people(20, 12, 9, noise=0.6)
    first = clusters(some)
    assert clusters(dict(reversed(some.items()))) == first
    assert clusters({user: dict(reversed(one.items())) for user, one in some.items()}) == first
    assert sorted(user for group in first for user in group) == sorted(some)
    assert [list(group) for group in first] == [sorted(group) for group in first]


def test_who_leans_to_nothing_is_in_no_group():
    some = people(8, 8) | {"nothing": {}, "zero": {"a": 0.0}}
    assert sorted(user for group in clusters(some) for user in group) == sorted(people(8, 8))
    assert clusters({"nothing": {}, "zero": {"a": 0.0}}) == []
    with pytest.raises(InputError, match="not finite"):
        clusters({"a": {"x": float("nan")}})


def test_all_the_same_are_one_group():
    assert clusters({f"user {n}": {"a": 1.0 + n} for n in range(20)}) == [tuple(sorted(f"user {n}" for n in range(20)))]


def test_only_who_lends_is_asked(tmp_path):
    memory = SqlMemory(f"sqlite:///{tmp_path / 'persona.db'}")
    for tenant, users in (("t", "abcde"), ("other", "xy")):
        for user in users:
            memory.append([Preference(tenant=tenant, user_id=user, prompt="p", chosen="c", rejected="r")])
            through = memory.signals(tenant, user)[-1].seq
            inferrer = "strange" if user == "e" else "contrastive"
            memory.lean(tenant, Leaning(user, {"short": 1.0}, 1, through, inferrer))
    memory.set_consent("t", "b", lend=False)
    memory.lean("t", Leaning("c", {}, 1, memory.signals("t", "c")[-1].seq, "contrastive"))
    assert from_memory(memory, "t") == {"a": {"short": 1.0}, "d": {"short": 1.0}}
    assert from_memory(memory, "nobody's") == {}
    memory.close()


def test_many_lenders_are_read_page_by_page(tmp_path, monkeypatch):
    monkeypatch.setattr("persona_sdk.tuning.clusters._PAGE", 3)
    memory = SqlMemory(f"sqlite:///{tmp_path / 'persona.db'}")
    for n in range(11):
        memory.append([Preference(tenant="t", user_id=f"user {n}", prompt="p", chosen="c", rejected="r")])
        through = memory.signals("t", f"user {n}")[-1].seq
        memory.lean("t", Leaning(f"user {n}", {"short": 1.0}, 1, through, "contrastive"))
    assert set(from_memory(memory, "t")) == {f"user {n}" for n in range(11)}
    memory.close()


def test_what_is_missing_is_named_and_nothing_is_loaded_early(monkeypatch):
    code = "import sys, persona_sdk.tuning.clusters; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'persona-sdk\[tune\]'"):
        clusters(people(8, 8))
