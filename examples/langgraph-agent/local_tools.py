"""Calling tools with a model that was not made for it: it fills in a form that says which tool, and with what."""

import uuid
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_function
from pydantic import Field


class LocalTools(BaseChatModel):
    """The local model, with tools: a stand-in for models that call tools by themselves, and nothing more.

    A model of 135M parameters fills in any form, so it calls a tool for every message of the person, and none else.
    """

    model: Any
    tools: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "local-tools"

    def bind_tools(self, tools: Any, **kwargs: Any) -> "LocalTools":
        return self.model_copy(update={"tools": [convert_to_openai_function(t) for t in tools]})

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **more: Any
    ) -> ChatResult:
        if self.tools and isinstance(messages[-1], HumanMessage):
            answer = AIMessage("", tool_calls=[self._call(messages)])
        else:
            answer = self.model.invoke(_plain(messages), stop=stop, max_tokens=60)
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def _call(self, messages: list[BaseMessage]) -> dict[str, Any]:
        forms = [
            {
                "type": "object",
                "properties": {"tool": {"const": tool["name"]}, "arguments": tool["parameters"]},
                "required": ["tool", "arguments"],
            }
            for tool in self.tools
        ]
        filled = self.model.with_structured_output({"anyOf": forms}).invoke(messages)
        return {"name": filled["tool"], "args": filled["arguments"], "id": uuid.uuid4().hex}


def _plain(messages: list[BaseMessage]) -> list[BaseMessage]:
    """The conversation without calls of tools; the latest results stand in front of the question they are about."""
    asked = max((i for i, m in enumerate(messages) if isinstance(m, HumanMessage)), default=0)
    results = [m.text for m in messages[asked:] if isinstance(m, ToolMessage)]
    spoken = [m for m in messages[:asked] if m.text and not isinstance(m, ToolMessage)]
    return [*spoken, HumanMessage("\n\n".join([*results, messages[asked].text]))]
