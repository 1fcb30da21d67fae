"""A real Chroma server on this machine, for as long as a module's tests need it."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

CHROMA = str(Path(sys.executable).with_name("chroma"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class ChromaServer:
    """`chroma run`, which can be killed and started again on the same port."""

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_port(), None
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [CHROMA, "run", "--host", "127.0.0.1", "--port", str(self.port), "--path", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(300):
            try:
                httpx.get(f"{self.url}/api/v2/heartbeat", timeout=1)
                return self
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError("chroma run did not start in 30 s")

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = ChromaServer(tmp_path_factory.mktemp("served")).start()
    yield server
    server.kill()
