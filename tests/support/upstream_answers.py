"""The answers of `upstream`: chat completions and responses, whole and as the events of a stream."""

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["Asked", "chat", "chat_events", "response", "response_events"]


@dataclass(frozen=True)
class Asked:
    """What a request asks: its body, and the text of the last thing a person says in it."""

    body: Any
    text: str

    @classmethod
    def of(cls, path, raw):
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            body = None
        body = body if isinstance(body, dict) else {}
        given = body.get("messages", body.get("input"))
        if isinstance(given, str):
            return cls(body, given)
        said = [m for m in given if isinstance(m, dict) and m.get("role") == "user"] if isinstance(given, list) else []
        return cls(body, _text(said[-1].get("content")) if said else "")

    @property
    def stream(self):
        return self.body.get("stream") is True

    @property
    def n(self):
        n = self.body.get("n")
        return n if type(n) is int and 1 <= n <= 128 else 1

    @property
    def model(self):
        return str(self.body.get("model"))

    @property
    def tool(self):
        """The tool to call, as name and arguments; None if a text is asked for."""
        tools, wanted = self.body.get("tools"), self.body.get("tool_choice")
        if not tools or wanted in (None, "none", "auto"):
            return None
        given = self.body.get("messages", self.body.get("input"))
        if not isinstance(given, str) and given[-1].get("role") != "user":
            return None
        tool = tools[0].get("function", tools[0])
        return tool["name"], json.dumps(_filled(tool["parameters"], self.text))

    def said(self, text):
        """The text of the answer: JSON, if that is asked for."""
        wanted = self.body.get("response_format") or (self.body.get("text") or {}).get("format") or {}
        if wanted.get("type") != "json_schema":
            return text
        return json.dumps(_filled(wanted.get("json_schema", wanted)["schema"], text))


def _text(content):
    if isinstance(content, list):
        return " ".join(str(p.get("text", p.get("type"))) for p in content if isinstance(p, dict))
    return content if isinstance(content, str) else ""


def _filled(schema, text):
    values = {"string": text, "integer": 7, "number": 7.5, "boolean": True, "array": []}
    return {name: values[of["type"]] for name, of in schema["properties"].items()}


def _words(text):
    return [word for word in text.replace(" ", " \0").split("\0") if word]


def _head(asked, number, kind):
    return {"id": f"chatcmpl-up{number}", "object": kind, "created": 1, "model": asked.model}


def _usage(texts):
    answer = sum(len(text.split()) for text in texts)
    return {"prompt_tokens": 11, "completion_tokens": answer, "total_tokens": 11 + answer}


def _call(asked):
    name, arguments = asked.tool
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


def chat(asked, texts, number):
    """A whole chat completion."""
    choices = []
    for index, text in enumerate(texts):
        message = {"role": "assistant", "content": asked.said(text), "refusal": None}
        if asked.tool:
            message |= {"content": None, "tool_calls": [_call(asked)]}
        finish = "tool_calls" if asked.tool else "stop"
        choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": finish})
    return _head(asked, number, "chat.completion") | {"choices": choices, "usage": _usage(texts)}


def chat_events(asked, texts, number):
    """A chat completion as a stream: the choices word by word, in turns."""
    head = _head(asked, number, "chat.completion.chunk")
    counted = (asked.body.get("stream_options") or {}).get("include_usage")
    extra = {"usage": None} if counted else {}

    def event(index, delta, finish=None):
        return head | {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]} | extra

    for index in range(len(texts)):
        yield event(index, {"role": "assistant", "content": ""})
    if asked.tool:
        call = _call(asked)
        arguments = call["function"]["arguments"]
        half = len(arguments) // 2
        first = {**call, "index": 0, "function": {**call["function"], "arguments": arguments[:half]}}
        yield event(0, {"tool_calls": [first]})
        yield event(0, {"tool_calls": [{"index": 0, "function": {"arguments": arguments[half:]}}]})
    else:
        said = [_words(asked.said(text)) for text in texts]
        for place in range(max(map(len, said))):
            for index, words in enumerate(said):
                if place < len(words):
                    yield event(index, {"content": words[place]})
    for index in range(len(texts)):
        yield event(index, {}, "tool_calls" if asked.tool else "stop")
    if counted:
        yield head | {"choices": [], "usage": _usage(texts)}
    yield "[DONE]"


def _item(asked, text, number, status="completed"):
    if asked.tool:
        name, arguments = asked.tool
        called = {"type": "function_call", "call_id": "call_1", "name": name, "arguments": arguments}
        return {"id": f"fc_{number}", "status": status, **called}
    content = [{"type": "output_text", "text": asked.said(text), "annotations": []}] if status == "completed" else []
    return {"id": f"msg_{number}", "type": "message", "status": status, "role": "assistant", "content": content}


def response(asked, text, number, status="completed"):
    """A whole response; one that is not completed holds no answer yet."""
    done = status == "completed"
    used = _usage([text])
    usage = {
        "input_tokens": used["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": used["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": used["total_tokens"],
    }
    return {
        "id": f"resp_up{number}",
        "object": "response",
        "created_at": 1,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.body.get("instructions"),
        "model": asked.model,
        "output": [_item(asked, text, number)] if done else [],
        "parallel_tool_calls": True,
        "previous_response_id": asked.body.get("previous_response_id"),
        "text": asked.body.get("text") or {"format": {"type": "text"}},
        "tool_choice": asked.body.get("tool_choice", "auto"),
        "tools": asked.body.get("tools", []),
        "metadata": {},
        "usage": usage if done else None,
    }


def response_events(asked, text, number):
    """A response as a stream of events, each with its number."""
    for place, event in enumerate(_response_events(asked, text, number)):
        yield {"type": event.pop("type"), "sequence_number": place, **event}


def _response_events(asked, text, number):
    begun, item = response(asked, text, number, "in_progress"), _item(asked, text, number)
    where = {"item_id": item["id"], "output_index": 0}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    yield {"type": "response.output_item.added", "output_index": 0, "item": _item(asked, text, number, "in_progress")}
    if asked.tool:
        yield {"type": "response.function_call_arguments.delta", **where, "delta": item["arguments"]}
        yield {"type": "response.function_call_arguments.done", **where, "arguments": item["arguments"]}
    else:
        part, where = item["content"][0], {**where, "content_index": 0}
        yield {"type": "response.content_part.added", **where, "part": {**part, "text": ""}}
        for word in _words(part["text"]):
            yield {"type": "response.output_text.delta", **where, "delta": word, "logprobs": []}
        yield {"type": "response.output_text.done", **where, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **where, "part": part}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.completed", "response": response(asked, text, number)}
