"""`persona mcp --http`: on a loopback address only, for clients of this machine that are no web pages."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from mcp import Client

from persona_integrations.mcp import Address, loopback, transports
from persona_sdk.engine import Personalizer
from persona_sdk.errors import InputError
from tests.integrations.mcp.talking import done, refused, started, surroundings, text_at
from tests.support.interrupts import heed_ctrl_c


@contextmanager
def listening(folder: Path, *options: str) -> Iterator[str]:
    """Have a server listen, and give its URL; when it is interrupted it ends, and has said nothing else."""
    parameters = started(folder, *options)
    process = subprocess.Popen(
        [parameters.command, *parameters.args],
        cwd=folder,
        env={**os.environ, **surroundings()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - it sets a signal's handler and nothing else
    )
    assert process.stderr
    try:
        said = process.stderr.readline()
        assert said.startswith("persona: listening on http://"), said + process.stderr.read()
        yield said.split()[-1]
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert out == ""
        assert "zorblaxian" not in errors
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.wait()


async def test_clients_of_this_machine_are_served(tmp_path: Path) -> None:
    with listening(tmp_path, "--http", "127.0.0.1:0") as url:
        assert url.endswith("/mcp")
        async with Client(url) as modern, Client(url, mode="legacy") as legacy:
            await done(modern, "record_statement", user_id="ada", text="I don't eat zorblaxian meat.")
            persona = await done(legacy, "get_persona", user_id="ada")
            assert [t["statement"] for t in persona["traits"]] == ["Does not eat zorblaxian meat."]
            assert "zorblaxian" in await text_at(modern, "persona://ada")
            assert (await done(modern, "list_people"))["people"] == ["ada"]
            assert "there is no trait" in await refused(legacy, "reject_trait", user_id="ada", trait_id="x")
            assert len((await legacy.list_resources()).resources) == 1
        hello = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        json = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        for headers, status in (
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "http://localhost:3000"}, 403),
            ({"Host": "evil.example"}, 421),
            ({"Host": "evil.example:80"}, 421),
        ):
            answer = httpx2.post(url, json=hello, headers=json | headers)
            assert answer.status_code == status, headers
    with Personalizer(f"sqlite:///{tmp_path / 'persona.db'}") as personalizer:
        assert len(personalizer.signals("ada")) == 1


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8765", ("127.0.0.1", 8765)),
        ("127.8.8.8:1", ("127.8.8.8", 1)),
        ("localhost:0", ("127.0.0.1", 0)),
        ("LocalHost:65535", ("127.0.0.1", 65535)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_loopback_addresses_are_listened_on(text: str, address: tuple[str, int]) -> None:
    assert loopback(text) == Address(*address)


@pytest.mark.parametrize(
    "text",
    ["0.0.0.0:80", "[::]:80", ":80", "192.168.0.1:80", "[fe80::1]:80", "[::ffff:10.0.0.1]:80", "example.com:80",
     "localhost.example.com:80", "127.0.0.1.example.com:80", "[127.0.0.1%0]:80", "2130706433:80", "0x7f000001:80"],
)  # fmt: skip
def test_no_other_address_is(text: str) -> None:
    with pytest.raises(InputError, match=r"can be reached from other machines, and there is no authentication"):
        loopback(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "80",
        "127.0.0.1",
        "::1:80",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "[::1]80",
        "127.0.0.1:80/",
        "a:b:1",
        "127.0.0.1:٣",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not HOST:PORT"):
        loopback(text)


def test_urls_have_brackets_around_six() -> None:
    assert loopback("[::1]:80").netloc == "[::1]:80"
    assert loopback("127.0.0.1:80").netloc == "127.0.0.1:80"


def test_logs_have_no_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("asyncio", "mcp", "uvicorn")
    before = {name: (log := logging.getLogger(name), log.handlers, log.propagate, log.level) for name in names}
    try:
        transports._log_briefly()
        for name in names:
            try:
                raise ValueError("zorblaxian")
            except ValueError:
                logging.getLogger(f"{name}.inner").exception("it failed")
            logging.getLogger(name).info("nothing")
    finally:
        for log, handlers, propagate, level in before.values():
            log.handlers, log.propagate = handlers, propagate
            log.setLevel(level)
    assert capsys.readouterr().err == "persona: ERROR: it failed\n" * 3


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    parameters = started(folder, *options)
    return subprocess.run(
        [parameters.command, *parameters.args],
        cwd=folder,
        env={**os.environ, **surroundings()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_refuses_what_others_can_reach(tmp_path: Path) -> None:
    done_ = run(tmp_path, "--http", "0.0.0.0:0")
    assert done_.returncode == 1
    assert done_.stdout == ""
    assert done_.stderr.startswith("persona: --http: 0.0.0.0 can be reached from other machines")
    assert not (tmp_path / "persona.db").exists()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done_ = run(tmp_path, "--http", f"127.0.0.1:{port}")
    assert done_.returncode == 1
    assert done_.stderr.startswith(f"persona: --http: 127.0.0.1:{port} cannot be listened on (Address already in use)")
