"""The part of the memory contract that is about persona versions, rulings, populations, and forgetting."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import pytest

from persona_sdk.errors import NotFoundError
from persona_sdk.memory import Forgotten, Memory, Verdict
from persona_sdk.models import Lineage, Persona
from persona_sdk.testing.memory_strategies import (
    NOTHING,
    all_that_is_known,
    fill,
    make_population,
    new_user,
    persona,
    said,
    texts_of,
)

__all__ = ["ForgettingContract", "VersionsContract"]


class VersionsContract:
    """Persona versions, their states, rulings and populations."""

    def test_versions_count_up_and_the_newest_is_current(self, memory: Memory) -> None:
        """`remember` numbers versions from 1, keeps each as it was, and makes the last one current."""
        user = new_user()
        first = memory.remember(persona(user, summary="first"), {"n": 1})
        second = memory.remember(persona(user, summary="second"), None)
        assert (first.version, second.version) == (1, 2)
        assert memory.versions("default", user) == [first, second]
        assert memory.current("default", user) == second
        assert memory.state("default", user, 1) == {"n": 1}
        assert memory.state("default", user, 2) is None
        assert memory.state("default", user, 3) is None
        assert memory.state("default", user, -1) is None

    def test_a_version_need_not_become_current(self, memory: Memory) -> None:
        """`current=False` keeps a version without using it."""
        user = new_user()
        kept = memory.remember(persona(user), None, current=False)
        assert memory.current("default", user) is None
        assert memory.versions("default", user) == [kept]

    def test_rolling_back_and_forward(self, memory: Memory) -> None:
        """Any version can be made current again, and its state is then the current one."""
        user, other = new_user(), new_user()
        for number in (1, 2):
            memory.remember(persona(user, summary=f"v{number}"), {"n": number})
        assert memory.set_current("default", user, 1, pinned=False).summary == "v1"
        assert memory.other_state("default", other) == {"n": 1}
        current = memory.current("default", user)
        assert current is not None
        assert (current.version, current.pinned) == (1, False)
        memory.remember(persona(user, summary="v3"), None)
        current = memory.current("default", user)
        assert current is not None
        assert current.version == 3
        assert memory.other_state("default", other) is None

    def test_a_pinned_version_stays(self, memory: Memory) -> None:
        """New versions are kept beside a pinned one and do not replace it until it is unpinned."""
        user = new_user()
        for _ in range(2):
            memory.remember(persona(user), None)
        assert memory.set_current("default", user, 1, pinned=True).pinned
        third = memory.remember(persona(user), None)
        assert not third.pinned
        current = memory.current("default", user)
        assert current is not None
        assert (current.version, current.pinned) == (1, True)
        assert [(p.version, p.pinned) for p in memory.versions("default", user)] == [(1, True), (2, False), (3, False)]
        assert not memory.set_current("default", user, 1, pinned=False).pinned
        assert memory.remember(persona(user), None).version == 4
        current = memory.current("default", user)
        assert current is not None
        assert (current.version, current.pinned) == (4, False)

    def test_only_existing_versions_can_be_made_current(self, memory: Memory) -> None:
        """Anything else is not found, and changes nothing."""
        user = new_user()
        memory.remember(persona(user), None)
        for version in (0, -1, 2, 10**30):
            with pytest.raises(NotFoundError):
                memory.set_current("default", user, version, pinned=True)
        with pytest.raises(NotFoundError):
            memory.set_current("default", new_user(), 1, pinned=False)
        current = memory.current("default", user)
        assert current is not None
        assert not current.pinned

    def test_current_carries_the_latest_note(self, memory: Memory) -> None:
        """What learning said last is in the current persona, though the version is older."""
        user = new_user()
        memory.append([said("x", user)])
        memory.remember(persona(user), None)
        for note in ("first", "second, longer than the first", ""):
            memory.mark_learnt("default", user, 1, note)
            current = memory.current("default", user)
            assert current is not None
            assert current.note == note

    def test_another_persons_state_is_always_the_same_one(self, memory: Memory) -> None:
        """Never one's own, never of a tenant else, the same one at every call, None when there is nobody."""
        people = [new_user() for _ in range(4)]
        memory.remember(persona(people[0]), {"who": people[0]})
        assert memory.other_state("default", people[0]) is None
        assert memory.other_state("default", new_user()) == {"who": people[0]}
        for user in people[1:3]:
            memory.remember(persona(user), {"who": user})
        memory.remember(persona(people[3]), None)
        for user in people:
            state = memory.other_state("default", user)
            assert state is not None
            assert state["who"] in set(people[:3]) - {user}
            assert all(memory.other_state("default", user) == state for _ in range(3))

    def test_nothing_comes_back_from_forgotten_signals(self, memory: Memory) -> None:
        """A persona learnt from signals that were forgotten meanwhile is refused, and nothing is stored."""
        user, other = new_user(), new_user()
        memory.append([said("x", user), said("y", other)])
        (mine,), (theirs,) = memory.signals("default", user), memory.signals("default", other)

        def learnt(through: int) -> Persona:
            return persona(user).model_copy(update={"lineage": Lineage(through=through)})

        assert memory.remember(learnt(mine.seq), None).version == 1
        memory.forget("default", user)
        for through in (mine.seq, theirs.seq, 10**30):
            with pytest.raises(NotFoundError):
                memory.remember(learnt(through), {"secret": 1})
        assert all_that_is_known(memory, "default", user) == NOTHING
        assert memory.remember(learnt(0), None).version == 1

    def test_rulings_are_kept_until_taken_back(self, memory: Memory) -> None:
        """A tombstone stays, a new ruling replaces it, None removes it, whatever versions come and go."""
        user = new_user()
        memory.rule("default", user, "a", "rejected", "I like tea")
        memory.rule("default", user, "b", "pinned")
        memory.remember(persona(user), None)
        assert memory.verdicts("default", user) == {
            "a": Verdict("a", "rejected", "I like tea"),
            "b": Verdict("b", "pinned", ""),
        }
        memory.rule("default", user, "a", "pinned", "I do like tea")
        assert memory.verdicts("default", user)["a"] == Verdict("a", "pinned", "I do like tea")
        memory.rule("default", user, "a", None)
        memory.rule("default", user, "unknown", None)
        assert set(memory.verdicts("default", user)) == {"b"}
        assert memory.verdicts("default", new_user()) == {}

    def test_populations_are_replaced(self, memory: Memory) -> None:
        """One population per tenant and inferrer, the last one saved."""
        assert memory.population("t", "p") is None
        for number in (1, 2):
            memory.save_population(make_population("t", "p", number))
        memory.save_population(make_population("t", "q", 3))
        memory.save_population(make_population("u", "p", 4))
        assert memory.population("t", "p") == make_population("t", "p", 2).model_copy(
            update={"at": memory.population("t", "p").at}  # type: ignore[union-attr]
        )
        assert memory.tenants() == []

    def test_what_is_returned_can_be_changed_without_harm(self, memory: Memory) -> None:
        """Editing a returned list or state in place changes nothing in the store."""
        user = new_user()
        memory.append([said("x", user)])
        memory.remember(persona(user), {"n": [1]})
        memory.signals("default", user).clear()
        memory.versions("default", user).clear()
        state = memory.state("default", user, 1)
        assert state is not None
        state["n"].append(2)
        assert memory.state("default", user, 1) == {"n": [1]}
        assert len(memory.signals("default", user)) == len(memory.versions("default", user)) == 1


class ForgettingContract:
    """Forgetting is complete, exact, and can be repeated."""

    def test_forgetting_erases_everything_of_one_person_only(self, memory: Memory) -> None:
        """Nothing of the person is left in any method, everything of the others is."""
        gone, stays = new_user(), new_user()
        fill(memory, "default", gone, "gone")
        fill(memory, "default", stays, "stays")
        before = all_that_is_known(memory, "default", stays)
        assert memory.forget("default", gone) == Forgotten(signals=1, versions=2)
        assert all_that_is_known(memory, "default", gone) == NOTHING
        assert gone not in list(memory.users("default"))
        assert memory.other_state("default", stays) is None
        assert all_that_is_known(memory, "default", stays) == before
        assert memory.forget("default", gone) == Forgotten(0, 0)

    def test_someone_forgotten_may_come_back_as_new(self, memory: Memory) -> None:
        """Known ids are new again, versions start at 1, sequence numbers go on, nothing old shows."""
        user = new_user()
        memory.append([said("old", user, id="1")])
        old = memory.signals("default", user)[0].seq
        fill(memory, "default", user, "old")
        memory.set_current("default", user, 1, pinned=True)
        assert memory.current("default", user) is not None
        memory.forget("default", user)
        assert memory.append([said("new", user, id="1")]) == [True]
        assert texts_of(memory, user) == ["new"]
        assert memory.signals("default", user)[0].seq > old
        assert memory.current("default", user) is None
        assert memory.verdicts("default", user) == {}
        assert memory.remember(persona(user, summary="new"), None).version == 1
        current = memory.current("default", user)
        assert current is not None
        assert (current.summary, current.pinned) == ("new", False)

    def test_the_last_one_forgotten_leaves_no_tenant(self, memory: Memory) -> None:
        """A tenant without people is not listed."""
        memory.append([said("x", "ann", tenant="small")])
        memory.forget("small", "ann")
        assert memory.tenants() == []
        assert memory.pending("small") == []
