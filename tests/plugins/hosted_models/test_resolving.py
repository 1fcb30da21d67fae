"""Specifications of models behind a network. Nothing is asked of anybody but a port that nobody listens on."""

import sys

import pytest

from persona_sdk.errors import InputError, MissingExtraError, ModelError
from persona_sdk.hooks import PluginHost
from persona_sdk.settings import Settings

NOBODY = "http://127.0.0.1:9/v1"


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return PluginHost(Settings(), strict=True).registry


def test_urls(registry):
    pytest.importorskip("langchain_openai")
    with pytest.raises(ModelError, match=f"{NOBODY}: no server answers"):
        registry.chat_model(NOBODY)
    for url in (NOBODY, "https://127.0.0.1:9/v1"):
        model = registry.chat_model(f"{url}#mine")
        assert (model.model_name, model.openai_api_base) == ("mine", url)


def test_openai(registry, monkeypatch):
    pytest.importorskip("langchain_openai")
    with pytest.raises(ModelError, match="OPENAI_API_KEY"):
        registry.chat_model("openai:gpt-x")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert registry.chat_model("openai:gpt-x").model_name == "gpt-x"


@pytest.mark.parametrize("spec", ["gpt", "openai", "openai:", ":x", "groq:", ""])
def test_what_nobody_can_read(registry, spec):
    with pytest.raises(InputError, match="write local, provider:name"):
        registry.chat_model(spec)


def test_other_providers_are_langchains(registry, monkeypatch):
    pytest.importorskip("langchain")
    asked = []
    monkeypatch.setattr("langchain.chat_models.init_chat_model", asked.append)
    with pytest.raises(TypeError):  # what it returned is no chat model
        registry.chat_model("groq:llama:70b")
    assert asked == ["groq:llama:70b"]


@pytest.mark.parametrize(
    ("spec", "module", "named"),
    [
        (NOBODY, "langchain_openai", r"persona-sdk\[openai\]"),
        ("openai:x", "langchain_openai", r"persona-sdk\[openai\]"),
        ("groq:x", "langchain.chat_models", "pip install langchain langchain-groq"),
    ],
)
def test_missing_packages_are_named(registry, monkeypatch, spec, module, named):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=named):
        registry.chat_model(spec)
