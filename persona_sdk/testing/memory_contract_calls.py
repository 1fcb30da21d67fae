"""The part of the memory contract that is about answered calls. A memory may keep none; then it is skipped."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import pytest

from persona_sdk.calls import AnsweredCall
from persona_sdk.memory import Memory
from persona_sdk.models import Message
from persona_sdk.testing.memory_strategies import ODD_TEXTS, answered_call, new_user, said

__all__ = ["CallsContract"]


def _known(memory: Memory, tenant: str = "default") -> str:
    """Return somebody new who has a signal."""
    if type(memory).keep_call is Memory.keep_call:
        pytest.skip("this memory keeps no calls")
    user = new_user()
    memory.append([said("x", user, tenant=tenant)])
    return user


def _related(memory: Memory, call: AnsweredCall, **changes: str) -> list[AnsweredCall]:
    who = {"tenant": call.tenant, "user_id": call.user_id} | changes
    return memory.related_calls(who["tenant"], who["user_id"], [call.conversation], [])


class CallsContract:
    """An answered call is found by its ids in its tenant, by what was asked for its person, and forgotten with them."""

    def test_calls_are_found_by_either_id(self, memory: Memory) -> None:
        """And come back whole."""
        call = answered_call(_known(memory), "why?", silent={"style:length": "nothing to say"}, gate="open")
        assert memory.keep_call(call)
        assert memory.kept_call("default", call.response_id) == memory.kept_call("default", call.call_id) == call
        assert memory.kept_call("default", "unknown") is None

    def test_the_latest_call_of_a_response_id_counts(self, memory: Memory) -> None:
        """Servers may start their ids anew."""
        user = _known(memory)
        first, second = (answered_call(user, text, response_id=f"{user} 1") for text in ("one", "two"))
        memory.keep_call(first)
        memory.keep_call(second)
        assert memory.kept_call("default", f"{user} 1") == second
        assert _related(memory, first) == []

    def test_calls_belong_to_one_tenant(self, memory: Memory) -> None:
        """An id of another tenant is unknown, of the same person's name too."""
        user = _known(memory)
        memory.append([said("x", user, tenant="elsewhere")])
        call = answered_call(user, "why?")
        memory.keep_call(call)
        assert memory.kept_call("elsewhere", call.response_id) is memory.kept_call("elsewhere", call.call_id) is None
        assert _related(memory, call) == [call]
        assert _related(memory, call, tenant="elsewhere") == _related(memory, call, user_id=_known(memory)) == []

    def test_related_calls_are_the_newest_first(self, memory: Memory) -> None:
        """Of one conversation, or after the same one; at most as many as are wanted."""
        user = _known(memory)
        begun = (Message(role="user", content="Hello"), Message(role="assistant", content="Hi"))
        asked = [(*begun, Message(role="user", content=text)) for text in ("one", "two", "one")]
        calls = [answered_call(user, str(n), asked=messages) for n, messages in enumerate(asked)]
        other = answered_call(user, "three")
        for call in (*calls, other):
            memory.keep_call(call)
        one, before = calls[0].conversation, calls[0].before
        assert memory.related_calls("default", user, [one], []) == [calls[2], calls[0]]
        assert memory.related_calls("default", user, [], [before]) == calls[::-1]
        assert memory.related_calls("default", user, [other.conversation], [before], limit=2) == [other, calls[2]]
        assert memory.related_calls("default", user, [], []) == []

    @pytest.mark.parametrize("text", ODD_TEXTS)
    def test_odd_texts_survive_exactly(self, memory: Memory, text: str) -> None:
        """Question and answer come back as they were."""
        call = answered_call(_known(memory), text)
        memory.keep_call(call)
        assert memory.kept_call("default", call.response_id) == call
        assert _related(memory, call) == [call]

    def test_forgetting_takes_the_calls_along(self, memory: Memory) -> None:
        """And one that is answered only then is not kept."""
        user = _known(memory)
        call, late = answered_call(user, "gone"), answered_call(user, "late")
        memory.keep_call(call)
        memory.forget("default", user)
        assert not memory.keep_call(late)
        memory.append([said("back", user)])
        assert memory.kept_call("default", call.response_id) is memory.kept_call("default", late.call_id) is None
        assert _related(memory, call) == _related(memory, late) == []
