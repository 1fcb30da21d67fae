"""The contract of `persona_sdk.memory.Memory`, as tests.

A plugin author puts this into their own tests and runs pytest:

    import pytest
    from persona_sdk.testing import MemoryContract
    from my_plugin import MyMemory

    class TestMyMemory(MemoryContract):
        @pytest.fixture
        def memory(self, tmp_path):
            memory = MyMemory(tmp_path / "store")
            yield memory
            memory.close()

        def reopen(self, memory):          # another handle on the same store; leave it out if there can be none
            return MyMemory(memory.path)
"""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import pytest

from persona_sdk.memory import Memory
from persona_sdk.testing.memory_strategies import (
    NOTHING,
    all_that_is_known,
    fill,
    in_threads,
    new_user,
    persona,
    said,
    texts_of,
)

# Before they are imported, so that pytest explains their asserts when they fail.
pytest.register_assert_rewrite(
    "persona_sdk.testing.memory_contract_answers",
    "persona_sdk.testing.memory_contract_calls",
    "persona_sdk.testing.memory_contract_leanings",
    "persona_sdk.testing.memory_contract_log",
    "persona_sdk.testing.memory_contract_versions",
)

from persona_sdk.testing.memory_contract_answers import AnswersContract  # noqa: E402
from persona_sdk.testing.memory_contract_calls import CallsContract  # noqa: E402
from persona_sdk.testing.memory_contract_leanings import LeaningsContract  # noqa: E402
from persona_sdk.testing.memory_contract_log import PeopleContract, SignalsContract  # noqa: E402
from persona_sdk.testing.memory_contract_versions import ForgettingContract, VersionsContract  # noqa: E402

__all__ = ["MemoryContract"]


class SharingContract:
    """Several threads, and several handles on one store."""

    def reopen(self, memory: Memory) -> Memory | None:
        """Return another handle on the same store, None if there can be none. Override it."""
        return None

    def _other(self, memory: Memory) -> Memory:
        other = self.reopen(memory)
        if other is None:
            pytest.skip("this memory cannot be opened twice")
        return other

    def test_threads_append_without_loss(self, memory: Memory) -> None:
        """Everything acknowledged to any thread is there, each thread's own signals in its order."""
        user = new_user()

        def work(number: int) -> list[bool]:
            return [memory.append([said(f"{number}:{n}", user)])[0] for n in range(10)]

        assert in_threads(6, work) == [[True] * 10] * 6
        stored = texts_of(memory, user)
        for number in range(6):
            assert [t for t in stored if t.startswith(f"{number}:")] == [f"{number}:{n}" for n in range(10)]

    def test_threads_racing_with_one_id_store_it_once(self, memory: Memory) -> None:
        """Exactly one of those who append the same ids at once is told that they are new."""
        user = new_user()
        batch = [said(f"text {n}", user, id=f"id {n}") for n in range(5)]
        answers = in_threads(6, lambda _: memory.append(batch))
        for place in range(5):
            assert sum(answer[place] for answer in answers) == 1  # type: ignore[index]
        assert sorted(texts_of(memory, user)) == [f"text {n}" for n in range(5)]

    def test_batches_in_opposite_order_do_not_block_each_other(self, memory: Memory) -> None:
        """Two batches over the same people never wait for each other for ever."""
        people = [new_user() for _ in range(8)]

        def work(number: int) -> None:
            for _ in range(5):
                memory.append([said("x", user) for user in (people if number % 2 else people[::-1])])

        in_threads(4, work)
        assert all(len(memory.signals("default", user)) == 20 for user in people)

    def test_threads_remember_different_versions(self, memory: Memory) -> None:
        """No two versions get one number."""
        user = new_user()
        given = in_threads(6, lambda n: memory.remember(persona(user, summary=str(n)), None).version)
        assert sorted(given) == [1, 2, 3, 4, 5, 6]  # type: ignore[type-var]
        assert [p.version for p in memory.versions("default", user)] == [1, 2, 3, 4, 5, 6]

    def test_reading_while_others_write(self, memory: Memory) -> None:
        """A reader sees a whole version at any moment: its summary and trait belong together."""
        user = new_user()
        memory.remember(persona(user, summary="0"), None)

        def work(number: int) -> None:
            for n in range(15):
                if number == 0:
                    memory.remember(persona(user, summary=str(n)), {"n": n})
                    continue
                seen = memory.current("default", user)
                assert seen is not None
                assert seen.traits[0].statement.endswith(seen.summary)

        in_threads(4, work)

    def test_another_handle_sees_what_was_written(self, memory: Memory) -> None:
        """Versions, notes, pins and forgetting show in other handles at once, cached or not."""
        other, user = self._other(memory), new_user()
        try:
            memory.append([said("x", user)])
            memory.remember(persona(user, summary="one"), {"n": 1})
            seen = other.current("default", user)
            assert seen is not None
            assert seen.summary == "one"
            memory.mark_learnt("default", user, 1, "noted")
            memory.set_current("default", user, 1, pinned=True)
            seen = other.current("default", user)
            assert seen is not None
            assert (seen.note, seen.pinned) == ("noted", True)
            other.forget("default", user)
            assert all_that_is_known(memory, "default", user) == NOTHING
        finally:
            other.close()

    def test_what_was_acknowledged_survives_closing(self, memory: Memory) -> None:
        """A new handle finds everything; closing twice is harmless."""
        user = new_user()
        fill(memory, "default", user, "kept")
        before = all_that_is_known(memory, "default", user)
        other = self._other(memory)
        memory.close()
        memory.close()
        try:
            assert all_that_is_known(other, "default", user) == before
        finally:
            other.close()

    def test_closing_twice_is_harmless(self, memory: Memory) -> None:
        """Even without ever having been used."""
        memory.close()
        memory.close()


class MemoryContract(
    SignalsContract,
    PeopleContract,
    VersionsContract,
    ForgettingContract,
    SharingContract,
    AnswersContract,
    CallsContract,
    LeaningsContract,
):
    """Every clause of `Memory`, as a test. Override `memory` with a fixture that gives an empty store."""

    @pytest.fixture
    def memory(self) -> Memory:
        """Give an empty memory. Override it."""
        raise NotImplementedError("override the fixture `memory` so that it gives an empty store")
