"""A server on loopback that speaks OpenAI's chat completions protocol, made of the standard library.

It stands in for a hosted model, because tests have no key, no network and no weights: the client library, its wire
format and its failures are real, the answers are not. An answer says what the server was asked, every request is kept
as the bytes that came in, and faults are put in line with `fail`. Connections are not kept alive: the client shares
them between event loops, and each test may have its own.
"""

import json
import threading
from collections import deque
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class OpenAIServer:
    """What was asked (`requests`: parsed bodies, `bodies`: their bytes) and what goes wrong next.

    Answers are `answers` in turn, as long as there are any, then the last user message after "echo: ". What `reply`
    makes of a request is said word for word instead, whatever form of answer was asked for, and `message` is a whole
    answer. `judge` may refuse a request with an HTTP status; `headers` go with every error.
    """

    def __init__(self):
        self.requests, self.bodies = [], []
        self.answers = deque()
        self.faults = deque()
        self.reply, self.message, self.judge, self.headers = None, None, lambda request: None, {}
        self.at_once, self.most_at_once = 0, 0
        self.release = threading.Event()
        self.lock = threading.Lock()
        self.url = ""

    def fail(self, *faults):
        """Put faults in line: an HTTP status, "slow" (nothing until `release` is set), "cut" (the line goes dead)."""
        self.faults.extend(faults)

    @property
    def wire(self):
        """The messages of the last request as (role, content)."""
        return [(m["role"], m.get("content")) for m in self.requests[-1]["messages"]]


@contextmanager
def openai_server():
    server = OpenAIServer()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": server}))
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        http.shutdown()
        thread.join()
        http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: OpenAIServer

    def log_message(self, *args):
        """Stay silent."""

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        request = json.loads(raw)
        with self.state.lock:
            self.state.requests.append(request)
            self.state.bodies.append(raw)
            fault = self.state.faults.popleft() if self.state.faults else None
            self.state.at_once += 1
            self.state.most_at_once = max(self.state.most_at_once, self.state.at_once)
            if self.state.reply is None:
                choices = [_message(request, self._text(request)) for _ in range(request.get("n") or 1)]
        try:
            if self.state.reply is not None:
                choices = [self.state.message or {"role": "assistant", "content": self.state.reply(request)}]
            self._respond(request, choices, fault or self.state.judge(request))
        finally:
            with self.state.lock:
                self.state.at_once -= 1

    def _respond(self, request, choices, fault):
        if fault == "slow":
            self.state.release.wait(30)
            self.close_connection = True
        elif self.path != "/v1/chat/completions":
            self._json(404, {"error": {"message": "no such path"}})
        elif str(fault).isdigit():
            message = f"the server is broken; it was asked {request['messages'][-1]['content']}"
            self._json(int(fault), {"error": {"message": message, "type": "server_error"}}, self.state.headers)
        elif request.get("stream"):
            self._stream(request, choices, cut=fault == "cut")
        elif fault == "cut":
            self.close_connection = True
        else:
            self._json(200, _completion(request, choices))

    def _text(self, request):
        if self.state.answers:
            return self.state.answers.popleft()
        return "echo: " + next((_text(m["content"]) for m in reversed(request["messages"]) if m["role"] == "user"), "")

    def _json(self, status, body, headers=None):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, request, choices, *, cut):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        events = list(_events(request, choices))
        for event in events[: len(events) // 2] if cut else [*events, "[DONE]"]:
            text = event if isinstance(event, str) else json.dumps(event)
            data = f"data: {text}\n\n".encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
        if cut:  # without the closing chunk: the client sees a connection that broke
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


def _text(content):
    return content if isinstance(content, str) else " ".join(p.get("text", p["type"]) for p in content)


def _message(request, text):
    """The answer: a call of the tool that is asked for, JSON if that is asked for, else the text."""
    wanted = request.get("tool_choice")
    asked = request["messages"][-1]["role"] == "user"
    if request.get("tools") and asked and wanted not in (None, "none", "auto"):
        tool = request["tools"][0]["function"]
        arguments = json.dumps(_filled(tool["parameters"], text))
        call = {"id": "call_1", "type": "function", "function": {"name": tool["name"], "arguments": arguments}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    if (request.get("response_format") or {}).get("type") == "json_schema":
        text = json.dumps(_filled(request["response_format"]["json_schema"]["schema"], text))
    return {"role": "assistant", "content": text}


def _filled(schema, text):
    values = {"string": text, "integer": 7, "number": 7.5, "boolean": True, "array": []}
    return {name: values[of["type"]] for name, of in schema["properties"].items()}


def _usage(request, choices):
    prompt = sum(len(_text(m.get("content") or "").split()) for m in request["messages"])
    answer = sum(len((m["content"] or "").split()) for m in choices)
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def _head(request, kind):
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": request["model"]}


def _completion(request, choices):
    return _head(request, "chat.completion") | {
        "choices": [
            {"index": i, "message": m, "finish_reason": "tool_calls" if "tool_calls" in m else "stop"}
            for i, m in enumerate(choices)
        ],
        "usage": _usage(request, choices),
    }


def _events(request, choices):
    head = _head(request, "chat.completion.chunk")
    message = choices[0]
    deltas = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in (message["content"] or "").replace(" ", " \0").split("\0") if word]
    for call in message.get("tool_calls", ()):
        half = len(call["function"]["arguments"]) // 2
        start, rest = call["function"]["arguments"][:half], call["function"]["arguments"][half:]
        deltas.append({"tool_calls": [{"index": 0, **call, "function": {**call["function"], "arguments": start}}]})
        deltas.append({"tool_calls": [{"index": 0, "function": {"arguments": rest}}]})
    for delta in deltas:
        yield head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    finish = "tool_calls" if "tool_calls" in message else "stop"
    yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    if (request.get("stream_options") or {}).get("include_usage"):
        yield head | {"choices": [], "usage": _usage(request, choices)}
