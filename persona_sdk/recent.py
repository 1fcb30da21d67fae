"""The calls this process tailored lately: what feedback by call id, and `explain`, refer to."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock

from persona_sdk.calls import AnsweredCall
from persona_sdk.models import Message, Tailored

__all__ = ["RecentCall", "RecentCalls"]


@dataclass(frozen=True, slots=True)
class RecentCall:
    """A tailored call, the messages the app gave (without what tailors added), and its record once it is answered.

    `in_memory` says that the record was given to memory, which then knows better what became of it.
    """

    tailored: Tailored
    asked: tuple[Message, ...]
    answered: AnsweredCall | None = None
    in_memory: bool = False


class RecentCalls:
    """Keeps the latest calls, `most` of them, in this process only. Safe to use from several threads."""

    def __init__(self, most: int = 2048) -> None:
        self._most = most
        self._calls: OrderedDict[tuple[str, str], RecentCall] = OrderedDict()
        self._lock = Lock()

    def add(self, call: RecentCall) -> None:
        """Keep a call."""
        with self._lock:
            self._put(call, call.tailored.call_id)

    def answered(self, call: AnsweredCall, *, in_memory: bool = False) -> bool:
        """Add the record of a call that was answered, under the id the app knows it by, too.

        One that is not kept (any more), such as a call of somebody who was forgotten meanwhile, is not added, and False
        is returned.
        """
        with self._lock:
            known = self._calls.get((call.tenant, call.call_id))
            if known is None:
                return False
            for key in dict.fromkeys((call.call_id, call.response_id)):
                self._put(replace(known, answered=call, in_memory=in_memory), key)
            return True

    def _put(self, call: RecentCall, key: str) -> None:
        self._calls[call.tailored.call.tenant, key] = call
        while len(self._calls) > self._most:
            self._calls.popitem(last=False)

    def get(self, tenant: str, key: str) -> RecentCall | None:
        """Return a call of a tenant by its call id or response id, None if it is not kept (any more)."""
        return self._calls.get((tenant, key))

    def forget(self, tenant: str, user_id: str) -> None:
        """Drop every call of one person."""
        with self._lock:
            for key, call in list(self._calls.items()):
                if (call.tailored.call.tenant, call.tailored.call.user_id) == (tenant, user_id):
                    del self._calls[key]
