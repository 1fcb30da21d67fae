"""Everything one gateway holds, from start to end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Request

from persona_integrations.server.database import Database
from persona_integrations.server.keys import KeyStore
from persona_integrations.server.learning import Learning
from persona_integrations.server.leases import Leases
from persona_integrations.server.metrics import Metrics
from persona_integrations.server.ownership import Ownership
from persona_integrations.server.personal import Personal
from persona_integrations.server.recorder import Recorder
from persona_integrations.server.relay import Call
from persona_integrations.server.settings import GatewaySettings
from persona_integrations.server.tracing import begin_exporting
from persona_integrations.server.upstream import Upstream
from persona_sdk.engine import Personalizer
from persona_sdk.errors import NotFoundError, SettingsError

#: Seconds for which an answer that is not known is waited for: what was just given is being written.
_PAUSES = (0.0, 0.1, 0.3, 0.6)

__all__ = ["Gateway", "gateway_of"]

T = TypeVar("T")


@dataclass
class Gateway:
    """The parts of a gateway. `own` says that the personalizer is to be closed with it."""

    settings: GatewaySettings
    personalizer: Personalizer
    own: bool

    def __post_init__(self) -> None:
        if self.personalizer.settings.calls != "memory":
            raise SettingsError('a gateway needs a Personalizer(calls="memory"): feedback may come to another worker')
        self.metrics = Metrics()
        self.database = Database(self.personalizer.settings.database_url)
        self.keys = KeyStore(self.database)
        #: For what requests wait for. Not the event loop's own threads: what is slow there would keep keys waiting.
        self.lookups = ThreadPoolExecutor(8, thread_name_prefix="persona-lookup")
        self.ownership = Ownership(self.database, self.lookups)
        self.upstream = Upstream(self.settings)
        self.recorder = Recorder(self.settings.queue, self.metrics)
        self.personal = Personal(self.personalizer, self.settings, self.recorder, self.metrics)
        self.call = Call(self.upstream, self.personal, self.ownership, self.metrics)
        self._learning: Learning | None = None

    async def start(self) -> None:
        """Begin to record and to learn."""
        begin_exporting()
        self.recorder.start()
        if self.settings.learning != "off" and self.personalizer.settings.learning == "manual":
            self._learning = Learning(
                self.personalizer,
                Leases(self.database),
                self.metrics.learnt.inc,
                interval=self.settings.learning_interval,
                apart=self.settings.learning == "process",
            )
            self._learning.start()

    async def recorded(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns, about an answer that may still be on its way to memory.

        Raises:
            NotFoundError: there is no such answer there either.
            StorageBusyError: memory does not take it in; it may be there later.
        """
        for pause in _PAUSES:
            try:
                return await work()
            except NotFoundError:
                await self.recorder.catch_up()
                await asyncio.sleep(pause)  # another worker may be writing it
        return await work()

    async def close(self) -> None:
        """Write what is to be written, and release everything."""
        await self.recorder.close()
        await self.upstream.close()
        if self._learning is not None:
            self._learning.close()
        self.personal.close()
        self.lookups.shutdown(wait=False, cancel_futures=True)
        self.database.close()
        if self.own:
            self.personalizer.close()


async def gateway_of(request: Request) -> Gateway:  # async: else it would be run in a thread
    """Return the gateway that a request came to."""
    gateway: Gateway = request.app.state.gateway
    return gateway
