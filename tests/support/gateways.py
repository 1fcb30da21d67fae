"""Gateways for tests: in this process, or in one of their own that can be killed."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx2
import psutil

from persona_integrations.server import GatewaySettings, create_app
from persona_sdk import Personalizer
from tests.support.upstream import serving

#: Kept: making one reads the machine's certificates anew.
_client = httpx2.Client(timeout=60)

__all__ = ["Process", "chat", "counted", "eventually", "gateway"]


@contextmanager
def gateway(upstream_url, database, *, personalizer=None, **settings):
    """Serve a gateway in a thread, without keys and without learning unless that is asked for; give its base URL."""
    told = GatewaySettings(upstream=upstream_url, **{"auth": "none", "learning": "off", **settings})
    own = personalizer or Personalizer(database, calls="memory", learning="manual")
    try:
        with serving(create_app(told, own)) as url:
            yield url
    finally:
        if personalizer is None:
            own.close()


class Process:
    """A gateway in processes of its own, started by its command."""

    def __init__(self, upstream_url, database, *options):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        command = [sys.executable, "-m", "persona_integrations.cli", "--db", database, "serve", "--auth", "none"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.url = f"http://127.0.0.1:{self.port}"
        self._process = subprocess.Popen(
            [*command, "--upstream", upstream_url, "--port", str(self.port), *options],
            env=environment,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a kill takes its workers along
        )

    def __enter__(self):
        for _ in range(600):
            try:
                if _client.get(f"{self.url}/healthz").status_code == 200:
                    return self
            except httpx2.TransportError:
                assert self._process.poll() is None, self._process.stderr.read().decode()
                time.sleep(0.05)
        raise RuntimeError("the gateway does not answer")

    def __exit__(self, *_):
        self.kill()
        self._process.stderr.close()

    def kill(self):
        """Kill everything at once, as a machine that loses power does."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def children(self):
        """The processes it started."""
        return psutil.Process(self._process.pid).children(recursive=True)

    def kill_first(self):
        """Kill the first process only."""
        self._process.kill()
        self._process.wait()

    def end(self):
        """Ask it to end, and wait until it did; return its exit code."""
        self._process.terminate()
        return self._process.wait(60)


def chat(url, text, user, client=_client, **more):
    """Ask something by plain HTTP; return the response."""
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "user": user, **more}
    return client.post(f"{url}/v1/chat/completions", json=body)


def counted(url, name, **labels):
    """Return the sum of a counter over all series that have these labels."""
    total = 0.0
    for line in _client.get(f"{url}/metrics").text.splitlines():
        found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if found and found[1] == name and all(f'{k}="{v}"' in (found[2] or "") for k, v in labels.items()):
            total += float(found[3])
    return total


def eventually(true, seconds=30.0):
    """Wait until something is so; return what it is then."""
    until = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.05)
    return found
