"""The part of the memory contract that is about what people lean to. A memory may keep none; then it is skipped."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_sdk.memory import Consent, Leaning, Memory, person_key
from persona_sdk.testing.memory_strategies import (
    ODD_IDS,
    ODD_TEXTS,
    in_threads,
    leaning,
    new_user,
    said,
    searching,
    texts,
)

__all__ = ["LeaningsContract"]


def _someone(memory: Memory, user: str | None = None, tenant: str = "default") -> tuple[str, int]:
    """Return somebody who has a signal, and its number."""
    if type(memory).lean is Memory.lean:
        pytest.skip("this memory keeps no leanings")
    user = user or new_user()
    memory.append([said("x", user, tenant=tenant)])
    return user, memory.signals(tenant, user)[-1].seq


def _kept(memory: Memory, user: str, tenant: str = "default") -> Leaning:
    found = memory.leaning(tenant, user)
    assert found is not None
    return found


class LeaningsContract:
    """A leaning is kept once, exactly, lent within its tenant if its person lends, and forgotten with them."""

    def reopen(self, memory: Memory) -> Memory | None:
        """Return another handle on the same store, None if there can be none. Override it."""
        return None

    def test_a_leaning_comes_back_and_is_replaced(self, memory: Memory) -> None:
        """Weights to the last bit, the newest only, with a number that grows."""
        user, seq = _someone(memory)
        assert memory.leaning("default", user) is None
        weights = {"w:tea": 0.1 + 0.2, "s:length": -1e-17}
        memory.lean("default", leaning(user, seq, weights))
        first = _kept(memory, user)
        assert first == replace(leaning(user, seq, weights), row=first.row)
        memory.lean("default", leaning(user, seq, {"w:coffee": 2.0}))
        second = _kept(memory, user)
        assert second.weights == {"w:coffee": 2.0}
        assert second.row > first.row > 0
        key = person_key("default", user)
        assert memory.leanings("default", [key, key]) == {key: second}
        rows = [lent for lent in memory.lent("default") if lent.key == key]
        assert [lent.row for lent in rows] == [second.row]

    def test_equal_weights_change_nothing(self, memory: Memory) -> None:
        """Learning again from the same choices must not look like news."""
        user, seq = _someone(memory)
        memory.lean("default", leaning(user, seq, {"w:tea": 1.0}))
        before = _kept(memory, user).row
        memory.lean("default", leaning(user, seq, {"w:tea": 1.0}))
        assert _kept(memory, user).row == before
        memory.lean("default", replace(leaning(user, seq, {"w:tea": 1.0}), inferrer="another"))
        assert _kept(memory, user).row > before

    def test_who_reads_on_misses_nothing(self, memory: Memory) -> None:
        """Pages of any size, from any number on, have every lender once, in the order of their numbers."""
        people = [_someone(memory, tenant="pages") for _ in range(7)]
        for user, seq in people:
            memory.lean("pages", leaning(user, seq, {"w:tea": 1.0}))
        read: list[str] = []
        after = 0
        while page := memory.lent("pages", after, limit=3):
            assert len(page) <= 3
            read += [lent.key for lent in page]
            after = page[-1].row
        assert read == [person_key("pages", user) for user, _ in people]
        memory.lean("pages", leaning(*people[2], {"w:coffee": 1.0}))
        assert [lent.key for lent in memory.lent("pages", after)] == [person_key("pages", people[2][0])]
        assert memory.lent("pages", limit=0) == []

    def test_tenants_do_not_see_each_other(self, memory: Memory) -> None:
        """Not even with the key of the other tenant's person."""
        user, seq = _someone(memory, tenant="acme")
        memory.lean("acme", leaning(user, seq, {"w:secret": 1.0}))
        key = person_key("acme", user)
        assert memory.leanings("rival", [key]) == {}
        assert memory.leaning("rival", user) is None
        assert key not in [lent.key for lent in memory.lent("rival")]
        assert list(memory.leanings("acme", [key])) == [key]

    def test_who_does_not_lend_is_not_lent(self, memory: Memory) -> None:
        """At once; their own leaning stays theirs, and lending again makes them news."""
        user, seq = _someone(memory)
        key = person_key("default", user)
        memory.lean("default", leaning(user, seq, {"w:tea": 1.0}))
        assert memory.consent("default", user) == Consent()
        memory.set_consent("default", user, lend=False, borrow=True)
        assert memory.consent("default", user) == Consent(lend=False, borrow=True)
        assert memory.leanings("default", [key]) == {}
        assert key not in [lent.key for lent in memory.lent("default")]
        before = _kept(memory, user).row
        memory.lean("default", leaning(user, seq, {"w:coffee": 1.0}))
        assert memory.leanings("default", [key]) == {}
        memory.set_consent("default", user, lend=True, borrow=False)
        assert memory.consent("default", user) == Consent(lend=True, borrow=False)
        assert memory.leanings("default", [key])[key].weights == {"w:coffee": 1.0}
        assert key in [lent.key for lent in memory.lent("default", before)]

    def test_who_leans_to_nothing_is_not_lent(self, memory: Memory) -> None:
        """Whatever was kept of them before."""
        user, seq = _someone(memory)
        key = person_key("default", user)
        memory.lean("default", leaning(user, seq, {"w:tea": 1.0}))
        memory.lean("default", leaning(user, seq, {}))
        assert _kept(memory, user).weights == {}
        assert memory.leanings("default", [key]) == {}
        assert key not in [lent.key for lent in memory.lent("default")]

    def test_consent_may_come_before_the_first_signal(self, memory: Memory) -> None:
        """Somebody who never wrote anything can refuse."""
        if type(memory).set_consent is Memory.set_consent:
            pytest.skip("this memory keeps no consents")
        user = new_user()
        memory.set_consent("default", user, lend=False, borrow=False)
        assert memory.consent("default", user) == Consent(lend=False, borrow=False)
        assert memory.consent("elsewhere", user) == Consent()
        assert user not in list(memory.users("default"))

    def test_nothing_is_kept_of_the_forgotten(self, memory: Memory) -> None:
        """Who was forgotten while being learnt from stays forgotten, and leaves the list."""
        user, seq = _someone(memory)
        memory.lean("default", leaning(user, seq, {"w:tea": 1.0}))
        memory.forget("default", user)
        memory.lean("default", leaning(user, seq, {"w:tea": 1.0}))
        assert memory.leaning("default", user) is None
        assert memory.leanings("default", [person_key("default", user)]) == {}
        assert person_key("default", user) not in [lent.key for lent in memory.lent("default")]

    @pytest.mark.parametrize("user", ODD_IDS)
    def test_odd_ids_have_keys_of_their_own(self, memory: Memory, user: str) -> None:
        """However ids are spelt, a key finds its person."""
        _, seq = _someone(memory, user)
        memory.lean("default", leaning(user, seq, {"w:tea": 1.0}))
        key = person_key("default", user)
        assert memory.leanings("default", [key])[key].user_id == user

    @searching
    @given(weights=st.dictionaries(texts(30) | st.sampled_from(ODD_TEXTS), st.floats(-9, 9), max_size=5))
    def test_any_weights_survive(self, memory: Memory, weights: dict[str, float]) -> None:
        """Names may hold any text, weights any number."""
        user, seq = _someone(memory)
        memory.lean("default", leaning(user, seq, weights))
        assert _kept(memory, user).weights == weights
        other = self.reopen(memory)
        if other is not None:
            assert _kept(other, user).weights == weights
            other.close()

    def test_threads_leave_one_leaning(self, memory: Memory) -> None:
        """Whoever writes last wins, and there is one."""
        user, seq = _someone(memory)
        in_threads(6, lambda n: memory.lean("default", leaning(user, seq, {f"w:{n}": 1.0})))
        kept = _kept(memory, user)
        key = person_key("default", user)
        assert [lent for lent in memory.lent("default") if lent.key == key] == [(key, kept.row)]
