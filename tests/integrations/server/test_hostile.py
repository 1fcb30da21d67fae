"""Requests of those who mean no good, or cannot write HTTP: nothing but what was meant gets behind the gateway."""

import http.client
import json
import threading

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persona_integrations.server import GatewaySettings, create_app
from persona_sdk.wire.chat_completions import ChatCompletions
from tests.integrations.server import raw
from tests.integrations.server.running import asks, running

CHAT = "/v1/chat/completions"
BODY = json.dumps(asks()).encode()


@pytest.fixture
def gateway(shared_gateway, up):
    return shared_gateway


def talk(url, sent, *, all_of_it=True):
    """Send bytes, and return what comes back until the connection ends, or what comes first."""
    with raw.connected(url) as connection:
        connection.sendall(sent)
        if not all_of_it:
            return connection.recv(65536)
        connection.settimeout(2)
        came = b""
        try:
            while more := connection.recv(65536):
                came += more
        except (TimeoutError, ConnectionResetError):
            pass
        return came


def status(came):
    return int(came.split(b" ", 2)[1])


@pytest.mark.parametrize(
    "target",
    [
        "/v1/models/..",
        "/v1/models/../files",
        "/v1/models/./x",
        "/v1/models//x",
        "/v1/models/x/../../files",
        "/v1/models/%2e%2e/files",
        "/v1/models/%2E%2e%2ffiles",
        "/v1/models/..%2ffiles",
        "/v1/models/x%2f..%2f..%2ffiles",
        "/v1/models/..\\files",
        "/v1/models/..%5cfiles",
        "/v1/models/..;/files",
        "/v1/models/..;x=1/files",
        "/v1/%6dodels/x",
        "/%76%31/models/x",
        "/v1/models%2fx",
        "/v1/files",
        "/v1/chat/completions/x",
        "/v1/chat/completions/",
        "/v1//models",
        "//v1/models",
        "/v1/../v1/models",
        "/v1/responses/resp_1",
        "/models",
        "/",
    ],
)
def test_no_path_leads_elsewhere(gateway, up, target):
    answer = raw.ask(gateway.url, "GET", target)
    assert answer.status in (404, 405)
    assert json.loads(answer.body)["error"]["message"]
    assert up.requests == []


def test_a_target_with_a_host_stays_here(gateway, up):
    for target in (f"{up.url}/files", "http://127.0.0.1:1/v1/models", "127.0.0.1:1", "*"):
        talk(gateway.url, raw.said("GET", target, b"", "connection: close"))
    assert all(r.target == "/v1/models" for r in up.requests)
    came = talk(gateway.url, raw.said("POST", CHAT, BODY, "connection: close", "host: elsewhere.test"))
    if status(came) == 200:
        assert up.requests[-1].header("host") == [up.url.split("/")[2]]


@pytest.mark.parametrize("spelt", ["/v1/chat%2fcompletions", "/v1/%63hat/completions"])
def test_another_spelling_of_a_path_is_that_path(gateway, up, spelt):
    assert raw.ask(gateway.url, "POST", spelt, [("content-type", "application/json")], BODY).status == 200
    assert up.requests[-1].target == CHAT


def test_long_queries_and_headers(gateway, up):
    size = 1_000_000
    for sent in (
        raw.said("GET", f"/v1/models?{'a' * size}", b"", "connection: close"),
        raw.said("GET", f"/v1/models/{'a' * size}", b"", "connection: close"),
        raw.said("GET", "/v1/models", b"", "connection: close", f"x-long: {'a' * size}"),
    ):
        came = talk(gateway.url, sent)
        assert not came or status(came) == 400, came[:200]
    fits = raw.said("GET", f"/v1/models?{'a' * 30_000}", b"", "connection: close", f"x-long: {'b' * 30_000}")
    assert status(talk(gateway.url, fits)) == 200
    assert len(up.requests) == 1
    assert gateway.http.get("/v1/models").status_code == 200


@pytest.mark.parametrize(
    "begins",
    [
        b"GET /v1/models?",
        b"GET /v1/models HTTP/1.1\r\nx-long: ",
        b"GET /v1/models HTTP/1.1\r\n",
        b"POST /v1/feedback HTTP/1.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
        b"POST /v1/feedback HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;",
    ],
)
def test_what_has_no_end_is_ended(shared_locked, up, begins):
    with raw.connected(shared_locked.url) as connection:
        connection.sendall(begins)
        part = b"x-more: 1\r\n" * 1000 if begins.endswith(b"\r\n") else b"a" * 10_000
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(part * 2000)
    assert shared_locked.http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "x-odd: a\tb",
        "x-odd:  spaces \t ",
        "x-odd:",
        "x-odd: \x01",
        "x-odd: \x7f",
        "x-odd: \xe9\xff",
        "x-odd: a\rb",
        "x-odd: a\nx-more: b",
        "x-odd: a\r\n folded",
        "x-odd : a",
        "x odd: a",
        "x-odd\x00: a",
        ": a",
        "x-persona-user: a\tb",
        "authorization: Bearer \x80",
        "content-encoding: gzip",
        "transfer-encoding: gzip",
    ],
)
def test_odd_headers_are_refused_or_passed_on_as_they_are(gateway, up, header):
    came = talk(gateway.url, raw.said("POST", CHAT, BODY, "connection: close", header))
    assert not came or status(came) in (200, 400), came
    assert len(up.requests) <= 1
    for request in up.requests:
        assert request.body == BODY
        assert not request.header("x-more") or "\nx-more" in header


def test_spaces_around_a_header_are_not_part_of_it(gateway, up):
    came = talk(gateway.url, raw.said("POST", CHAT, BODY, "connection: close", "x-odd:  a b \t "))
    assert status(came) == 200
    assert up.requests[-1].header("x-odd") == ["a b"]


async def test_a_header_that_no_server_should_have_let_in_is_the_callers_fault(known, up):
    app = create_app(GatewaySettings(upstream=up.url, auth="none"), known)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway") as client:
        answer = await client.post(CHAT, json=asks(), headers={"x-odd": b"a\x0bb"})
        page = (await client.get("/metrics")).text
    assert answer.status_code == 400
    assert 'broken_total{side="upstream"}' not in page
    assert up.requests == []


@pytest.mark.parametrize(
    "lines",
    [
        [f"content-length: {len(BODY)}", "transfer-encoding: chunked"],
        ["content-length: 5", f"content-length: {len(BODY)}"],
        [f"content-length: {len(BODY)}, {len(BODY)}"],
        ["content-length: -1"],
        ["content-length: +10"],
        ["content-length: 0x10"],
        ["transfer-encoding: chunked, identity"],
        ["transfer-encoding: xchunked"],
        ["transfer-encoding: chunked", "transfer-encoding: chunked"],
        [" transfer-encoding: chunked"],
    ],
)
def test_nothing_is_smuggled(gateway, up, lines):
    smuggled = b"GET /v1/models/smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
    head = "\r\n".join([f"POST {CHAT} HTTP/1.1", "host: gateway", *lines, "", ""]).encode()
    talk(gateway.url, head + b"0\r\n\r\n" + smuggled)
    assert [r for r in up.requests if r.method == "POST" and b"smuggled" in r.body] == []
    # Whatever was seen behind came as requests of their own, each framed anew.
    for request in up.requests:
        assert request.header("transfer-encoding") == []
        assert len(request.header("content-length")) <= 1


def test_a_body_in_chunks_is_one_body(gateway, up):
    half = len(BODY) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:half], BODY[half:]))
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    assert status(talk(gateway.url, head + chunks + b"0\r\n\r\n")) == 200
    assert up.requests[-1].body == BODY
    assert up.requests[-1].header("content-length") == [str(len(BODY))]


def test_requests_one_behind_the_other(gateway, up):
    first = raw.said("POST", CHAT, json.dumps(asks("One")).encode())
    second = raw.said("POST", CHAT, json.dumps(asks("Two")).encode(), "connection: close")
    came = talk(gateway.url, first + second)
    assert came.index(b"echo: One") < came.index(b"echo: Two")


def test_many_requests_on_one_connection(gateway, up):
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=30)
    for _ in range(100):
        connection.request("GET", "/v1/models", headers={"x-long": "x" * 1000})
        assert connection.getresponse().read()
        assert connection.sock is not None  # it is kept
    connection.close()
    assert len(up.requests) == 100


@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings", "/v1/feedback", "/v1/personas/ann/said"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_not_read(up, known, path, chunked):
    with running(up, known, max_body=1024) as gateway:
        body = b'{"text": "' + b"x" * 5000 + b'"}'
        headers = {"content-type": "application/json"}
        answer = gateway.http.post(path, content=iter([body]) if chunked else body, headers=headers)
        assert answer.status_code == 413
        assert "1,024 bytes" in answer.json()["error"]["message"]
        assert up.requests == []
        assert gateway.chat("x" * 500).status_code == 200


@pytest.mark.parametrize("path", [CHAT, "/v1/feedback", "/v1/personas/ann/said"])
def test_without_a_key_no_body_is_waited_for(shared_locked, up, path):
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n"
    assert status(talk(shared_locked.url, head.encode() + b'{"x', all_of_it=False)) == 401


def test_nobody_waits_while_a_long_body_is_read(gateway, monkeypatch):
    release, began, read = threading.Event(), threading.Event(), ChatCompletions.read

    def slowly(self, raw):
        if len(raw) > 2**19:
            began.set()
            release.wait(30)
        return read(self, raw)

    monkeypatch.setattr(ChatCompletions, "read", slowly)
    other = gateway.caller()
    long = threading.Thread(target=lambda: other.post(CHAT, json=asks("x" * 2**20)))
    long.start()
    assert began.wait(30)
    assert gateway.chat().status_code == 200
    assert not release.is_set()
    release.set()
    long.join()


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "GET", "BREW"])
def test_other_methods(gateway, up, method):
    came = talk(gateway.url, raw.said(method, CHAT, b"", "connection: close"))
    assert status(came) in (400, 405)
    assert up.requests == []


def test_an_upgrade_is_none(gateway, up):
    more = ("connection: upgrade", "upgrade: h2c", "http2-settings: AAMAAABkAARAAAAAAAIAAAAA")
    came = talk(gateway.url, raw.said("POST", CHAT, BODY, *more), all_of_it=False)
    assert status(came) in (200, 400)
    for request in up.requests:
        assert request.header("upgrade") == request.header("http2-settings") == []


def test_who_waits_to_be_told_to_go_on_is_told(gateway, up):
    came = talk(gateway.url, raw.said("POST", CHAT, BODY, "connection: close", "expect: 100-continue"))
    assert came.startswith(b"HTTP/1.1 100 ")
    assert b"echo: " in came
    assert up.requests[-1].header("expect") == []


names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12).map(lambda n: f"x-{n}")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(names, st.binary(max_size=20)), max_size=5), st.binary(max_size=30))
def test_any_header_and_target_is_refused_or_passed_on(gateway, up, headers, target):
    lines = b"".join(b"%b: %b\r\n" % (name.encode(), value) for name, value in headers)
    head = b"POST /v1/chat/completions?%b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n%bcontent-length: 2\r\n\r\n{}"
    up.requests.clear()
    came = talk(gateway.url, head % (target, lines))
    assert not came or status(came) in (200, 400, 404, 405), came
    assert len(up.requests) <= 1
