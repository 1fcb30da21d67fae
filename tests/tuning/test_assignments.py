"""Who is given which adapter: the highest rung that can be used, of one tenant, as it was measured."""

import pytest

from persona_sdk.errors import NotFoundError
from persona_sdk.tuning import assignments, registry
from persona_sdk.tuning.assignments import Assignment
from tests.support.adapters import CLUSTER, OWN, SHARED, key


def test_everybody_is_given_the_highest_rung_that_can_be_used(adapters, family):
    assert adapters.assign("default", "a", OWN)
    assert adapters.assigned("default", "a") == OWN
    adapters.remove("own-ann")
    assert adapters.assigned("default", "a") == CLUSTER
    adapters.remove("shared")
    assert adapters.assigned("default", "a") == CLUSTER.model_copy(update={"below": None})
    adapters.remove("cluster")
    assert adapters.assigned("default", "a") is None


def test_what_was_measured_of_a_version_says_nothing_of_the_next(adapters, family, add):
    adapters.assign("default", "a", OWN)
    adapters.set_default("default", SHARED)
    add("shared", "abcde", replace=True)
    assert adapters.assigned("default", "a") == OWN.model_copy(
        update={"below": CLUSTER.model_copy(update={"below": None})}
    )
    assert adapters.default("default") is None
    adapters.assign("default", "a", OWN)
    assert adapters.assigned("default", "a") == OWN


def test_prefix_only_is_an_assignment_too(adapters, family):
    adapters.set_default("default", SHARED)
    prefix = Assignment(choices=9)
    adapters.assign("default", "a", prefix)
    assert adapters.given("default", "a") == prefix
    assert adapters.given("default", "b") == SHARED
    assert adapters.given("elsewhere", "b") is None
    adapters.unassign("default", "a")
    assert adapters.given("default", "a") == SHARED
    adapters.set_default("default", None)
    assert adapters.given("default", "a") is None


def test_one_whose_adapters_are_gone_is_given_the_default(adapters, family):
    adapters.set_default("default", SHARED)
    adapters.assign("default", "a", Assignment(adapter="other", rung="cluster"))
    adapters.remove("other")
    assert (adapters.assigned("default", "a"), adapters.given("default", "a")) == (None, SHARED)


def test_tenants_and_people_are_apart(adapters, family):
    adapters.assign_all("t", {"a": SHARED, "b": OWN})
    adapters.set_default("t", CLUSTER)
    assert (adapters.assigned("t", "a"), adapters.assigned("t", "b")) == (SHARED, OWN)
    assert adapters.assigned("default", "a") is adapters.assigned("ta", "") is adapters.assigned("t", "c") is None
    assert {one.name: one.used_by for one in adapters.listed()} == {
        "cluster": 0, "other": 0, "own-ann": 1, "own-eve": 0, "shared": 1,
    }  # fmt: skip


def test_an_adapter_that_does_not_exist_is_given_to_nobody(adapters, family):
    with pytest.raises(NotFoundError, match="'nonsense'"):
        adapters.assign_all("default", {"a": SHARED, "b": Assignment(adapter="nonsense", rung="cluster", below=SHARED)})
    assert adapters.assigned("default", "a") is None
    with pytest.raises(NotFoundError, match="'nonsense'"):
        adapters.set_default("default", Assignment(adapter="nonsense", rung="shared"))


def test_impossible_assignments():
    for wrong in ({"rung": "own"}, {"adapter": "x"}, {"adapter": "x", "rung": "shared", "below": CLUSTER}):
        with pytest.raises(ValueError, match=r"rung|below"):
            Assignment(**wrong)
    assert "no adapter was found" in Assignment(choices=3).verified
    assert "no held-out choices" in Assignment().verified
    said = OWN.model_copy(update={"accuracy": {"own": 0.75, "prefix": 0.5}}).verified
    assert "+0.3000 nats a choice (s.e. 0.0200); predicted right: prefix 50%, own 75%" in said


def test_reading_is_one_search_among_many(adapters, family):
    adapters.assign_all("default", {f"user {n}": OWN for n in range(5000)})
    adapters.set_default("default", SHARED)
    assert adapters.given("default", "user 20") == OWN
    with registry.reading(adapters.folder) as db:
        seen = []
        db.set_trace_callback(seen.append)
        assert assignments.given(db, key("user 1")) == OWN
        db.set_trace_callback(None)
        (one,) = seen
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {one}")]
    assert all(step.startswith("SEARCH") for step in plan), plan
