"""The part of the memory contract that is about what models answered. A memory may keep none; then it is skipped."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import pytest

from persona_sdk.memory import Forgotten, Memory
from persona_sdk.testing.memory_strategies import ODD_TEXTS, fill, in_threads, new_user, said

__all__ = ["AnswersContract"]


def _known(memory: Memory, tenant: str = "default") -> str:
    """Return somebody new who has a signal."""
    if type(memory).keep_answers is Memory.keep_answers:
        pytest.skip("this memory keeps no answers")
    user = new_user()
    memory.append([said("x", user, tenant=tenant)])
    return user


class AnswersContract:
    """What was answered is kept once, exactly, for its person only, and forgotten with them."""

    def reopen(self, memory: Memory) -> Memory | None:
        """Return another handle on the same store, None if there can be none. Override it."""
        return None

    def test_answers_are_recalled_by_digest(self, memory: Memory) -> None:
        """Known ones only, in one call as in several."""
        user = _known(memory)
        assert memory.recalled("default", user, ["a"]) == {}
        memory.keep_answers("default", user, {"a": "one", "b": "two"})
        memory.keep_answers("default", user, {})
        assert memory.recalled("default", user, ["b", "c", "a"]) == {"a": "one", "b": "two"}
        assert memory.recalled("default", user, []) == {}

    def test_a_known_digest_keeps_its_answer(self, memory: Memory) -> None:
        """Later answers to the same question change nothing, new ones beside them are kept."""
        user = _known(memory)
        memory.keep_answers("default", user, {"a": "first"})
        memory.keep_answers("default", user, {"a": "second", "b": "new"})
        assert memory.recalled("default", user, ["a", "b"]) == {"a": "first", "b": "new"}

    def test_answers_belong_to_one_person_of_one_tenant(self, memory: Memory) -> None:
        """The same digest of somebody else, or of the same name in another tenant, is another answer."""
        user = _known(memory)
        other = _known(memory)
        memory.append([said("x", user, tenant="elsewhere")])
        memory.keep_answers("default", user, {"a": "mine"})
        assert memory.recalled("default", other, ["a"]) == memory.recalled("elsewhere", user, ["a"]) == {}
        memory.keep_answers("elsewhere", user, {"a": "elsewhere"})
        memory.keep_answers("default", other, {"a": "theirs"})
        memory.forget("elsewhere", user)
        assert memory.recalled("elsewhere", user, ["a"]) == {}
        assert memory.recalled("default", user, ["a"]) == {"a": "mine"}
        assert memory.recalled("default", other, ["a"]) == {"a": "theirs"}

    @pytest.mark.parametrize("text", [*ODD_TEXTS, "", "\ud800", "\u00fcber\x00 " * 50_000])
    def test_odd_answers_survive_exactly(self, memory: Memory, text: str) -> None:
        """Whatever a model says comes back as it was, under whatever digest."""
        user = _known(memory)
        memory.keep_answers("default", user, {text: text, "a": text})
        assert memory.recalled("default", user, [text, "a"]) == {text: text, "a": text}

    def test_thousands_of_answers_at_once(self, memory: Memory) -> None:
        """Neither writing nor reading many has a limit."""
        user = _known(memory)
        answers = {f"digest {n}": f"answer {n}" for n in range(3000)}
        memory.keep_answers("default", user, answers)
        assert memory.recalled("default", user, [*answers, "unknown"]) == answers

    def test_forgetting_takes_the_answers_along(self, memory: Memory) -> None:
        """Somebody who comes back after it is asked about anew."""
        user = _known(memory)
        fill(memory, "default", user, "gone")
        memory.keep_answers("default", user, {"a": "gone"})
        assert memory.forget("default", user) == Forgotten(signals=2, versions=2)
        assert memory.recalled("default", user, ["a"]) == {}
        memory.append([said("back", user)])
        assert memory.recalled("default", user, ["a"]) == {}
        memory.keep_answers("default", user, {"a": "new"})
        assert memory.recalled("default", user, ["a"]) == {"a": "new"}

    def test_nothing_is_kept_of_somebody_without_signals(self, memory: Memory) -> None:
        """Neither of somebody forgotten while a model was asked, nor of somebody unknown; and nothing is raised."""
        user, ruled = _known(memory), new_user()
        memory.forget("default", user)
        memory.rule("default", ruled, "style:length/against", "rejected")
        for nobody in (user, ruled, new_user()):
            memory.keep_answers("default", nobody, {"a": "gone"})
            assert memory.recalled("default", nobody, ["a"]) == {}
            memory.append([said("back", nobody)])
            assert memory.recalled("default", nobody, ["a"]) == {}

    def test_racing_writers_keep_one_answer(self, memory: Memory) -> None:
        """Threads, over several handles if there can be several: all see the same answer, which one of them gave."""
        user = _known(memory)
        handles = [memory, *(other for other in [self.reopen(memory)] if other is not None)]
        digests = [f"digest {n}" for n in range(20)]

        def work(number: int) -> dict[str, str]:
            mine = handles[number % len(handles)]
            for digest in digests if number % 2 else reversed(digests):
                mine.keep_answers("default", user, {digest: str(number), f"{digest} of {number}": "own"})
            return mine.recalled("default", user, digests)

        try:
            seen = in_threads(6, work)
            assert all(one == seen[0] for one in seen)
            assert set(memory.recalled("default", user, digests)) == set(digests)
            assert len(memory.recalled("default", user, [f"{d} of {n}" for d in digests for n in range(6)])) == 120
        finally:
            for other in handles[1:]:
                other.close()
