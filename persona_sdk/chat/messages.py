"""LangChain's messages to ours and back, such that what tailoring left alone comes back as the very same object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolCall,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.messages.tool import default_tool_parser
from langchain_core.prompt_values import PromptValue

from persona_sdk.aligning import align
from persona_sdk.errors import InputError, PluginTypeError
from persona_sdk.models import Message

__all__ = ["as_chunk", "content_text", "from_langchain", "read_input", "text_of", "to_langchain", "valid_text"]

_ROLES: tuple[tuple[type[BaseMessage], str], ...] = (
    (HumanMessage, "user"),
    (AIMessage, "assistant"),
    (SystemMessage, "system"),  # also OpenAI's "developer": LangChain notes which of the two beside the message
    (ToolMessage, "tool"),
    (FunctionMessage, "function"),
)
_KNOWN_ROLES = frozenset({"developer", *(role for _, role in _ROLES)})


def read_input(given: Any) -> Sequence[BaseMessage]:
    """Return what a chat model would make of its input; messages that are LangChain's already stay the same objects.

    Raises:
        InputError: it is no text, no prompt and no sequence of messages.
        ValueError, NotImplementedError: LangChain cannot read a message, and says so itself.
    """
    if isinstance(given, str):
        return [HumanMessage(content=given)]
    if isinstance(given, PromptValue):
        return given.to_messages()
    if isinstance(given, Sequence) and not isinstance(given, bytes | bytearray):
        return convert_to_messages(given)
    raise InputError(f"a chat is text, messages or a prompt, not {type(given).__name__}; wrap the model, not its chain")


def content_text(content: Any, number: int, reader: str) -> str:
    """Return the text of an OpenAI-shaped content, for models that read nothing else.

    Raises:
        InputError: message `number` has a part that is no text, which `reader` ("local models", say) cannot read.
    """
    if content is None or isinstance(content, str):
        return valid_text(content or "")
    for part in content:
        if part.get("type") != "text":
            raise InputError(f"message {number}: has a part that is no text; {reader} read text", field="messages")
    return valid_text("".join(str(part.get("text", "")) for part in content))


def valid_text(text: str) -> str:
    """Return text that is valid UTF-8: half a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def from_langchain(message: BaseMessage) -> Message:
    """Return our message for LangChain's, OpenAI-shaped."""
    role = next((role for kind, role in _ROLES if isinstance(message, kind)), message.type)
    extras: dict[str, Any] = {}
    if message.name is not None:
        extras["name"] = message.name
    if isinstance(message, ChatMessage):
        role = message.role
    elif isinstance(message, ToolMessage):
        extras["tool_call_id"] = message.tool_call_id
    elif isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls):
        readable = [(c["id"], c["name"], json.dumps(c["args"], default=str)) for c in message.tool_calls]
        others = [(c["id"], c["name"], c["args"]) for c in message.invalid_tool_calls]
        extras["tool_calls"] = [
            {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments or ""}}
            for id_, name, arguments in [*readable, *others]
        ]
    return Message(role=role, content=message.content, **extras)


def to_langchain(
    sent: Sequence[Message], given: Sequence[Message], originals: Sequence[BaseMessage]
) -> list[BaseMessage]:
    """Return LangChain's messages for `sent`, which tailors made of `given`, which came from `originals`.

    What was left alone is its original; what was changed is its original with that change. The others are new.
    """
    return [
        _new(m) if i is None else originals[i] if same else _changed(originals[i], given[i], m)
        for m, (i, same) in zip(sent, align(sent, given), strict=True)
    ]


def _changed(original: BaseMessage, before: Message, after: Message) -> BaseMessage:
    """Return a copy of a message with what a tailor changed in it; id, metadata and the like stay."""
    update: dict[str, Any] = {}
    if after.content != before.content:
        update["content"] = _content(before, after)
    old, new = before.model_extra or {}, after.model_extra or {}
    raw = dict(original.additional_kwargs)
    for key in {k for k in {*old, *new} if old.get(k) != new.get(k)}:
        if key == "tool_calls" and isinstance(original, AIMessage):
            update["tool_calls"], update["invalid_tool_calls"] = _tool_calls(new.get(key) or [])
            raw = {k: v for k, v in raw.items() if k not in ("tool_calls", "function_call")}  # the same, as they came
        elif key in type(original).model_fields:
            update[key] = new.get(key)
        else:
            raw[key] = new.get(key)
    return original.model_copy(update={**update, "additional_kwargs": raw})


def _tool_calls(raw: list[Any]) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    try:
        return default_tool_parser(raw)
    except (ValueError, TypeError, LookupError) as error:
        raise PluginTypeError(
            f"a tailor wrote tool calls that are not OpenAI-shaped ({type(error).__name__})"
        ) from error


def _content(before: Message, after: Message) -> str | list[Any]:
    """Return the changed content: text put before or behind content parts becomes one more part."""
    new = "" if after.content is None else after.content
    text = before.text
    if isinstance(before.content, list) and isinstance(new, str) and text:
        if new.startswith(text):
            return [*before.content, {"type": "text", "text": new[len(text) :]}]
        if new.endswith(text):
            return [{"type": "text", "text": new[: -len(text)]}, *before.content]
    return new


def _new(message: Message) -> BaseMessage:
    """Return LangChain's message for one that a tailor put in."""
    content = "" if message.content is None else message.content
    if message.role not in _KNOWN_ROLES:
        return ChatMessage(role=message.role, content=content)
    try:
        return convert_to_messages([{**(message.model_extra or {}), "role": message.role, "content": content}])[0]
    except (ValueError, TypeError, LookupError) as error:
        raise PluginTypeError(
            f"a tailor put in a {message.role} message that LangChain cannot express ({type(error).__name__})"
        ) from error


def text_of(answer: Any) -> str:
    """Return the text of an answer, "" when it is something else: a tool call, a structured result."""
    if isinstance(answer, BaseMessage):
        return str(answer.text)
    return answer if isinstance(answer, str) else ""


def as_chunk(answer: Any) -> Any:
    """Return a whole answer as the one chunk of a stream."""
    if not isinstance(answer, AIMessage) or isinstance(answer, AIMessageChunk):
        return answer
    fields = {name: getattr(answer, name) for name in AIMessage.model_fields if name != "type"}
    return AIMessageChunk(**fields, chunk_position="last")
