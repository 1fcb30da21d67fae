"""The shop window: what it offers, what it loads, and what it says without LangChain."""

import subprocess
import sys

import pytest

import persona_integrations.langchain as window


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)


def test_all_is_sorted_and_every_name_is_there():
    assert window.__all__ == sorted(window.__all__)
    assert dir(window) == window.__all__
    for name in window.__all__:
        value = getattr(window, name)
        assert isinstance(value, str) if name == "CALL_ID" else value.__name__ == name


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="PersonaMidleware"):
        _ = window.PersonaMidleware


def test_importing_it_loads_nothing_of_langchain():
    done = run("import sys, persona_integrations.langchain; print('langchain_core' in sys.modules)")
    assert done.stdout.split() == ["False"], done.stderr


@pytest.mark.parametrize("missing", ["langchain", "langchain.agents.middleware"])
def test_without_langchain_the_middleware_says_what_to_install(missing):
    done = run(f"""
import sys
sys.modules[{missing!r}] = None
from persona_integrations.langchain import PersonaChatMessageHistory, PersonalizedChat, PersonaRetriever
from persona_sdk.errors import MissingExtraError
try:
    from persona_integrations.langchain import PersonaMiddleware
except MissingExtraError as error:
    print(error)
""")
    assert "pip install 'persona-sdk[langchain]'" in done.stdout, done.stderr
