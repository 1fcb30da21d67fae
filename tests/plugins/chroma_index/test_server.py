"""A Chroma server that is down, slow, back again, emptied, guarded, or no Chroma server at all."""

import http.server
import socket
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from persona_plugins.chroma_index.index import ChromaIndex
from persona_sdk.errors import IndexUnavailableError

from .conftest import ChromaServer, free_port

VECTORS = np.random.default_rng(3).standard_normal((50, 8)).astype("f4")
TOKEN = "a-very-secret-token"


def refused_within(seconds, index):
    start = time.monotonic()
    with pytest.raises(IndexUnavailableError) as refusal:
        index.nearest("people", VECTORS[0], 1)
    assert time.monotonic() - start < seconds
    return str(refusal.value)


def test_a_server_that_is_down_is_said_to_be_and_is_back_when_it_is(tmp_path):
    server = ChromaServer(tmp_path / "served")
    index = ChromaIndex(server.url, pause=0.5)
    assert server.url in refused_within(1.0, index)
    server.start()
    time.sleep(0.5)
    index.put("people", ["a", "b"], VECTORS[:2], [1, 2])
    assert index.nearest("people", VECTORS[0], 1)[0].key == "a"
    server.kill()
    refused_within(1.0, index)
    assert "just now" in refused_within(0.05, index)  # it is not asked again so soon
    server.start()
    time.sleep(0.5)
    assert index.nearest("people", VECTORS[1], 1)[0].key == "b"
    server.kill()
    server.folder = tmp_path / "emptied"
    server.start()
    try:  # without a refusal in between: a connection that broke is made anew, a collection that went is an empty one
        assert index.nearest("people", VECTORS[0], 1) == []
        assert index.count("people") == 0
        index.put("people", ["c"], VECTORS[2:3], [3])
        assert index.nearest("people", VECTORS[2], 5)[0].key == "c"
        index.close()
    finally:
        server.kill()


@contextmanager
def silent_server():
    """Accepts connections, and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_server_that_does_not_answer_is_waited_for_briefly_and_then_left_alone():
    with silent_server() as url:
        index = ChromaIndex(url, patience=0.3)
        refused_within(1.0, index)
        refused_within(0.05, index)
        index.close()


def test_a_connection_that_breaks_is_made_anew_once():
    """A server that is started anew breaks those that were kept open."""
    answer = b'HTTP/1.1 404 Not Found\r\nContent-Length: 25\r\n\r\n{"error":"NotFoundError"}'
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)

        def serve():
            for words in (b"", answer, b"", b""):
                connection, _ = listening.accept()
                connection.recv(10_000)
                connection.sendall(words)
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        index = ChromaIndex(f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert index.nearest("people", VECTORS[0], 1) == []
        refused_within(1.0, index)
        index.close()


@contextmanager
def answering(status, body, seen):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, b"{}", "PERSONA_CHROMA_TOKEN"),
        (403, b"nope", "PERSONA_CHROMA_TOKEN"),
        (404, b"<html>", "404"),
        (200, b"<html>", "200"),
        (200, b'["hello"]', "200"),
        (500, b'{"error":"InternalError","message":"secret"}', "500"),
    ],
)
def test_what_it_answers_is_never_repeated(monkeypatch, caplog, status, body, told):
    """The token is sent, and is in no message; neither is what the server says, which may quote what it was sent."""
    monkeypatch.setenv("PERSONA_CHROMA_TOKEN", TOKEN)
    caplog.set_level("DEBUG")
    seen = []
    with answering(status, body, seen) as url:
        index = ChromaIndex(url)
        message = refused_within(2.0, index)
        index.close()
    assert seen == [f"Bearer {TOKEN}"]
    assert told in message
    assert "secret" not in message + caplog.text + repr(vars(index))


def test_no_token_is_sent_when_there_is_none(monkeypatch):
    monkeypatch.delenv("PERSONA_CHROMA_TOKEN", raising=False)
    seen = []
    with answering(404, b'{"error":"NotFoundError"}', seen) as url:
        index = ChromaIndex(url)
        assert index.nearest("people", VECTORS[0], 1) == []
        index.close()
    assert seen == [None]


def test_two_processes_may_share_a_server(server):
    """What one puts, the other finds, and one's collection may be dropped by the other."""
    one, other = ChromaIndex(server.url, patience=10), ChromaIndex(server.url, patience=10)
    one.put("shared", ["a"], VECTORS[:1], [1])
    other.put("shared", ["b"], VECTORS[1:2], [2])
    assert one.nearest("shared", VECTORS[1], 1)[0].key == "b"
    other.drop("shared")
    assert one.nearest("shared", VECTORS[1], 1) == []
    one.put("shared", ["c"], np.ones((1, 3), "f4"), [1])
    assert other.nearest("shared", np.ones(3, "f4"), 5)[0].key == "c"
    one.drop("shared")
    one.close()
    other.close()


def test_nobody_is_asked_before_it_is_used():
    ChromaIndex(f"http://127.0.0.1:{free_port()}/prefix/").close()
