"""Who is given which adapter. The models follow rules, but for the last test's, which is a real one, if a tiny one."""

from datetime import UTC, datetime, timedelta

import pytest

from persona_plugins.sql_memory.memory import SqlMemory
from persona_sdk.errors import InputError, ModelError, NotFoundError
from persona_sdk.tuning.adapters import Adapters
from persona_sdk.tuning.assignments import Assignment
from persona_sdk.tuning.cards import lineage
from persona_sdk.tuning.choosing import Choosing, candidates, choose
from persona_sdk.tuning.lessons import Teaching, asked_anew, lessons
from persona_sdk.tuning.likelihood import margins
from tests.support.adapters import card_of, key, lora
from tests.support.reading import Reads, people
from tests.support.tuned import Rules

PEOPLE = people(14, 12)
USERS = sorted(history.user_id for history in PEOPLE)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
#: A base that is mostly wrong, and a shared adapter that is mostly right.
WORTH = {None: -0.6, "shared": 0.9}


def taught(count=6, prefix="persona"):
    """The rows of a run on the first people."""
    return lessons(PEOPLE[:count], Reads(), Teaching(prefix=prefix, test=0.0, validation=0.0))


@pytest.fixture
def added(adapters, tmp_path):
    """Add an adapter, an hour newer than the last one."""
    made = iter(range(100))

    def added(name, **more):
        number = next(made)
        card = card_of(name, at=NOON + timedelta(hours=number), **more)
        return adapters.add(lora(tmp_path / f"made{number}"), card, replace=name in adapters.names())

    return added


@pytest.fixture
def shared(added):
    return added("shared", prefix="persona")


def chosen(adapters, model, choosing=None, source=PEOPLE, **more):
    return choose(source, Reads(), adapters, model, choosing, **more)


def given(found):
    return {user: one.adapter for user, one in found.assignments.items()}


@pytest.fixture
def memory(tmp_path):
    memory = SqlMemory(f"sqlite:///{tmp_path / 'persona.db'}")
    for history in PEOPLE:
        memory.append(history.signals)
    yield memory
    memory.close()


# Who is given what


def test_each_rung_is_measured_on_those_it_is_for_and_recorded(adapters, added, shared):
    added("alike", rung="cluster", prefix="persona", cluster=tuple(map(key, USERS[:6])))
    added("mine", own="user13", prefix="persona")
    model = Rules(WORTH | {"alike": 3.0, "mine": -1.0})
    found = chosen(adapters, model)
    assert [(one.rung, one.people, one.choices) for one in found.table] == [
        ("prefix", 14, 84), ("shared", 14, 84), ("cluster", 6, 36), ("own", 1, 6),
    ]  # fmt: skip
    assert given(found) == dict.fromkeys(USERS, "shared") | dict.fromkeys(USERS[:6], "alike")
    assert found.assignments["user0"].below.adapter == "shared"
    for user in USERS:
        assert adapters.assigned("default", user) == found.assignments[user]
    assert adapters.default("default") == found.default
    assert (found.default.adapter, found.default.people, found.default.choices) == ("shared", 14, 84)
    assert {len(model.read(name)) for name in (None, "shared")} == {2 * 84}
    assert (len(model.read("alike")), len(model.read("mine"))) == (2 * 36, 2 * 6)


def test_what_helps_nobody_is_given_to_nobody(adapters, shared):
    found = chosen(adapters, Rules({None: 1.0, "shared": 0.2}))
    assert set(given(found).values()) == {None}
    assert (adapters.default("default").adapter, found.table[1].helps) == (None, False)
    assert "prefix only" in adapters.given("default", "user3").verified


def test_what_an_adapter_has_read_is_not_measured_and_the_default_is_that_of_others(adapters, added):
    made = taught(8)
    read = {(row.example.user_id, signal) for row in made.train for signal in row.example.origin.signals}
    path = added("shared", prefix="persona")
    card = adapters.card("shared").model_copy(update={"people": lineage(made.train)})
    adapters.add(lora(path.parent.parent / "again"), card, replace=True)
    known = {("shared", history.user_id): 1.0 for history in PEOPLE[:8]}
    model = Rules({None: 0.1, "shared": -0.5} | known)  # good for those it was trained on, and for nobody else
    found = chosen(adapters, model)
    assert (found.default.adapter, found.default.people) == (None, 6)
    assert {user for user, adapter in given(found).items() if adapter} <= {h.user_id for h in PEOPLE[:8]}
    asked = {(user, s.id) for user, s in ((h.user_id, s) for h in PEOPLE for s in h.signals)}
    assert (asked - read) > {(row.example.user_id, s) for row in made.held_out for s in row.example.origin.signals}
    assert found.assignments["user0"].choices == 3
    assert found.assignments["user13"].choices == 6


def test_each_is_read_as_it_is_served(adapters, added):
    added("shared", prefix="few_shot", system="Be kind.")
    added("alike", rung="cluster", prefix="none", cluster=(key("user0"),))
    added("paired", own="user1", prefix="pair", system="Be calm.")
    model = Rules({})
    chosen(adapters, model)
    read = [model.read(name)[0][0]["content"] for name in (None, "shared", "alike", "paired")]
    assert all("Likes user" in system for system in read)  # whatever they were trained to read: so it is when serving
    assert [system.split("\n")[0] for system in read[1::2]] == ["Be kind.", "Be calm."]
    assert not any("Be " in system for system in read[::2])


def test_an_app_that_says_something_else_in_front_measures_with_that(adapters, added):
    added("shared", prefix="persona", system="Be kind.")
    model = Rules({})
    chosen(adapters, model, Choosing(teaching=Teaching(prefix="few_shot")))
    for name in (None, "shared"):
        assert "Yes, " in model.read(name)[0][0]["content"]
        assert "Likes user" not in model.read(name)[0][0]["content"]
    model = Rules({})
    chosen(adapters, model, Choosing(teaching=Teaching(prefix="none")))
    assert [message["role"] for message in model.read(None)[0]] == ["user"]


def test_what_is_in_front_must_be_known_and_must_not_tell_the_answer(adapters, added):
    added("shared", prefix="persona")
    model = Rules(WORTH)
    with pytest.raises(InputError, match=r"shuffled:name takes texts \(names\), which were not given"):
        chosen(adapters, model, Choosing(teaching=Teaching(prefix="shuffled:name")))
    with pytest.raises(InputError, match="would tell what was chosen"):
        chosen(adapters, model, Choosing(teaching=Teaching(prefix="pair")))
    names = {user: user.upper() for user in USERS}
    chosen(adapters, model, Choosing(teaching=Teaching(prefix="shuffled:name", texts={"names": names})))
    assert "name is 'USER" in model.read("shared")[0][0]["content"]


# Consent


def test_whoever_does_not_lend_decides_nothing_but_what_they_are_given(adapters, shared, memory):
    memory.set_consent("default", "user3", lend=False)
    model = Rules({None: 0.1, "shared": 0.35} | {("shared", "user3"): 40.0})
    found = chosen(adapters, model, source=memory)
    assert found.assignments["user3"].adapter == "shared"
    assert adapters.assigned("default", "user3").adapter == "shared"
    assert found.table[0].people == 13
    memory.forget("default", "user3")
    without = chosen(adapters, model, source=memory)
    assert without.table == found.table
    assert without.default == found.default
    assert without.assignments == {user: one for user, one in found.assignments.items() if user != "user3"}


def test_whoever_does_not_borrow_is_given_no_cluster_s_adapter(adapters, added, shared, memory):
    memory.set_consent("default", "user3", borrow=False)
    added("alike", rung="cluster", prefix="persona", cluster=tuple(map(key, USERS)))
    model = Rules(WORTH | {"alike": 3.0})
    found = chosen(adapters, model, source=memory)
    assert given(found) == dict.fromkeys(USERS, "alike") | {"user3": "shared"}


# Which adapters


def test_the_newest_counts(adapters, added):
    added("old", prefix="persona")
    added("new", prefix="persona")
    added("cluster-1", rung="cluster", cluster=(key("user0"), key("user1")))
    added("cluster-2", rung="cluster", cluster=(key("user1"), key("user2")))
    added("gone", rung="cluster", cluster=(key("user3"),))
    added("cluster-3", rung="cluster", cluster=(key("user3"),))
    added("own-1", own="user0")
    added("own-2", own="user0")
    names = [card.name for card in candidates(adapters, "default")]
    assert names == ["cluster-1", "cluster-2", "cluster-3", "new", "own-2"]
    model = Rules({})
    chosen(adapters, model)
    assert len(model.read("cluster-1")) == 2 * 6
    assert len(model.read("cluster-2")) == 2 * 2 * 6
    assert model.read("old") == []
    assert [card.name for card in candidates(adapters, "default", ["old", "own-1"])] == ["old", "own-1"]


def test_those_of_another_tenant_or_withdrawn_are_none(adapters, added):
    added("theirs", tenant="shop")
    added("shared", people="a")
    adapters.forget("default", "a")
    with pytest.raises(InputError, match=r"there is none in .* that people of this tenant may be given; train one"):
        chosen(adapters, Rules(WORTH))
    with pytest.raises(InputError, match="shared must not be used since somebody was forgotten"):
        chosen(adapters, Rules(WORTH), Choosing(["shared"]))
    with pytest.raises(InputError, match="theirs is another tenant's"):
        chosen(adapters, Rules(WORTH), Choosing(["theirs"]))
    with pytest.raises(NotFoundError, match="no adapter is named 'nonsense'"):
        chosen(adapters, Rules(WORTH), Choosing(["nonsense"]))
    assert [card.name for card in candidates(adapters, "shop")] == ["theirs"]


def test_another_tenant_is_given_its_own(adapters, added, shared, memory):
    added("theirs", tenant="shop", prefix="persona")
    for history in PEOPLE[:6]:
        memory.append([signal.model_copy(update={"tenant": "shop"}) for signal in history.signals])
    found = chosen(adapters, Rules(WORTH | {"theirs": 0.9}), source=memory, tenant="shop")
    assert set(given(found)) == {history.user_id for history in PEOPLE[:6]}
    assert adapters.assigned("shop", "user0").adapter == "theirs"
    assert adapters.assigned("default", "user0") is None
    assert (adapters.default("shop").adapter, adapters.default("default")) == ("theirs", None)


def test_two_for_everybody_cannot_both_be_named(adapters, added, shared):
    added("other")
    with pytest.raises(InputError, match="shared and other are both for everybody; name one"):
        candidates(adapters, "default", ["shared", "other"])


def test_without_a_shared_one_the_default_stays(adapters, added, shared):
    added("mine", own="user0", prefix="persona")
    before = Assignment(adapter="shared", rung="shared", choices=6, gain=0.1, standard_error=0.02)
    adapters.set_default("default", before)
    adapters.assign("default", "somebody", before)
    found = chosen(adapters, Rules({"mine": 5.0}), Choosing(["mine"]))
    assert found.assignments["user0"].adapter == "mine"
    assert adapters.default("default") == before
    assert adapters.assigned("default", "somebody") == before


# What happens meanwhile


def test_a_dry_run_records_nothing(adapters, shared, monkeypatch):
    monkeypatch.setattr(adapters, "begin", None)
    before = {path: path.stat().st_mtime_ns for path in adapters.folder.rglob("*")}
    found = chosen(adapters, Rules(WORTH), Choosing(dry_run=True))
    assert found.default.adapter == "shared"
    assert adapters.default("default") is None
    assert adapters.assigned("default", "user0") is None
    assert {path: path.stat().st_mtime_ns for path in adapters.folder.rglob("*")} == before


def test_whoever_is_forgotten_meanwhile_is_assigned_nothing(adapters, shared, memory):
    def forgets(name):
        if name == "shared":
            adapters.forget("default", "user5")

    found = chosen(adapters, Rules(WORTH, meanwhile=forgets))
    assert "user5" in found.assignments
    assert adapters.assigned("default", "user5") is None
    assert adapters.assigned("default", "user6").adapter == "shared"
    begun = adapters.begin()
    adapters.forget("default", "user6")
    chosen(adapters, Rules(WORTH), Choosing(since=begun), source=memory)
    assert adapters.assigned("default", "user5").adapter == "shared"
    assert adapters.assigned("default", "user6") is None


def test_what_was_measured_of_the_old_one_says_nothing_of_the_new_one(adapters, added, shared):
    def replaces(name):
        if name == "shared":
            added("shared", prefix="persona")

    with pytest.raises(InputError, match="one was replaced while it was measured; choose again"):
        chosen(adapters, Rules(WORTH, meanwhile=replaces))
    assert adapters.default("default") is None
    assert adapters.assigned("default", "user0") is None


def test_what_the_model_cannot_read_costs_that_person_only(adapters, shared, caplog):
    found = chosen(adapters, Rules(WORTH, fails=["user5"]))
    assert set(found.assignments) == set(USERS) - {"user5"}
    assert "1 of 14 people are not measured with the base" in caplog.text
    assert "too long" in caplog.text
    assert "user5" not in caplog.text
    assert "shared" not in caplog.text  # with which they need not be measured any more
    with pytest.raises(ModelError, match="too long"):
        chosen(adapters, Rules(WORTH, fails=USERS))
    with pytest.raises(ModelError, match="too long"):
        chosen(adapters, Rules(WORTH, fails=["user5"], final=True))


def test_there_is_nobody_to_measure_on(adapters, shared):
    with pytest.raises(InputError, match="choices: there is none to measure on"):
        chosen(adapters, Rules(WORTH), source=people(5, 3))
    assert adapters.default("default") is None


def test_it_tells_how_far_it_is(adapters, added, shared):
    added("mine", own="user0", prefix="persona")
    told = []
    chosen(adapters, Rules(WORTH), done=told.append)
    assert told == sorted(told)
    assert (len(told), told[-1]) == (14 + 14 + 1, 1.0)


def test_it_comes_out_the_same_whatever_order_people_come_in(adapters, added, shared):
    added("alike", rung="cluster", prefix="persona", cluster=tuple(map(key, USERS[:7])))
    model = Rules({None: 0.1, "shared": 0.4, "alike": 0.5})
    assert chosen(adapters, model) == chosen(adapters, model, source=PEOPLE[::-1])


# A real model


def test_real_adapters_are_measured_as_the_model_that_serves_them_finds_answers_likely(tmp_path):
    pytest.importorskip("torch", reason="`make test` installs it")
    from persona_plugins.contrastive.inferrer import Contrastive
    from persona_plugins.lora.chat import TunedChat
    from persona_sdk.inference import History
    from persona_sdk.simulation.planted import people as planted
    from tests.plugins.lora import made
    from tests.support.tiny import tiny_base

    base, adapters = tiny_base(tmp_path / "base"), Adapters(tmp_path / "adapters")
    said = {"shared": {"prefix": "persona", "system": "Be kind."}}
    said["mine"] = {"rung": "own", "cluster": (key("planted001"),), "prefix": "none"}
    for seed, (name, like) in enumerate(said.items()):
        made.add(adapters, base, name, seed, like=like)
    source = [History(one.user_id, one.choices) for one in planted(6, 12)]
    model = TunedChat(adapters.folder, base=base, device="cpu", strict=True)
    found = choose(source, Contrastive(), adapters, model)
    asked = asked_anew(source, Contrastive(), adapters.cards(), Teaching())
    for user, one in found.assignments.items():
        measured = {"prefix": margins(model.with_adapter(None), asked[user])}
        measured["shared"] = margins(model.with_adapter("shared"), asked[user], system="Be kind.")
        if user == "planted001":
            measured["own"] = margins(model.with_adapter("mine"), asked[user])
        right = {rung: sum(m > 0 for m in its) / len(its) for rung, its in measured.items()}
        assert one.accuracy == pytest.approx(right, abs=1e-3)
        assert adapters.assigned("default", user) == one
        assert measured["prefix"] != pytest.approx(measured["shared"], abs=1e-3)  # else the test would show nothing
    assert [one.rung for one in found.table] == ["prefix", "shared", "own"]
    made.add(adapters, base, "elsewhere", 9, like={"base": made.other_base()})
    with pytest.raises(InputError, match="elsewhere"):
        choose(source, Contrastive(), adapters, model, Choosing(["elsewhere"]))


def test_who_was_forgotten_is_not_measured_from_a_file_that_still_has_them(adapters, shared, memory):
    adapters.forget("default", "user3")
    assert set(given(chosen(adapters, Rules(WORTH)))) == set(USERS) - {"user3"}
    assert adapters.assigned("default", "user3") is None
    assert "user3" in given(chosen(adapters, Rules(WORTH), source=memory))  # they came back
