"""The part of the memory contract that is about signals and the people they are from."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_sdk.errors import NotFoundError
from persona_sdk.memory import Forgotten, Memory, Pending, Verdict
from persona_sdk.signals import Preference, Signal
from persona_sdk.testing.memory_strategies import (
    NOTHING,
    ODD_IDS,
    ODD_TEXTS,
    all_that_is_known,
    fill,
    identifiers,
    make_population,
    new_user,
    persona,
    said,
    searching,
    signal_lists,
    texts,
    texts_of,
)

__all__ = ["PeopleContract", "SignalsContract"]


class SignalsContract:
    """What is appended is kept: once, in order, exactly, and for its owner only."""

    def test_signals_come_back_in_the_order_they_were_appended(self, memory: Memory) -> None:
        """Order and sequence numbers follow appending, not the signals' own times."""
        user = new_user()
        days = (3, 1, 2)
        signals = [said(f"day {d}", user, at=datetime(2026, 1, d, tzinfo=UTC)) for d in days]
        assert memory.append(signals[:1]) == [True]
        assert memory.append(signals[1:]) == [True, True]
        stored = memory.signals("default", user)
        assert [s.signal for s in stored] == signals
        assert sorted({s.seq for s in stored}) == [s.seq for s in stored]
        assert stored[0].seq > 0

    def test_appending_nothing_is_nothing(self, memory: Memory) -> None:
        """An empty batch is answered by an empty list."""
        assert memory.append([]) == []

    def test_a_known_id_changes_nothing(self, memory: Memory) -> None:
        """Ids are idempotent, within a batch too, and the first text stays."""
        user = new_user()
        assert memory.append([said("one", user, id="a"), said("two", user, id="a")]) == [True, False]
        before = memory.signals("default", user)
        assert memory.append([said("three", user, id="a"), said("four", user, id="b")]) == [False, True]
        assert memory.signals("default", user)[:1] == before
        assert texts_of(memory, user) == ["one", "four"]

    def test_ids_are_unique_per_person_only(self, memory: Memory) -> None:
        """The same id of another person, or of the same name in another tenant, is another signal."""
        user, other = new_user(), new_user()
        batch = [said("a", user, id="1"), said("b", other, id="1"), said("c", user, id="1", tenant="elsewhere")]
        assert memory.append(batch) == [True, True, True]
        assert texts_of(memory, user) == ["a"]
        assert texts_of(memory, other) == ["b"]
        assert texts_of(memory, user, "elsewhere") == ["c"]

    def test_a_large_batch_is_kept_whole(self, memory: Memory) -> None:
        """Thousands of signals of many people in one call."""
        people = [new_user() for _ in range(30)]
        batch = [said(f"text {n}", people[n % 30]) for n in range(3000)]
        assert all(memory.append(batch))
        assert texts_of(memory, people[7]) == [f"text {n}" for n in range(7, 3000, 30)]
        assert not any(memory.append(batch))

    def test_a_batch_that_cannot_be_stored_leaves_no_trace(self, memory: Memory) -> None:
        """All or none: one signal that is no signal, and nothing of the batch is there."""
        user = new_user()
        broken: list[Signal] = [said("fine", user), None]  # type: ignore[list-item]
        with pytest.raises(Exception):  # noqa: B017, PT011 - which error a wrong type makes is not the contract
            memory.append(broken)
        assert memory.signals("default", user) == []

    @pytest.mark.parametrize("text", ODD_TEXTS)
    def test_odd_texts_survive_exactly(self, memory: Memory, text: str) -> None:
        """Control characters, NUL, right-to-left marks, emoji and quotes come back as they were."""
        user = new_user()
        signal = Preference(user_id=user, prompt=text, chosen=text, rejected=text + ".")
        memory.append([signal])
        assert [s.signal for s in memory.signals("default", user)] == [signal]
        memory.remember(persona(user, summary=text, quote=text), {text: [text]})
        memory.mark_learnt("default", user, 1, text)
        memory.rule("default", user, text, "pinned", text)
        current = memory.current("default", user)
        assert current is not None
        assert (current.summary, current.note) == (text, text)
        assert current.traits == persona(user, summary=text, quote=text).traits
        assert memory.state("default", user, 1) == {text: [text]}
        assert memory.verdicts("default", user) == {text: Verdict(text, "pinned", text)}

    def test_a_megabyte_survives_exactly(self, memory: Memory) -> None:
        """Long texts are neither cut nor changed."""
        user, text = new_user(), "\u00fcber\x00lang \U0001f600" * 90_000
        memory.append([said(text, user)])
        assert texts_of(memory, user) == [text]

    @searching
    @given(data=st.data())
    def test_any_signals_survive_exactly(self, memory: Memory, data: st.DataObject) -> None:
        """Whatever a signal accepts, the log gives back."""
        user = new_user()
        signals = data.draw(signal_lists(user))
        assert memory.append(signals) == [True] * len(signals)
        assert [s.signal for s in memory.signals("default", user)] == signals

    def test_odd_ids_are_people_of_their_own(self, memory: Memory) -> None:
        """No two ids are taken for one, whatever characters they have, and none is read as SQL or a pattern."""
        for tenant in ("t", "T", "t%"):
            memory.append([said(f"{tenant} {odd}", odd, tenant=tenant, id=odd) for odd in ODD_IDS])
        for tenant in ("t", "T", "t%"):
            assert sorted(memory.users(tenant)) == sorted(ODD_IDS)
            for odd in ODD_IDS:
                assert texts_of(memory, odd, tenant) == [f"{tenant} {odd}"]

    @searching
    @given(user=identifiers(), tenant=identifiers(), text=texts())
    def test_any_ids_work_in_every_method(self, memory: Memory, user: str, tenant: str, text: str) -> None:
        """Write, read and forget under any identifier."""
        seq = fill(memory, tenant, user, text)
        assert user in list(memory.users(tenant))
        assert tenant in memory.tenants()
        assert [p.version for p in memory.versions(tenant, user)] == [1, 2]
        progress = memory.progress(tenant, user)
        assert progress is not None
        assert (progress.last, progress.learnt, progress.note) == (seq, seq, text)
        assert memory.forget(tenant, user) == Forgotten(signals=1, versions=2)
        assert all_that_is_known(memory, tenant, user) == NOTHING


class PeopleContract:
    """Who there is, who is to be learnt from, and that tenants never see each other."""

    def test_unknown_people_are_empty_not_errors(self, memory: Memory) -> None:
        """Reading about someone unknown gives nothing, and makes them no more known."""
        user = new_user()
        assert all_that_is_known(memory, "nowhere", user) == NOTHING
        assert memory.other_state("nowhere", user) is None
        assert memory.forget("nowhere", user) == Forgotten(0, 0)
        memory.rule("nowhere", user, "k", None)
        assert list(memory.users("nowhere")) == []
        assert memory.pending("nowhere") == []
        assert memory.tenants() == []

    def test_users_and_tenants_are_those_with_signals(self, memory: Memory) -> None:
        """Stable order, nobody twice, nobody without signals."""
        people = [new_user() for _ in range(20)]
        memory.append([said("x", user, tenant="b") for user in people + people])
        memory.append([said("x", "u", tenant="a")])
        memory.remember(persona("no signals", tenant="b"), None)
        assert sorted(memory.users("b")) == sorted(people)
        assert list(memory.users("b")) == list(memory.users("b"))
        assert memory.tenants() == ["a", "b"]

    def test_tenants_never_see_each_other(self, memory: Memory) -> None:
        """Every method that takes a tenant sees that tenant only, for one and the same user id."""
        fill(memory, "one", "ann", "secret")
        memory.save_population(make_population("one", "p", 1))
        assert all_that_is_known(memory, "two", "ann") == NOTHING
        assert memory.other_state("two", "ben") is None
        assert memory.population("two", "p") is None
        assert list(memory.users("two")) == []
        with pytest.raises(NotFoundError):
            memory.set_current("two", "ann", 1, pinned=True)
        with pytest.raises(NotFoundError):
            memory.mark_learnt("two", "ann", 1, "note")
        before = all_that_is_known(memory, "one", "ann")
        memory.rule("two", "ann", "style:length/against", None)
        memory.append([said("more", "ann", tenant="two")])
        assert memory.pending("one") == []
        assert memory.pending("two") == [Pending("two", "ann")]
        assert memory.forget("two", "ann") == Forgotten(1, 0)
        assert all_that_is_known(memory, "one", "ann") == before

    def test_tenant_and_user_are_not_glued_together(self, memory: Memory) -> None:
        """Tenant "a" with user "b/c" is not tenant "a/b" with user "c"."""
        for tenant, user in (("a", "b/c"), ("a/b", "c"), ("ab", "c"), ("a", "bc")):
            memory.append([said(f"{tenant}|{user}", user, tenant=tenant, id="1")])
        assert texts_of(memory, "c", "a/b") == ["a/b|c"]
        assert texts_of(memory, "bc", "a") == ["a|bc"]

    def test_pending_are_those_with_unread_signals(self, memory: Memory) -> None:
        """New signals make someone pending, learning through the newest one ends it, at most `limit` are given."""
        people = [new_user() for _ in range(5)]
        memory.append([said("x", user) for user in people])
        assert {p.user_id for p in memory.pending("default")} == set(people)
        assert len(memory.pending("default", 2)) == 2
        assert memory.pending("default", 0) == []
        for user in people:
            memory.mark_learnt("default", user, memory.signals("default", user)[-1].seq, "read")
        assert memory.pending("default") == []
        memory.append([said("y", people[3])])
        assert memory.pending("default") == [Pending("default", people[3])]
        progress = memory.progress("default", people[3])
        assert progress is not None
        assert progress.pending

    def test_learning_never_goes_back(self, memory: Memory) -> None:
        """A slower learner that has read less does not make someone pending again; the latest note stands."""
        user = new_user()
        memory.append([said("x", user), said("y", user)])
        last = memory.signals("default", user)[-1].seq
        memory.mark_learnt("default", user, last, "fast")
        memory.mark_learnt("default", user, last - 1, "slow")
        progress = memory.progress("default", user)
        assert progress is not None
        assert (progress.learnt, progress.note) == (last, "slow")

    def test_nobody_is_learnt_from_without_signals(self, memory: Memory) -> None:
        """Neither an unknown nor a forgotten person can be marked."""
        user = new_user()
        with pytest.raises(NotFoundError):
            memory.mark_learnt("default", user, 1, "note")
        fill(memory, "default", user, "x")
        memory.forget("default", user)
        with pytest.raises(NotFoundError):
            memory.mark_learnt("default", user, 1, "note")
        assert all_that_is_known(memory, "default", user) == NOTHING
