"""A gateway without keys, as `persona serve` runs it: a web page must not reach it through somebody's browser."""

import httpx2
import pytest

from persona_integrations.server.local_only import LocalOnly
from tests.support.gateways import Process
from tests.support.upstream import serving, upstream


async def _app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def url():
    with serving(LocalOnly(_app), lifespan="off") as running:
        yield running


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:8088"}, 200),
        ({"host": "[::1]:8088"}, 200),
        ({"origin": "http://localhost:3000"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "localhost@evil.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[oops"}, 403),
    ],
)
def test_only_this_machine_by_its_own_names(url, headers, status):
    assert httpx2.get(url, headers=headers).status_code == status


def test_the_command_keeps_web_pages_out(tmp_path):
    with upstream() as behind, Process(behind.url, f"sqlite:///{tmp_path}/persona.db", "--learning", "off") as process:
        body = {"headers": {"content-type": "text/plain", "origin": "https://evil.example"}, "content": b"{}"}
        refused = httpx2.post(f"{process.url}/v1/chat/completions", **body)
        assert (refused.status_code, refused.json()["error"]["type"]) == (403, "permission_error")
        assert httpx2.get(f"{process.url}/v1/personas/ann", headers={"host": "evil.example"}).status_code == 403
        assert behind.requests == []
