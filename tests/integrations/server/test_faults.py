"""What goes wrong behind the gateway, and who leaves it: what the caller sees, and what is counted."""

import socket
import time

import httpx2
import openai
import pytest

from tests.integrations.server import raw
from tests.integrations.server.running import asks, running, until

CHAT = "/v1/chat/completions"


@pytest.fixture
def gateway(shared_gateway, up):
    return shared_gateway


@pytest.fixture
def broken(gateway):
    """How many answers broke on which side since the test began."""
    before = {side: gateway.metric("broken_total", side=side) for side in ("upstream", "client")}
    return lambda side: gateway.metric("broken_total", side=side) - before[side]


def create(gateway, text, **more):
    made = gateway.openai().chat.completions.create(
        model="m", messages=[{"role": "user", "content": text}], user="ann", **more
    )
    return list(made) if more.get("stream") else made


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_an_error_of_the_server_behind_is_that_error(gateway, broken, status, error, stream):
    counted = gateway.metric("requests_total", route="/chat/completions", status=str(status))
    with pytest.raises(error) as caught:
        create(gateway, f"Hello [{status}]", stream=stream)
    assert caught.value.status_code == status
    assert caught.value.body["message"] == f"it broke on: Hello [{status}]"
    assert caught.value.request_id == "req-7"
    assert gateway.metric("requests_total", route="/chat/completions", status=str(status)) == counted + 1
    assert broken("upstream") == 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mark", ["[reset]", "[protocol]"])
def test_no_answer_is_a_bad_gateway(gateway, broken, mark, stream):
    with pytest.raises(openai.InternalServerError) as caught:
        create(gateway, mark, stream=stream)
    assert caught.value.status_code == 502
    assert caught.value.body["type"] == "gateway_error"
    assert "127.0.0.1" not in str(caught.value)
    assert broken("upstream") == 1


def test_half_an_answer_is_a_bad_gateway(gateway, broken):
    with pytest.raises(openai.InternalServerError, match="the model broke off") as caught:
        create(gateway, "[cut]")
    assert caught.value.status_code == 502
    assert broken("upstream") == 1


def test_a_stream_that_breaks_is_seen_to_break(gateway, broken):
    said = []

    def listen():
        for chunk in gateway.openai().chat.completions.create(**asks("One two three [cut=5]", user="ann"), stream=True):
            said.append(chunk.choices[0].delta.content)  # noqa: PERF401 - it does not come to its end

    with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
        listen()
    assert "".join(said) == "echo: One two three "
    until(lambda: broken("upstream") == 1)


def test_an_error_in_a_stream_is_that_error(gateway, broken):
    with pytest.raises(openai.APIError, match="overloaded"):
        create(gateway, "[error]", stream=True)
    assert broken("upstream") == 0


def test_garbage_is_passed_on(gateway):
    assert gateway.chat("[garbage]", user="ann").content == b'{"id": "chatcmpl-'
    assert gateway.chat("[garbage]", user="ann", stream=True).content.startswith(b"event: \xff")
    assert gateway.chat("[empty]", user="ann").content == b""


def test_a_redirect_is_not_followed(gateway, up):
    answer = gateway.http.post(CHAT, json=asks("[redirect]"), follow_redirects=False)
    assert answer.status_code == 307
    assert [r.target for r in up.requests] == [CHAT]


@pytest.mark.parametrize("mark", ["[slow]", "[hold]"])
def test_silence_is_a_time_out(start, up, mark):
    gateway = start(read_timeout=0.3)
    with pytest.raises(openai.InternalServerError, match="in time") as caught:
        create(gateway, mark)
    assert caught.value.status_code == 504
    until(lambda: up.at_once == 0)  # and the server behind is not kept at it
    if mark == "[hold]":
        with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
            create(gateway, mark, stream=True)
    assert gateway.metric("broken_total", side="upstream") == (2 if mark == "[hold]" else 1)


def test_nobody_there_is_a_bad_gateway(known, up):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    up_there = type("Nobody", (), {"url": f"http://127.0.0.1:{port}/v1"})
    with running(up_there, known, connect_timeout=2) as gateway:
        answer = gateway.chat(user="ann")
        assert answer.status_code == 502
        assert str(port) not in answer.text
        assert gateway.metric("requests_total", route="/chat/completions", status="502") == 1


def test_too_many_at_once_are_told_to_come_back(start, up):
    gateway = start(max_connections=1, connect_timeout=0.2)
    first = raw.connected(gateway.url)
    first.sendall(raw.said("POST", CHAT, b'{"messages": [{"role": "user", "content": "[slow]"}]}'))
    until(lambda: up.requests)
    answer = gateway.chat()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    first.close()
    until(lambda: gateway.chat().status_code == 200)


@pytest.mark.parametrize("mark", ["[slow]", "[hold]"])
@pytest.mark.parametrize("stream", ["true", "false"])
def test_who_leaves_lets_the_model_go(gateway, up, broken, mark, stream):
    body = b'{"messages": [{"role": "user", "content": "%s"}], "user": "ann", "stream": %s}'
    caller = raw.connected(gateway.url)
    caller.sendall(raw.said("POST", CHAT, body % (mark.encode(), stream.encode())))
    until(lambda: up.requests)
    if mark == "[hold]" and stream == "true":
        assert caller.recv(100)
    assert gateway.metric("in_flight") == 1
    caller.close()
    until(lambda: up.left == 1)
    until(lambda: gateway.metric("in_flight") == 0)
    assert broken("client") == 1
    assert broken("upstream") == 0


def test_who_leaves_in_the_middle_and_asks_again_disliked_nothing(gateway, up):
    for count in (1, 2):
        with gateway.http.stream("POST", CHAT, json=asks("Hi, you [hold]", user="leaver", stream=True)) as answer:
            next(answer.iter_raw())
        until(lambda n=count: up.left == n)
    until(lambda: gateway.metric("in_flight") == 0)
    gateway.chat("And now?", user="leaver")
    until(lambda: [s for s in gateway.signals("leaver") if getattr(s, "text", "") == "And now?"])
    assert {s.kind for s in gateway.signals("leaver")} == {"utterance"}


def test_who_reads_slowly_is_not_read_ahead_for(gateway, up):
    """The whole is 64 MB; what stands between the server behind and a caller who reads nothing holds little of it."""
    caller = raw.connected(gateway.url, room=4096)
    text = "[pieces=1000] [pad=64000]"
    body = b'{"messages": [{"role": "user", "content": "%s"}], "user": "ann", "stream": true}' % text.encode()
    caller.sendall(raw.said("POST", CHAT, body))
    until(lambda: up.sent > 0)
    seen = -1
    while seen != up.sent:  # until it stands still
        seen = up.sent
        time.sleep(0.3)
    assert seen < 32 * 2**20  # the buffers of two connections
    received = caller.recv(65536)
    while b"[DONE]" not in received[-200:]:
        more = caller.recv(2**20)
        assert more
        received = received[-200:] + more
    assert up.sent > 64_000_000
    caller.close()


def test_who_reads_nothing_and_leaves_lets_the_model_go(gateway, up, broken):
    caller = raw.connected(gateway.url, room=4096)
    body = b'{"messages": [{"role": "user", "content": "[pieces=1000] [pad=64000]"}], "stream": true}'
    caller.sendall(raw.said("POST", CHAT, body))
    until(lambda: up.sent > 0)
    caller.close()
    until(lambda: up.left == 1)
    until(lambda: gateway.metric("in_flight") == 0)
    assert up.sent < 64_000_000
    assert broken("client") == 1


def test_an_upload_that_breaks_off_is_no_fault(gateway, up, caplog):
    caller = raw.connected(gateway.url)
    caller.sendall(raw.said("POST", CHAT, b"x" * 10_000)[:-5000])
    caller.close()
    assert gateway.chat().status_code == 200
    assert up.requests[0].json == asks()
    assert "Exception" not in caplog.text


def test_a_gateway_behind_a_gateway(gateway, known):
    class Near:
        url = f"{gateway.url}/v1"

    with running(Near, known) as outer:
        assert outer.chat(user="ann", stream=True).text.endswith("data: [DONE]\n\n")
        assert outer.http.get("/v1/models/org%2Fmodel").json()["id"] == "org/model"
        with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
            create(outer, "[cut]", stream=True)
