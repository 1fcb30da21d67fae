"""`persona mcp` as a host runs it: a process of its own that the official client talks to on its standard streams."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError

from persona_sdk.engine import Personalizer
from tests.integrations.mcp.talking import connected, done, refused, started, surroundings, text_at
from tests.support.interrupts import heed_ctrl_c

ODD = ["Grüße 😀 \u2028 \r\n \x00 \x1b[31m", '"quoted" \\ \\u0041', "\x7f\x85", "null", '["list"]', "a" * 90_000]


async def test_a_session_from_beginning_to_end(tmp_path: Path) -> None:
    async with Client(started(tmp_path, "--user", "ada", "--allow-forget")) as client:
        assert client.server_info.name == "persona"
        assert "Traits are claims" in client.instructions
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert "forget_person" in tools
        for number in range(5):
            about = {"prompt": f"Question {number}?", "rejected": "Well, it depends on many things. " * 4}
            await done(client, "record_preference", **about, chosen=f"Answer {number}.")
        await done(client, "record_rating", prompt="Hm?", answer="No.", score=-1)
        for text in ODD:
            await done(client, "record_statement", text=text)
        await done(client, "record_statement", text="I don't eat meat.")
        [meat] = [t for t in (await done(client, "get_persona"))["traits"] if t["said"]]
        conversation = [{"role": "user", "content": "Dinner?"}]
        assert "Does not eat meat." in (await done(client, "tailor_conversation", messages=conversation))["added"]
        assert (await done(client, "explain_answer", question="Dinner?"))["used"]
        assert (await done(client, "keep_trait", trait_id=meat["id"]))["rulings"]
        assert not (await done(client, "allow_trait", trait_id=meat["id"]))["rulings"]
        assert (await done(client, "pin_persona"))["pinned"]
        assert not (await done(client, "unpin_persona"))["pinned"]
        await done(client, "reject_trait", trait_id=meat["id"])
        assert "there is no trait" in await refused(client, "reject_trait", trait_id=meat["id"])
        assert "- rejected by them: Does not eat meat." in await text_at(client, "persona://me")
        assert json.loads(await text_at(client, "persona://me/signals.json"))["signals"] == 13
        assert (await client.get_prompt("personalise", {"question": "Hm?"})).messages
        with pytest.raises(MCPError, match="one person only"):
            await client.read_resource("persona://bob")
    with Personalizer(f"sqlite:///{tmp_path / 'persona.db'}") as personalizer:
        assert [s.text for s in personalizer.signals("ada")[6:]] == [*ODD, "I don't eat meat."]
        assert [v.ruling for v in personalizer.rulings("ada")] == ["rejected"]


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    first = ("sh", "-c", 'echo $$ > pid; exec "$@"', "sh")
    async with Client(started(tmp_path, first=first, tenant="hers"), mode="legacy") as client:
        assert "forget_person" not in {tool.name for tool in (await client.list_tools()).tools}

        async def record(worker: int) -> None:
            while True:
                try:
                    given = await done(client, "record_statement", user_id="ada", text=f"Remark of {worker}.")
                except MCPError:
                    return  # the server is gone
                acknowledged.append(given["signal_id"])
                if len(acknowledged) == 10:
                    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

        async with anyio.create_task_group() as group:
            for worker in range(8):
                group.start_soon(record, worker)
        with pytest.raises(MCPError):
            await client.list_tools()
    assert len(acknowledged) >= 10
    with Personalizer(f"sqlite:///{tmp_path / 'persona.db'}", tenant="hers", time_budget=30) as personalizer:
        assert set(acknowledged) <= {s.id for s in personalizer.signals("ada")}
        async with connected(personalizer, user="ada") as client:
            await done(client, "get_persona")
        assert personalizer.for_tenant("default").users() == []


def talk(folder: Path, lines: list[bytes], *options: str) -> tuple[list[Any], str]:
    """Write lines to a server, and return what came on its standard output, each line as JSON, and on its errors."""
    parameters = started(folder, *options)
    process = subprocess.Popen(
        [parameters.command, *parameters.args],
        cwd=folder,
        env={**os.environ, **surroundings()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    answers = []
    for line in lines:
        process.stdin.write(line + b"\n")
        process.stdin.flush()
        if b'"id"' in line:
            answers.append(json.loads(process.stdout.readline()))
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert rest == b""
    return answers, errors.decode()


def line(number: int, method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


def test_nothing_but_the_protocol_is_on_standard_output_and_nobodys_words_in_the_log(tmp_path: Path) -> None:
    secret = "zorblaxian meat"
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    answers, errors = talk(
        tmp_path,
        [
            line(1, "initialize", **hello),
            b'{"jsonrpc": "2.0", "method": "notifications/initialized"}',
            b"not json: " + secret.encode(),
            b"\xff\xfe",
            line(2, "tools/call", name="record_statement", arguments={"text": f"I don't eat {secret}."}),
            line(3, "tools/call", name="record_rating", arguments={"prompt": secret, "answer": secret, "score": 9}),
            line(4, "tools/call", name="record_statement", arguments=[secret]),
            line(5, "tools/call", name=secret, arguments={}),
            line(6, "resources/read", uri=f"persona://{secret}"),
            line(7, "prompts/get", name=secret),
            line(8, secret),
            line(9, "tools/call", name="get_persona", arguments={}),
        ],
        "--user",
        "ada",
    )
    assert [answer["id"] for answer in answers] == list(range(1, 10))
    assert all(answer["jsonrpc"] == "2.0" for answer in answers)
    assert secret in json.dumps(answers[-1]["result"]["structuredContent"])
    assert errors == ""


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    parameters = started(tmp_path)
    process = subprocess.Popen(
        [parameters.command, *parameters.args],
        cwd=tmp_path,
        env={**os.environ, **surroundings()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - it sets a signal's handler and nothing else
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(line(1, "ping") + b"\n")
    process.stdin.flush()
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == -signal.SIGINT
    process.stdin.close()
    assert process.stdout.read() == b""
    assert process.stderr
    assert process.stderr.read() == b""
