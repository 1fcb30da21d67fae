"""Agents over a server on loopback, ways of running them, and all that a checkpointer has kept."""

import asyncio
from dataclasses import dataclass
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from persona_integrations.langchain import PersonaMiddleware
from tests.support.chatting import make_personalizer


class Weather(BaseModel):
    """The weather somewhere."""

    place: str
    degrees: int


@tool
def look(place: str) -> str:
    """Look out of the window."""
    return f"sunny: {place}"


class Demanding(AgentMiddleware):
    """Demands that the model calls a tool, as long as there is no result of one: the server does then."""

    def wrap_model_call(self, request, handler):
        return handler(request.override(tool_choice="any"))

    async def awrap_model_call(self, request, handler):
        return await handler(request.override(tool_choice="any"))


@dataclass
class Context:
    """What an app tells an agent about a run."""

    user_id: str | None = None


class World:
    """A server, a model that asks it, a personalizer that knows Ada and Bob, and agents of these."""

    def __init__(self, server, *tailors):
        self.server = server
        self.personalizer, self.plugin = make_personalizer(*tailors)
        options = {"max_retries": 0, "stream_usage": True, "timeout": 30}
        self.model = ChatOpenAI(model="some-model", base_url=server.url, api_key="none", **options)

    def middleware(self, **options):
        return PersonaMiddleware(self.personalizer, **options)

    def agent(self, *tools, middleware=None, demanding=None, model=None, **options):
        """An agent with our middleware, unless others are given; with tools it calls one first."""
        wanted = bool(tools) if demanding is None else demanding
        others = [self.middleware()] if middleware is None else middleware
        options.setdefault("system_prompt", "Be kind.")
        chain = [*([Demanding()] if wanted else []), *others]
        return create_agent(model or self.model, list(tools), middleware=chain, **options)

    @property
    def said(self):
        """The texts recorded, by person."""
        people = {user: self.personalizer.signals(user) for user in self.personalizer.users()}
        return {user: [s.text for s in signals] for user, signals in people.items()}


def ask(text="why?"):
    return {"messages": [{"role": "user", "content": text}]}


def config(user_id=None, thread=None, **more):
    named = {"user_id": user_id, "thread_id": thread}
    return {"configurable": {k: v for k, v in named.items() if v is not None}, **more}


async def _last(stream):
    return [state async for state in stream][-1]


#: Every way of running an agent to its end; each gives the state then.
WAYS = {
    "invoke": lambda agent, *a, **k: agent.invoke(*a, **k),
    "ainvoke": lambda agent, *a, **k: asyncio.run(agent.ainvoke(*a, **k)),
    "stream": lambda agent, *a, **k: list(agent.stream(*a, stream_mode="values", **k))[-1],
    "astream": lambda agent, *a, **k: asyncio.run(_last(agent.astream(*a, stream_mode="values", **k))),
}


def streamed(agent, given, run_config, *, use_async=False, **options):
    """The messages that are streamed, with their metadata."""

    async def collect():
        return [one async for one in agent.astream(given, run_config, stream_mode="messages", **options)]

    if use_async:
        return asyncio.run(collect())
    return list(agent.stream(given, run_config, stream_mode="messages", **options))


def answers(state):
    return [m for m in state["messages"] if isinstance(m, AIMessage)]


class Saver(InMemorySaver):
    """A checkpointer that also keeps everything it was ever given to write, as it was given."""

    def __init__(self):
        super().__init__()
        self.given: list[Any] = []

    def put(self, run_config, checkpoint, metadata, new_versions):
        self.given.append(repr((checkpoint, metadata)))
        return super().put(run_config, checkpoint, metadata, new_versions)

    def put_writes(self, run_config, writes, task_id, task_path=""):
        self.given.append(repr(writes))
        return super().put_writes(run_config, writes, task_id, task_path)

    def holds(self, text):
        kept = repr((dict(self.storage), dict(self.blobs), dict(self.writes)))
        return text in kept or any(text in given for given in self.given)
