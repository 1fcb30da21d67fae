"""`persona chat --model tuned:DIR`: the person's own adapter answers, and what is missing is told at the start."""

import pytest

from persona_sdk.tuning.adapters import Adapters
from persona_sdk.tuning.assignments import Assignment
from tests.integrations.cli.conftest import call
from tests.support.adapters import card_of, lora
from tests.support.tiny import tiny_base

pytest.importorskip("torch", reason="`make test` installs it")


@pytest.fixture
def chat(tmp_path, monkeypatch):
    """Which adapters a real model answered with; the base is found by a name given here."""
    from persona_integrations.cli import models
    from persona_plugins.lora.chat import TunedChat
    from tests.plugins.lora import made

    base, adapters = tiny_base(tmp_path / "base"), Adapters(tmp_path / "tuned")
    made.add(adapters, base, "shared", 0, like={"prefix": "persona"})
    adapters.assign("default", "ann", Assignment(adapter="shared", rung="shared", choices=6, gain=0.1))
    adapters.assign("default", "bob", Assignment(choices=6))
    asked = []

    class Told(TunedChat):
        def _named(self, model):
            asked.append(model)
            return super()._named(model)

    def chat_model(spec):
        provider, _, where = spec.partition(":")
        assert provider == "tuned"
        return Told(where or "adapters", base=str(base), max_tokens=4)

    monkeypatch.setattr(models, "chat_model", chat_model)
    return asked


@pytest.mark.parametrize("tailors", [None, "lora,prompt_prefix"])
@pytest.mark.parametrize("user", ["ann", "bob", "cy"])
def test_the_adapter_of_the_person_answers(chat, user, tailors, monkeypatch):
    if tailors:
        monkeypatch.setenv("PERSONA_TAILORS", tailors)
    shown = call("chat", user, "--model", "tuned:tuned", text="How do I descale a kettle?\n/why\n")
    assert shown.exit_code == 0, shown.output
    first = shown.stdout.splitlines()[0]
    if user == "ann":
        assert first.startswith("The adapter shared answers: shared adapter shared predicts their 6 held-out choices")
    elif user == "bob":
        assert first.startswith("The base model answers: prefix only: no adapter was found")
    else:
        assert first.startswith("The base model answers: nobody was given an adapter yet; `persona tune choose`")
    assert chat[-1] == ("shared" if user == "ann" else None)
    assert "the model failed" not in shown.stderr


def test_a_folder_without_adapters_is_told_before_anything_is_loaded(chat, tmp_path):
    for spec in ("tuned", "tuned:adapters"):
        failed = call("chat", "ann", "--model", spec, text="Hello\n")
        assert failed.exit_code == 1
        assert "there are no adapters in adapters: name another folder, --model tuned:DIR" in failed.stderr
    assert not (tmp_path / "persona.db").exists()


def test_a_missing_base_is_told_at_the_start(tmp_path):
    Adapters(tmp_path / "adapters").add(lora(tmp_path / "made"), card_of("shared", "ab", base="nowhere"))
    failed = call("chat", "ann", "--model", "tuned", text="Hello\n")
    assert (failed.exit_code, "You are ann" in failed.stdout) == (1, False)
    assert "nowhere" in failed.stderr
