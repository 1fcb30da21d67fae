"""The calls this process tailored lately: what feedback by call id, and `explain`, refer to."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from persona_sdk.models import Message, Tailored

__all__ = ["RecentCall", "RecentCalls"]


@dataclass(frozen=True, slots=True)
class RecentCall:
    """A tailored call, the messages the app gave (without what tailors added), and the answer once there is one."""

    tailored: Tailored
    asked: tuple[Message, ...]
    answer: str = ""


class RecentCalls:
    """Keeps the latest calls, `most` of them, in this process only. Safe to use from several threads."""

    def __init__(self, most: int = 2048) -> None:
        self._most = most
        self._calls: OrderedDict[str, RecentCall] = OrderedDict()
        self._lock = Lock()

    def add(self, call: RecentCall) -> None:
        """Keep a call."""
        with self._lock:
            self._calls[call.tailored.call_id] = call
            while len(self._calls) > self._most:
                self._calls.popitem(last=False)

    def answered(self, call_id: str, answer: str) -> None:
        """Add the answer of a call that is still kept: one whose person was forgotten meanwhile is not."""
        with self._lock:
            call = self._calls.get(call_id)
            if call is not None:
                self._calls[call_id] = RecentCall(call.tailored, call.asked, answer)

    def get(self, call_id: str) -> RecentCall | None:
        """Return a call, None if it is not kept (any more)."""
        return self._calls.get(call_id)

    def forget(self, tenant: str, user_id: str) -> None:
        """Drop every call of one person."""
        with self._lock:
            for call_id, call in list(self._calls.items()):
                if (call.tailored.call.tenant, call.tailored.call.user_id) == (tenant, user_id):
                    del self._calls[call_id]
