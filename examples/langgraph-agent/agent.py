"""An agent that gets to know whom it talks to: one tool, a checkpointer, and `PersonaMiddleware`.

    python agent.py [USER]

Every line is a message to it. "+" and "-" are thumbs for its last answer, "/why" says why that answer looks the way it
does, "/new" begins another conversation, and the end of the input ends it.

It runs on this machine, with the small model of persona-sdk[local]. With OPENAI_API_KEY it asks OPENAI_MODEL instead,
at OPENAI_BASE_URL if that is set. What it learns is kept where PERSONA_DATABASE_URL says, or in persona.db.
"""

import os
import sys
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from local_tools import LocalTools

from persona_integrations.langchain import CALL_ID, PersonaMiddleware
from persona_sdk import InputError, Personalizer, Settings
from persona_sdk.hooks import PluginHost

DISHES = {
    "today": "Beef stew; lentil curry with rice; cheese omelette with salad.",
    "tomorrow": "Roast chicken; mushroom risotto; tomato soup with bread.",
}


@tool
def menu(day: Literal["today", "tomorrow"]) -> str:
    """Look up what the canteen serves for lunch."""
    return DISHES[day]


@dataclass
class Context:
    """Who talks to the agent. The middleware reads it, and so can tools."""

    user_id: str


def make_model() -> Any:
    """The model that the environment names, or the small one on this machine."""
    if os.environ.get("OPENAI_API_KEY"):
        from langchain_openai import ChatOpenAI  # noqa: PLC0415 - an optional install

        return ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-4.1-mini"))
    return LocalTools(model=PluginHost(Settings.load()).registry.chat_model("local"))


def make_agent(personalizer: Personalizer) -> Any:
    return create_agent(
        make_model(),
        [menu],
        system_prompt="You are the waiter of a canteen. Answer in one or two sentences.",
        middleware=[PersonaMiddleware(personalizer, learn=True)],
        context_schema=Context,
        checkpointer=InMemorySaver(),
    )


def talk(personalizer: Personalizer, user_id: str) -> None:
    agent, thread, last = make_agent(personalizer), uuid.uuid4().hex, ""
    for line in map(str.strip, sys.stdin):
        if line in ("+", "-"):
            try:
                personalizer.rate(user_id, line == "+", response_id=last)
                print("Noted.")
            except InputError:
                print("There is no answer to judge yet.")
        elif line == "/why":
            print(personalizer.explain(last or user_id))
        elif line == "/new":
            thread, last = uuid.uuid4().hex, ""
        elif line:
            state = agent.invoke(
                {"messages": [{"role": "user", "content": line}]},
                {"configurable": {"thread_id": thread}},
                context=Context(user_id),
            )
            used = [m.name for m in state["messages"] if isinstance(m, ToolMessage)]
            answer = state["messages"][-1]
            last = answer.response_metadata[CALL_ID]
            print(f"> {line}\n{answer.text}{f'  [asked: {used[-1]}]' if used else ''}")
            personalizer.flush(30)  # so that the next answer is given by what was just said; a web app need not wait


if __name__ == "__main__":
    with Personalizer() as personalizer:
        talk(personalizer, sys.argv[1] if len(sys.argv) > 1 else "me")
