"""What the gateway adds to a chat call, beside the same server called directly, and beside the LiteLLM proxy.

LiteLLM is measured where its command is given (`--litellm`): it wants other versions of packages, so install it in an
environment of its own (`pip install 'litellm[proxy]'`). All servers run side by side on this machine and are asked in
turns, so that what disturbs one disturbs all.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import Figure, arguments, percentile, report, say

from persona_sdk import Personalizer

HERE = Path(__file__).parent
QUESTION = "Which hotel shall I book for the weekend in Lisbon?"
SYSTEM = "You help people to travel."
USERS = 50


@dataclass
class Sizes:
    """How much is asked: rounds of requests one after the other, and how many side by side."""

    rounds: int
    each: int
    many: int
    at_once: int = 32


FULL, QUICK = Sizes(rounds=20, each=50, many=3000), Sizes(rounds=4, each=25, many=400)


@dataclass
class Server:
    """One way to the model, by its port; `user` says whether requests name somebody."""

    name: str
    port: int
    user: bool = False
    learns: bool = True


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, **env: str) -> Iterator[None]:
    with subprocess.Popen(
        command, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as it:
        try:
            for _ in range(600):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if it.poll() is not None:
                        sys.exit(f"{command[0]} did not start")
                    time.sleep(0.1)
            else:
                sys.exit(f"{command[0]} does not answer")
            yield
        finally:
            it.terminate()


class Connection:
    """A connection that is kept, and the least that HTTP needs: the client must not be what is measured."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._asked = 0

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._server.port)

    async def ask(self, number: int, *, stream: bool) -> tuple[float, float]:
        """Return the seconds to the first byte of the answer's body, and to its last."""
        asked = f"{QUESTION} ({number})"
        body = {
            "model": "bench",
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked}],
        }
        if self._server.user:
            body["user"] = f"user {number % USERS}"
        if stream:
            body["stream"] = True
        data = json.dumps(body).encode()
        extra = "" if self._server.learns else "X-Persona: no-learn\r\n"
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-bench\r\n{extra}"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        began = time.perf_counter()
        self._writer.write(head.encode() + data)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in answer.split(b"\r\n", 1)[0]:
            raise RuntimeError(answer.decode() + (await self._reader.read(2000)).decode())
        lower = answer.lower()
        if b"content-length:" in lower:
            length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
            await self._reader.readexactly(length)
            return time.perf_counter() - began, time.perf_counter() - began
        first = 0.0
        while True:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            await self._reader.readexactly(size + 2)
            first = first or time.perf_counter() - began
            if size == 0:
                return first, time.perf_counter() - began

    def close(self) -> None:
        self._writer.close()


async def one_after_the_other(
    servers: list[Server], sizes: Sizes, *, stream: bool
) -> dict[str, list[tuple[float, float]]]:
    connections = {server.name: Connection(server) for server in servers}
    for connection in connections.values():
        await connection.open()
        for number in range(10):
            await connection.ask(number, stream=stream)
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in connections}
    for turn in range(sizes.rounds):
        for name, connection in connections.items():
            for number in range(sizes.each // 5 if stream else sizes.each):
                took[name].append(await connection.ask(turn * sizes.each + number, stream=stream))
    for connection in connections.values():
        connection.close()
    return took


async def side_by_side(server: Server, sizes: Sizes) -> float:
    """Return requests answered per second."""
    numbers = iter(range(sizes.many))

    async def work() -> None:
        connection = Connection(server)
        await connection.open()
        for number in numbers:
            await connection.ask(number, stream=False)
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(sizes.at_once)))
    return sizes.many / (time.perf_counter() - began)


def know_people(url: str) -> None:
    """Learn a persona for everybody who asks."""
    with Personalizer(url, learning="manual") as personalizer:
        for number in range(USERS):
            for turn in range(8):
                personalizer.prefer(
                    f"user {number}",
                    prompt=f"Question {turn}?",
                    chosen="Yes, at noon.",
                    rejected="That depends on a number of things which I would like to explain to you one by one.",
                )
        personalizer.learn_pending()


def start(stack: ExitStack, folder: Path, litellm: str | None) -> list[Server]:
    """Start everything, and return the ways to ask."""
    upstream, gateway = free_port(), free_port()
    stack.enter_context(running([sys.executable, str(HERE / "gateway_upstream.py"), str(upstream)], upstream))
    url = f"http://127.0.0.1:{upstream}/v1"
    database = f"sqlite:///{folder}/persona.db"
    know_people(database)
    command = [sys.executable, "-m", "persona_integrations.cli", "--db", database, "serve", "--auth", "none"]
    stack.enter_context(running([*command, "--upstream", url, "--port", str(gateway)], gateway))
    servers = [
        Server("the server itself", upstream),
        Server("gateway, nobody named", gateway),
        Server("gateway, tailored", gateway, user=True, learns=False),
        Server("gateway, tailored and learning", gateway, user=True),
    ]
    if litellm:
        port, config = free_port(), folder / "litellm.yaml"
        model = {"model_name": "bench", "litellm_params": {"model": "openai/bench", "api_base": url, "api_key": "sk-x"}}
        config.write_text(json.dumps({"model_list": [model]}))
        command = [litellm, "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
        # It is asked without keys, as the gateway is.
        stack.enter_context(running(command, port, LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY="true"))
        time.sleep(3)
        servers.append(Server("LiteLLM proxy", port))
    return servers


def figures(
    servers: list[Server], whole: dict[str, list[tuple[float, float]]], streams: dict[str, list[tuple[float, float]]]
) -> Iterator[Figure]:
    base = servers[0].name
    for what, took, place in (("whole answer", whole, 1), ("first event", streams, 0), ("last event", streams, 1)):
        for share in (0.5, 0.99):
            direct = percentile([t[place] for t in took[base]], share) * 1000
            for server in servers[1:]:
                added = percentile([t[place] for t in took[server.name]], share) * 1000 - direct
                aim = 3.0 if share == 0.5 and server.name != "LiteLLM proxy" else None
                yield Figure(
                    f"{server.name}: {what}, p{share * 100:.0f} added",
                    added,
                    "ms",
                    "the server itself",
                    direct,
                    at_most=aim,
                )


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--litellm", metavar="COMMAND", default=shutil.which("litellm"), help="LiteLLM's command")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = start(stack, Path(folder), options.litellm)
        if not options.litellm:
            say("LiteLLM is not measured: name its command with --litellm")
        whole = asyncio.run(one_after_the_other(servers, sizes, stream=False))
        streams = asyncio.run(one_after_the_other(servers, sizes, stream=True))
        rates = {server.name: asyncio.run(side_by_side(server, sizes)) for server in servers}
    found = list(figures(servers, whole, streams))
    beside = "LiteLLM proxy" if "LiteLLM proxy" in rates else servers[0].name
    for server in servers[:-1] if options.litellm else servers[1:]:
        least = 1.0 if options.litellm and server.name != servers[0].name else None
        rate = rates[server.name]
        at_least = least and rates[beside]
        found.append(
            Figure(
                f"{server.name}: {sizes.at_once} at once", rate, "requests/s", beside, rates[beside], at_least=at_least
            )
        )
    report("What the gateway adds to a chat call", found, [], options.json)


if __name__ == "__main__":
    main()
