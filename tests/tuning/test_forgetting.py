"""Adapters, when somebody whose signals are in them is forgotten."""

import sqlite3
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from persona_sdk.errors import InputError, NotFoundError, StorageError
from persona_sdk.tuning import folders
from persona_sdk.tuning.adapters import Adapters
from persona_sdk.tuning.assignments import Assignment
from tests.support.adapters import CLUSTER, SHARED, card_of, key, lora


@pytest.mark.parametrize(
    ("policy", "became", "usable", "there"),
    [("mark", "marked", True, True), ("retrain", "withdrawn", False, True), ("drop", "dropped", False, False)],
)
def test_what_becomes_of_adapters_with_a_forgotten_persons_signals(adapters, family, policy, became, usable, there):
    adapters.assign("default", "b", CLUSTER)
    adapters.assign("default", "x", Assignment(adapter="other", rung="shared"))
    assert [card.name for card in adapters.trained_on("default", "d")] == ["cluster", "own-ann", "own-eve", "shared"]
    affected = adapters.forget("default", "d", policy)
    assert [(one.name, one.became) for one in affected] == [
        (name, became) for name in ("cluster", "own-ann", "own-eve", "shared")
    ]
    assert ("shared" in adapters.names(), adapters.usable("shared"), adapters.usable("other")) == (there, usable, True)
    assert [one.name for one in adapters.listed() if one.forgotten] == [one.name for one in affected] * there
    assert adapters.assigned("default", "b") == (CLUSTER if usable else None)
    assert adapters.assigned("default", "x") is not None
    assert len(list(adapters.folder.glob("*@*"))) == (5 if there else 1)
    assert adapters.problems() == []


@pytest.mark.parametrize("policy", ["mark", "retrain", "drop"])
def test_what_is_theirs_alone_goes_under_every_policy(adapters, family, policy):
    adapters.assign("default", "e", Assignment(adapter="own-eve", rung="own", below=SHARED))
    path = adapters.path("own-eve")
    became = {one.name: one.became for one in adapters.forget("default", "e", policy)}
    assert became["own-eve"] == "dropped"
    assert "own-eve" not in adapters.names()
    assert not path.exists()
    assert adapters.assigned("default", "e") is None
    with sqlite3.connect(adapters.folder / "registry.db") as db:
        assert db.execute("SELECT count(*) FROM assigned WHERE whose = ?", (key("e"),)).fetchone() == (0,)


def test_who_made_a_cluster_what_it_is_is_in_its_adapter(adapters, add):
    """Though none of their signals are: what they lean to decided who else is in it."""
    add("cluster", "ab", rung="cluster", cluster=tuple(key(user) for user in "abc"))
    assert [card.name for card in adapters.trained_on("default", "c")] == ["cluster"]
    assert [(one.name, one.became) for one in adapters.forget("default", "c")] == [("cluster", "withdrawn")]


def test_nothing_is_kept_of_what_was_dropped(adapters, family):
    adapters.assign("default", "b", CLUSTER)
    adapters.forget("default", "d", "drop")
    with sqlite3.connect(adapters.folder / "registry.db") as db:
        for table in ("versions", "holds", "assigned"):
            assert {folder for (folder,) in db.execute(f"SELECT folder FROM {table}")} <= {adapters.path("other").name}


def test_an_own_adapter_whose_card_names_nobody_is_of_the_one_in_it(adapters, add):
    add("own-eve", "e", rung="own")
    assert [(one.name, one.became) for one in adapters.forget("default", "e", "mark")] == [("own-eve", "dropped")]


def test_the_policy_is_kept(adapters, family):
    assert adapters.policy() == "retrain"
    adapters.set_policy("mark")
    assert Adapters(adapters.folder).policy() == "mark"
    assert {one.became for one in adapters.forget("default", "d")} == {"marked"}
    for refuse in (adapters.set_policy, lambda p: adapters.forget("default", "d", p), adapters.settle):
        with pytest.raises(InputError, match="policy: is none of mark, retrain, drop"):
            refuse("keep")
    assert adapters.policy() == "mark"


def test_what_was_withdrawn_for_one_stays_so_when_another_is_forgotten(adapters, family):
    adapters.forget("default", "d", "retrain")
    assert {one.became for one in adapters.forget("default", "c", "mark")} == {"withdrawn"}
    assert not adapters.usable("shared")
    assert {one.forgotten for one in adapters.listed() if one.name == "shared"} == {2}


def test_children_trained_on_a_version_are_affected_though_their_cards_forgot_it(adapters, add):
    add("shared", "abd")
    add("child", "ab", parent="shared")
    add("grandchild", "ab", parent="child")
    assert [one.name for one in adapters.forget("default", "d", "retrain")] == ["child", "grandchild", "shared"]
    add("fresh", "ab")
    add("leaf", "ab", parent="fresh")
    add("fresh", "abf", replace=True)
    assert [one.name for one in adapters.forget("default", "f", "retrain")] == ["fresh"]


def test_the_operator_decides_anew(adapters, family):
    adapters.assign("default", "b", SHARED)
    adapters.forget("default", "d", "retrain")
    assert adapters.assigned("default", "b") is None
    assert [one.became for one in adapters.settle("mark", ["shared"])] == ["marked"]
    assert (adapters.usable("shared"), adapters.usable("cluster")) == (True, False)
    assert adapters.assigned("default", "b") == SHARED
    with pytest.raises(NotFoundError, match="other: no adapter of this name holds"):
        adapters.settle("drop", ["shared", "other"])
    assert adapters.usable("shared")
    assert len(adapters.settle("drop")) == 4
    assert adapters.names() == ["other"]
    assert adapters.settle("drop") == []


def test_one_that_was_trained_anew_is_usable_and_leaves_the_list(adapters, add, family):
    adapters.forget("default", "d", "retrain")
    add("shared", "abce", replace=True)
    assert adapters.usable("shared")
    assert {one.name for one in adapters.listed() if one.forgotten} == {"cluster", "own-ann", "own-eve"}
    add("cluster", "abce", rung="cluster", parent="shared", replace=True)
    assert adapters.usable("cluster")


def test_training_that_began_before_somebody_was_forgotten_is_refused(adapters, tmp_path):
    since = adapters.begin()
    adapters.forget("default", "d")
    made = lora(tmp_path / "made")
    with pytest.raises(InputError, match="1 person in its signals were forgotten after its training began"):
        adapters.add(made, card_of("shared", "abd"), since=since)
    assert made.exists()
    card = card_of("shared", "abd", seconds=3600.0, at=datetime.now(UTC))
    with pytest.raises(InputError, match="forgotten after its training began"):
        adapters.add(made, card)
    with pytest.raises(InputError, match="forgotten after its training began"):
        adapters.add(made, card_of("shared", "ab", rung="cluster", cluster=(key("d"),)), since=since)
    assert (adapters.names(), list(adapters.folder.glob("*@*"))) == ([], [])
    adapters.add(made, card_of("shared", "ab"), since=since)
    assert adapters.usable("shared")


def test_who_was_forgotten_before_the_training_began_is_in_nothing_new(adapters, add, family, tmp_path):
    """As from a file that still has them."""
    assert adapters.forgotten("default", "abcd") == set()
    adapters.forget("default", "d", "retrain")
    assert adapters.forgotten("default", ["a", "d"]) == {"d"}
    assert adapters.forgotten("other", ["a", "d"]) == set()
    for returned in ("", "a"):
        with pytest.raises(InputError, match="1 person in its signals were forgotten before its training began, and"):
            add("shared", "abcde", replace=True, returned=returned)
    assert not adapters.usable("shared")
    with pytest.raises(InputError, match="forgotten before its training began"):
        add("cluster", "ab", replace=True, rung="cluster", cluster=(key("d"),))
    adapters.settle("mark")
    add("child", "abcd", parent="shared")  # it has them from the parent, and is marked as that is
    assert {one.name: one.forgotten for one in adapters.listed()}["child"] == 1
    since = adapters.begin()
    adapters.forget("default", "d")
    with pytest.raises(InputError, match="forgotten after its training began"):
        add("late", "abcd", since=since, returned="d")


def test_what_may_be_gone_on_from(adapters, add, family):
    add("theirs", "a", tenant="t")
    assert adapters.check_parent("shared", "default", "shared").name == "shared"
    for name, rung, own in (
        ("shared", "own", key("b")), ("cluster", "own", key("b")), ("cluster", "cluster", None),
        ("own-ann", "own", key("a")),
    ):  # fmt: skip
        adapters.check_parent(name, "default", rung, own)
    for name, rung, own, says in (
        ("theirs", "shared", None, "parent: theirs is another tenant's"),
        ("own-ann", "own", key("b"), "parent: own-ann is one person's own"),
        ("own-ann", "shared", None, "parent: own-ann is one person's own"),
        ("own-ann", "cluster", key("a"), "parent: own-ann is one person's own"),
        ("cluster", "shared", None, "parent: cluster is a cluster's, and everybody's"),
    ):
        with pytest.raises(InputError, match=says):
            adapters.check_parent(name, "default", rung, own)
    with pytest.raises(NotFoundError, match="no adapter is named 'nonsense'"):
        adapters.check_parent("nonsense", "default", "shared")
    adapters.forget("default", "d")
    with pytest.raises(InputError, match=r"parent: shared was withdrawn, for it holds .* train it anew first"):
        adapters.check_parent("shared", "default", "shared")
    (adapters.path("other") / "persona_card.json").write_text("x")
    with pytest.raises(InputError, match="cannot be read"):
        adapters.check_parent("other", "default", "shared")


def test_somebody_who_comes_back_can_be_trained_on_again(adapters, add, family):
    adapters.forget("default", "d", "retrain")
    add("shared", "abcde", replace=True, returned="d")
    assert adapters.usable("shared")
    assert {one.name: one.forgotten for one in adapters.listed()}["shared"] == 0
    add("child", "abcde", parent="shared", rung="cluster")  # it has them from there
    assert adapters.usable("child")
    adapters.remove("child")
    assert adapters.assign("default", "d", SHARED)
    assert [one.name for one in adapters.forget("default", "d", "mark")] == ["cluster", "own-ann", "own-eve", "shared"]


def test_what_is_trained_on_top_of_one_that_holds_somebody_forgotten(adapters, add, family):
    """Withdrawn: refused. Marked: marked as well. Trained anew meanwhile: refused, for it began with the old one."""
    adapters.forget("default", "d", "retrain")
    with pytest.raises(InputError, match="trained on top of shared while that held signals of 1 person"):
        add("child", "abc", parent="shared")
    adapters.settle("mark")
    add("child", "abc", parent="shared")
    assert {one.name: (one.forgotten, one.usable) for one in adapters.listed()}["child"] == (1, True)
    began = adapters.begin()
    add("shared", "abce", replace=True)
    with pytest.raises(InputError, match="train shared anew, and then this"):
        add("grandchild", "abc", parent="shared", since=began)
    add("grandchild", "abc", parent="shared")
    assert {one.name: one.forgotten for one in adapters.listed()}["grandchild"] == 0
    adapters.forget("default", "b", "drop")
    with pytest.raises(InputError, match="train shared anew"):
        add("late", "ac", parent="shared", since=began)


def test_what_is_trained_on_top_of_a_copy_of_a_dropped_one_is_refused(adapters, add, family):
    adapters.forget("default", "d", "drop")
    with pytest.raises(InputError, match="trained on top of shared while that held signals of 1 person"):
        add("child", "abc", parent="shared")
    add("shared", "abc")
    add("child", "abc", parent="shared")


def test_a_parent_that_is_retrained_on_top_of_itself_stays_marked(adapters, add, family):
    adapters.forget("default", "d", "mark")
    add("shared", "abce", parent="shared", replace=True)
    assert {one.name: one.forgotten for one in adapters.listed()}["shared"] == 1


def test_what_was_measured_of_somebody_forgotten_since_is_not_kept(adapters, family):
    since = datetime.now(UTC)
    adapters.forget("default", "d", "mark")
    assert adapters.assign_all("default", {"c": SHARED, "d": SHARED}, since=since) == 1
    assert (adapters.assigned("default", "c"), adapters.assigned("default", "d")) == (SHARED, None)
    assert adapters.assign("default", "d", SHARED, since=datetime.now(UTC) + timedelta(seconds=1))


def test_files_that_cannot_be_deleted_are_used_by_nobody_and_named(adapters, family, monkeypatch):
    path = adapters.path("shared")
    with monkeypatch.context() as held:
        held.setattr(folders, "remove", lambda folder: False)
        with pytest.raises(StorageError, match=f"{path.name} cannot be deleted, but is not used any more"):
            adapters.settle("drop") or adapters.forget("default", "d", "drop")
        assert adapters.names() == ["other"]
        assert any(str(path) in problem for problem in adapters.problems())
    adapters.begin()
    adapters.remove("other")
    assert (path.exists(), adapters.problems()) == (False, [])


def test_nobodys_name_is_in_the_files(adapters, add):
    add("shared", ["Ann Example", "Bob Example"])
    adapters.assign("tenant of Ann", "Ann Example", SHARED)
    adapters.forget("default", "Bob Example", "mark")
    held = b"".join(file.read_bytes() for file in adapters.folder.rglob("*") if file.is_file())
    assert b"Example" not in held
    assert key("Ann Example", "tenant of Ann").encode() in held
    adapters.unassign("tenant of Ann", "Ann Example")
    assert key("Ann Example", "tenant of Ann").encode() not in (adapters.folder / "registry.db").read_bytes()


# Anything in any order, against a model


PEOPLE, NAMES = "abcd", ("one", "two", "three")
POLICIES = ("mark", "retrain", "drop")


class Registry(RuleBasedStateMachine):
    """What the registry says, whatever was added, assigned and forgotten before, next to a model of a few dicts."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.adapters = Adapters(f"{self.folder.name}/adapters")
        self.versions = {}  # by name: id, people, owner, the parent's id, state, who of them was forgotten
        self.assigned = {}  # by person: (name, id), the lowest first
        self.forgotten, self.made = set(), 0

    def teardown(self):
        self.folder.cleanup()

    @initialize()
    def begin(self):
        self.adapters.begin()

    @rule(
        name=st.sampled_from(NAMES),
        parent=st.sampled_from((None, *NAMES)),
        people=st.sets(st.sampled_from(PEOPLE)),
        returned=st.booleans(),
    )
    def add(self, name, parent, people, returned):
        self.made += 1
        over = self.versions.get(parent)
        parent = parent if over else None
        folder = lora(Path(self.folder.name) / f"made{self.made}")
        card = card_of(name, people | (over["people"] if over else set()), parent=parent)
        if over and over["state"] == "withdrawn":
            with pytest.raises(InputError, match=r"train .* anew"):
                self.adapters.add(folder, card, replace=True, since=self.adapters.begin())
            return
        back = [key(user) for user in people if returned]
        if not returned and people & self.forgotten - (over["people"] | over["forgotten"] if over else set()):
            with pytest.raises(InputError, match="not known to have come back"):
                self.adapters.add(folder, card, replace=True, since=self.adapters.begin())
            return
        self.adapters.add(folder, card, replace=True, since=self.adapters.begin(), returned=back)
        self.versions[name] = {
            "id": self.made,
            "people": people | (over["people"] if over else set()),
            "owner": None,
            "parent": over and over["id"],
            "state": "usable",
            "forgotten": set(over["forgotten"]) if over else set(),
        }

    @rule(name=st.sampled_from(NAMES), owner=st.sampled_from(PEOPLE))
    def add_own(self, name, owner):
        self.made += 1
        folder = lora(Path(self.folder.name) / f"made{self.made}")
        card, back = card_of(name, own=owner), [key(owner)]
        self.adapters.add(folder, card, replace=True, since=self.adapters.begin(), returned=back)
        self.versions[name] = {
            "id": self.made, "people": {owner}, "owner": owner, "parent": None, "state": "usable", "forgotten": set(),
        }  # fmt: skip

    @precondition(lambda self: self.versions)
    @rule(person=st.sampled_from(PEOPLE), data=st.data())
    def assign(self, person, data):
        names = data.draw(st.lists(st.sampled_from(sorted(self.versions)), min_size=1, max_size=3, unique=True))
        one = None
        for rung, name in zip(("shared", "cluster", "own"), names, strict=False):
            one = Assignment(adapter=name, rung=rung, below=one)
        assert self.adapters.assign("default", person, one)
        self.assigned[person] = [(name, self.versions[name]["id"]) for name in names]

    @rule(person=st.sampled_from(PEOPLE), policy=st.sampled_from(POLICIES))
    def forget(self, person, policy):
        self.assigned.pop(person, None)
        self.forgotten.add(person)
        hit = {name for name, v in self.versions.items() if person in v["people"]}
        for _ in NAMES:
            ids = {self.versions[name]["id"] for name in hit}
            hit |= {name for name, v in self.versions.items() if v["parent"] in ids}
        became = {}
        for name in sorted(hit):
            version = self.versions[name]
            version["forgotten"].add(person)
            became[name] = self.become(name, "drop" if version["owner"] == person else policy, again=False)
        assert {one.name: one.became for one in self.adapters.forget("default", person, policy)} == became

    @rule(policy=st.sampled_from(POLICIES))
    def settle(self, policy):
        listed = sorted(name for name, v in self.versions.items() if v["forgotten"])
        became = {name: self.become(name, policy, again=True) for name in listed}
        assert {one.name: one.became for one in self.adapters.settle(policy)} == became

    @precondition(lambda self: self.versions)
    @rule(data=st.data())
    def remove(self, data):
        name = data.draw(st.sampled_from(sorted(self.versions)))
        self.adapters.remove(name)
        del self.versions[name]

    def become(self, name, policy, *, again):
        if policy == "drop":
            del self.versions[name]
            return "dropped"
        version = self.versions[name]
        if policy == "retrain" or again:
            version["state"] = "withdrawn" if policy == "retrain" else "usable"
        return {"withdrawn": "withdrawn", "usable": "marked"}[version["state"]]

    @invariant()
    def it_is_as_the_model_says(self):
        assert {one.name: (one.usable, one.forgotten) for one in self.adapters.listed()} == {
            name: (v["state"] == "usable", len(v["forgotten"])) for name, v in self.versions.items()
        }
        assert self.adapters.problems() == []
        assert len(list(self.adapters.folder.glob("*@*"))) == len(self.versions)
        usable = {(name, v["id"]) for name, v in self.versions.items() if v["state"] == "usable"}
        for person in PEOPLE:
            chain = [name for name, id_ in self.assigned.get(person, ()) if (name, id_) in usable]
            found = self.adapters.assigned("default", person)
            assert ([] if found is None else [one.adapter for one in found.chain()]) == chain[::-1]
            names = sorted(name for name, v in self.versions.items() if person in v["people"])
            assert [card.name for card in self.adapters.trained_on("default", person)] == names


TestRegistry = Registry.TestCase
TestRegistry.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
