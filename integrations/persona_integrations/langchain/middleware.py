"""`PersonaMiddleware`: tailors what an agent sends to its model. It decides nothing itself (see `turn`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from persona_sdk.errors import MissingExtraError

try:
    from langchain.agents.middleware import AgentMiddleware
except ModuleNotFoundError as error:
    raise MissingExtraError(
        "PersonaMiddleware needs LangChain 1.2.10 or newer: pip install 'persona-sdk[langchain]'"
    ) from error

from langchain_core.runnables.config import ContextThreadPoolExecutor

from persona_integrations.langchain.hearing import ahear, hear, latest
from persona_integrations.langchain.turn import Asked, Response, Turn, person, read, thread
from persona_sdk.chat.telling import atell, tell
from persona_sdk.engine import Personalizer

__all__ = ["PersonaMiddleware"]


class PersonaMiddleware(AgentMiddleware[Any, Any, Any]):
    """Has an agent of `langchain.agents.create_agent` answer each person in their way.

    The person is `user_id` of the runtime's context (an attribute or a key), else `configurable.user_id` of the
    config, else the one given here. Where nobody is named the call goes through as it came.

    Only what is sent to the model is tailored: system message, messages and model settings. The agent's state is left
    alone, so no checkpoint holds a word about the person. Every answer has the call id in
    `response_metadata["persona_call_id"]`, also where it calls tools; give it as `response_id` with feedback. Streams
    of messages and traces have it in the metadata of the model's run.

    Where best-of-n is on and an answer is text, n−1 more are asked for, side by side, and the best one is given; a
    stream of messages then has that answer as one message. Those that fail are left out. An answer that calls a tool,
    and any answer where the agent has a response format, is asked for once.

    With `learn`, what the person says is recorded, each message once by its id, whatever is replayed. Let only the
    agent that a person talks to learn: to one that another agent calls, that agent's words look like theirs. Nothing
    that goes wrong there stops a chat; it is logged.

    Put it last in the agent's list of middleware, next to the model, so that n answers run nobody else's hooks n times.

    Raises, when the model is called:
        InputError: the user id is unusable.
        PluginError: a tailor that is `required` failed, or one put in a message that LangChain cannot express.
        Exception: whatever the model raised, unchanged.
    """

    def __init__(self, personalizer: Personalizer, *, user_id: str | None = None, learn: bool = False) -> None:
        super().__init__()
        self._personalizer = personalizer
        self._user_id = user_id
        self._learn = learn

    def wrap_model_call(self, request: Asked, handler: Callable[[Asked], Response]) -> Response:
        """Tailor one call of the agent's model; LangChain calls this."""
        user_id = person(request, self._user_id)
        if user_id is None:
            return handler(request)
        if new := latest(request.state["messages"]) if self._learn else []:
            hear(self._personalizer, user_id, new, thread())
        call = read(request, user_id)
        turn = Turn.of(request, call, self._personalizer.tailor(user_id, call.messages))
        with turn.running():
            first = handler(turn.asked)
            others = _in_threads(handler, turn.asked, turn.more(first))
        usable = turn.usable(first, others)
        best = self._personalizer.choose(turn.plan.tailored, turn.texts(usable)) if len(usable) > 1 else 0
        tell(self._personalizer, turn.plan.tailored, turn.text(usable[best]))
        return turn.stamped(usable[best])

    async def awrap_model_call(self, request: Asked, handler: Callable[[Asked], Awaitable[Response]]) -> Response:
        """Tailor one call of the agent's model; see `wrap_model_call`."""
        user_id = person(request, self._user_id)
        if user_id is None:
            return await handler(request)
        if new := latest(request.state["messages"]) if self._learn else []:
            await ahear(self._personalizer, user_id, new, thread())
        call = read(request, user_id)
        turn = Turn.of(request, call, await self._personalizer.atailor(user_id, call.messages))
        with turn.running():
            first = await handler(turn.asked)
            more = (handler(turn.asked) for _ in range(turn.more(first)))
            others = await asyncio.gather(*more, return_exceptions=True)
        usable = turn.usable(first, others)
        best = await self._personalizer.achoose(turn.plan.tailored, turn.texts(usable)) if len(usable) > 1 else 0
        await atell(self._personalizer, turn.plan.tailored, turn.text(usable[best]))
        return turn.stamped(usable[best])


def _in_threads(handler: Callable[[Asked], Response], asked: Asked, times: int) -> list[Response | BaseException]:
    """Return what `handler` makes of `times` calls at once, or what each raised."""
    if not times:
        return []
    with ContextThreadPoolExecutor(max_workers=times) as pool:
        futures = [pool.submit(handler, asked) for _ in range(times)]
        return [future.exception() or future.result() for future in futures]
