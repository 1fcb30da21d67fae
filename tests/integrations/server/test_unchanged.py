"""Who is not named, or whom there is nothing to say about, speaks with the server behind as if alone with it."""

import gzip
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integrations.server import raw
from tests.integrations.server.running import asks, events

CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"
HEADERS = [
    ("content-type", "application/json"),
    ("authorization", "Bearer the-caller's own"),
    ("user-agent", "an app/1.0"),
    ("x-stainless-lang", "python"),
    ("x-stainless-lang", "twice"),
    ("openai-organization", "org-1"),
    ("idempotency-key", "k-1"),
    ("accept", "*/*"),
    ("x-latin", "caf\xe9"),
]
#: Of one connection, or set anew for it.
OWN = {"host", "accept-encoding", "date", "server", "set-cookie", "transfer-encoding", "connection", "traceparent"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}}


@pytest.fixture
def gateway(shared_gateway, up):
    return shared_gateway


def same(gateway, method, target, body=b"", headers=HEADERS):
    """Ask directly and through the gateway: the requests that arrive, and the answers, have to be the same."""
    up = gateway.up
    direct = raw.ask(up.url, method, target, headers, body)
    through = raw.ask(gateway.url, method, target, headers, body)
    wanted, came = up.requests[-2:]
    assert (came.method, came.target, came.body) == (wanted.method, wanted.target, wanted.body)
    assert came.body == body
    assert kept(came.headers) == kept(wanted.headers)
    assert through.status == direct.status
    answered = [pair for pair in through.headers if pair[0] != "x-persona-call-id"]
    assert kept(answered) == kept(direct.headers)
    assert events(unnumbered(through)) == events(unnumbered(direct))
    return through


def kept(headers):
    """Headers by their names, but for those of one connection; how long what is compressed is hangs on the id in it."""
    named = [(k.decode() if isinstance(k, bytes) else k, v) for k, v in headers]
    coded = any(name == "content-encoding" for name, _ in named)
    own = OWN | {"content-length"} if coded else OWN
    return sorted((pair for pair in named if pair[0] not in own), key=lambda pair: pair[0])


def unnumbered(answer):
    body = gzip.decompress(answer.body) if answer.header("content-encoding") else answer.body
    return re.sub(rb"(up|msg_|fc_)\d+", b"#", body)


def as_bytes(document):
    return document if isinstance(document, bytes) else json.dumps(document).encode()


ASKED = {
    "whole": (CHAT, asks("Hello")),
    "streamed": (CHAT, asks("Hello you there", stream=True)),
    "usage": (CHAT, asks("Hello", stream=True, stream_options={"include_usage": True})),
    "several": (CHAT, asks("Hello", n=3)),
    "several streamed": (CHAT, asks("Hello you", n=2, stream=True)),
    "tools": (CHAT, asks("Hello", tools=[TOOL], tool_choice="required", stream=True)),
    "split events": (CHAT, asks("Hello you [split=7]", stream=True)),
    "long": (CHAT, asks("[pieces=3000] [pad=50]", stream=True)),
    "response": (RESPONSES, {"model": "m", "input": "Hello"}),
    "response streamed": (RESPONSES, {"model": "m", "input": "Hello you", "stream": True}),
    "response of items": (RESPONSES, {"model": "m", "input": [{"type": "function_call_output", "output": "1"}]}),
    "embeddings": (EMBEDDINGS, {"model": "m", "input": ["a", "b"], "encoding_format": "base64"}),
    "error": (CHAT, asks("Hello [500]")),
    "error of a stream": (CHAT, asks("Hello [429]", stream=True)),
    "not found": (EMBEDDINGS, {"model": "m", "input": "[404]"}),
    "error in a stream": (CHAT, asks("Hello [error]", stream=True)),
    "elsewhere": (CHAT, asks("Hello [redirect]")),
    "compressed": (CHAT, asks("Hello [gzip]")),
    "compressed stream": (CHAT, asks("Hello you [gzip]", stream=True)),
    "nothing": (CHAT, asks("Hello [empty]")),
    "nothing streamed": (CHAT, asks("Hello [empty]", stream=True)),
    "no answer": (CHAT, asks("Hello [garbage]")),
    "no events": (CHAT, asks("Hello [garbage]", stream=True)),
    "no messages": (CHAT, {"model": "m"}),
    "no body": (CHAT, b""),
    "no JSON": (CHAT, b"{]"),
    "no object": (CHAT, b"[1, null]"),
    "twice": (CHAT, b'{"model": "m", "messages": [], "messages": [{"role": "user", "content": "x"}], "model": "m"}'),
    "numbers": (CHAT, b'{"messages":[{"role":"user","content":"x"}],"a":1e400,"b":0.10000,"c":' + b"9" * 5000 + b"}"),
    "spaces": (CHAT, b'\n{ "messages" :\t[ {"content":"x","role" : "user"} ] } \r\n'),
    "escapes": (CHAT, rb'{"messages":[{"role":"user","content":"\u00e9\ud83d\ude00\ud800\/\u0000"}]}'),
    "unicode": (CHAT, '\ufeff{"messages":[{"role":"user","content":"é😀\u2028"}]}'.encode()),
    "utf-16": (CHAT, json.dumps(asks("Hello")).encode("utf-16")),
    "deep": (CHAT, b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "huge": (CHAT, asks("word " * 200_000)),
    "binary": (EMBEDDINGS, bytes(range(256))),
}


@pytest.mark.parametrize("case", ASKED)
def test_who_is_not_named(gateway, case):
    path, body = ASKED[case]
    same(gateway, "POST", path, as_bytes(body))


@pytest.mark.parametrize("case", [c for c, (_, body) in ASKED.items() if isinstance(body, dict)])
def test_whom_there_is_nothing_to_say_about(gateway, case):
    path, body = ASKED[case]
    written = json.dumps({**body, "user": "nobody known", "a": 1e-7}, indent=1, separators=(" ,", ":"))
    through = same(gateway, "POST", path, written.replace("1e-07", '0.00000010, "a": "é\\u00e9\\/"').encode())
    tailors = body.get("messages") or path == RESPONSES
    assert bool(through.header("x-persona-call-id")) == bool(tailors)


@pytest.mark.parametrize(
    "target",
    [
        "/v1/models",
        "/v1/models/m",
        "/v1/models/org/model",
        "/v1/models/org%2Fmodel",
        "/v1/models/none",
        "/v1/models/ft:gpt-4o:org::id",
        "/v1/models/a%20b%C3%A9",
        "/v1/models/...",
        "/v1/models?limit=2&after=x",
        "/v1/models?a=%41&b=+%20&c=[1]&d={x}&e='&f=\"<>&a=2&&g=a?b/c;d",
    ],
)
def test_models_and_queries(gateway, target):
    same(gateway, "GET", target)


def test_a_query_of_a_chat(gateway):
    same(gateway, "POST", f"{CHAT}?api-version=2024-10-21&x=%7B", as_bytes(asks("Hello", stream=True)))


def test_an_error_keeps_its_headers(gateway):
    answer = same(gateway, "POST", CHAT, as_bytes(asks("Hello [429]")))
    assert answer.header("retry-after") == ["3"]
    assert answer.header("x-request-id") == ["req-7"]
    assert answer.header("x-ratelimit-remaining-requests") == ["41"]


def test_what_is_about_one_connection_ends_with_it(gateway):
    own = [
        ("connection", "close, X-Mine"),
        ("x-mine", "1"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic eDp5"),
        ("accept-encoding", "gzip"),
        ("cookie", "session=secret"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-host", "intranet"),
        ("cf-connecting-ip", "203.0.113.7"),
        ("x-persona", "off"),
        ("x-persona-user", "ann"),
    ]
    body = as_bytes(asks())
    raw.ask(gateway.url, "POST", CHAT, [*HEADERS, *own], body)
    came, wanted = gateway.up.requests[-1], [*HEADERS, ("content-length", str(len(body)))]
    assert kept(came.headers) == kept((k, v.encode("latin-1")) for k, v in wanted)
    assert came.header("accept-encoding") == ["identity"]


def test_what_the_server_behind_says_of_its_connection_is_not_passed_on(gateway, up, monkeypatch):
    own = [(b"alt-svc", b'h3=":443"'), (b"strict-transport-security", b"max-age=1"), (b"x-mine", b"1")]
    monkeypatch.setattr(up, "headers", [*up.headers, *own, (b"connection", b"X-Mine"), (b"x-theirs", b"1")])
    answer = gateway.chat()
    assert not {"alt-svc", "strict-transport-security", "x-mine"} & set(answer.headers)
    assert answer.headers["x-theirs"] == "1"


def test_no_cookie_passes_or_stays(gateway):
    answer = gateway.chat()
    assert "set-cookie" not in answer.headers
    raw.ask(gateway.url, "POST", CHAT, HEADERS, as_bytes(asks()))
    assert gateway.up.requests[-1].header("cookie") == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["model", "messages", "stream", "n", "tools", "role", "content", "user"]) | st.text(),
                inner | st.sampled_from(["user", "system"]),
                max_size=6,
            )
        ),
        max_leaves=12,
    ).map(as_bytes)
)
def test_any_body_gets_to_the_server_behind(gateway, body):
    answer = raw.ask(gateway.url, "POST", CHAT, HEADERS, body)
    assert gateway.up.requests[-1].body == body
    assert answer.status in (200, 400), answer.body
