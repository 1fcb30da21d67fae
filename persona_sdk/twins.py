"""Async twins of synchronous methods: the same body in a thread, so that the two cannot drift apart."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

__all__ = ["in_thread"]

P = ParamSpec("P")
T = TypeVar("T")
Host = TypeVar("Host")


def in_thread(method: Callable[Concatenate[Host, P], T]) -> Callable[Concatenate[Host, P], Coroutine[Any, Any, T]]:
    """Make the async twin of a method: the same decisions, in a thread."""

    async def twin(self: Host, /, *args: P.args, **kwargs: P.kwargs) -> T:
        import asyncio  # noqa: PLC0415 - whoever awaits has it already; others need not pay for it

        return await asyncio.to_thread(method, self, *args, **kwargs)

    functools.update_wrapper(twin, method)
    return twin
