"""The fault policy, one row after the other: what goes wrong in a plugin, and what that does to a chat."""

import logging
import sys
import threading
import time

import pytest

from persona_sdk.errors import (
    MissingExtraError,
    PluginError,
    PluginOrderError,
    PluginTypeError,
)
from persona_sdk.hooks import PluginHost, hookimpl
from persona_sdk.models import ChatCall, Message, TailorStep
from persona_sdk.pipeline import Pipeline
from persona_sdk.settings import Settings
from persona_sdk.tailoring import Tailor, TailorResult
from persona_sdk.testing import make_context, make_trait

SECRET = "what Ann said in confidence"
SETTINGS = Settings()


class Broken(Tailor):
    name = "broken"

    def __init__(self, does, *, required=False):
        self.does, self.required = does, required

    def tailor(self, call, context):
        return self.does(call)


class Prefix(Tailor):
    name = "prefix"

    def tailor(self, call, context):
        return TailorResult(call.override(model="tailored"), TailorStep(tailor=self.name))


@pytest.fixture
def call():
    return ChatCall(messages=(Message(role="user", content=SECRET),), user_id="ann", tenant="shop")


def step(**changes):
    return TailorStep(tailor="broken", **changes)


def raises(call):
    raise KeyError(call.messages[0].content)


class Forever:
    """A tailor's work that never ends until the test does."""

    def __init__(self):
        self.end = threading.Event()

    def __call__(self, call):
        self.end.wait()


RAISES = {
    "exception": (raises, "raised KeyError at "),
    "exit": (lambda call: sys.exit(1), "raised SystemExit"),
    "missing extra": (lambda call: missing_extra(), "install persona-sdk[chroma]"),
    "empty message": (lambda call: empty_error(), "PluginError"),
    "too many tokens": (lambda call: TailorResult(call, step(tokens_added=9999)), "adds 9999 tokens, 120 are left"),
}
WRONG_TYPES = {
    "none": lambda call: None,
    "call only": lambda call: call,
    "plain tuple": lambda call: (call, step()),
    "no call": lambda call: TailorResult({"messages": []}, step()),
    "no step": lambda call: TailorResult(call, "done"),
    "other user": lambda call: TailorResult(call.override(user_id="bob"), step()),
    "other tenant": lambda call: TailorResult(call.override(tenant="other"), step()),
    "no messages": lambda call: TailorResult(call.override(messages=()), step()),
    "dicts": lambda call: TailorResult(call.override(messages=({"role": "user", "content": "x"},)), step()),
    "list": lambda call: TailorResult(call.override(messages=list(call.messages)), step()),
    "no answers": lambda call: TailorResult(call.override(n=0), step()),
    "n is text": lambda call: TailorResult(call.override(n="3"), step()),
}


def missing_extra():
    raise MissingExtraError("install persona-sdk[chroma]", plugin="broken")


def empty_error():
    raise PluginError("")


def tailor(tailors, call, host, *, seconds=60.0, strict=False):
    chain = Pipeline(tailors, host.on_skip, strict=strict)
    return chain.run(call, make_context(make_trait()), time.monotonic() + seconds)


class Watcher:
    def __init__(self):
        self.skips = []

    @hookimpl
    def persona_on_skip(self, reason, plugin, stage):
        self.skips.append((stage, plugin, reason))


@pytest.fixture
def watcher():
    return Watcher()


@pytest.fixture
def host(watcher):
    return PluginHost(SETTINGS, extra=[watcher], discover=False)


# Recall, tailor: exception, time budget spent


@pytest.mark.parametrize(("does", "reason"), RAISES.values(), ids=RAISES)
def test_a_tailor_that_fails_is_skipped(does, reason, call, host, watcher, caplog):
    new, steps = tailor([Broken(does), Prefix()], call, host)
    assert new == call.override(model="tailored")
    assert steps[0].skipped.startswith(reason)
    assert watcher.skips == [("tailor", "broken", steps[0].skipped)]
    assert "'broken' was skipped" in caplog.text
    assert SECRET not in caplog.text + steps[0].skipped


def test_a_tailor_that_is_late_is_skipped(call, host, watcher):
    forever = Forever()
    new, steps = tailor([Broken(forever), Prefix()], call, host, seconds=0.01)
    forever.end.set()
    assert new is call
    assert [s.skipped.startswith("took longer than the 0.0") for s in steps] == [True, True]
    assert [plugin for _, plugin, _ in watcher.skips] == ["broken", "prefix"]


@pytest.mark.parametrize("does", [raises, WRONG_TYPES["none"], RAISES["exit"][0]])
def test_a_required_tailor_that_fails_makes_the_call_fail(does, call, host, watcher):
    with pytest.raises(PluginError, match="required tailor 'broken' failed") as failure:
        tailor([Broken(does, required=True), Prefix()], call, host)
    assert failure.value.plugin == "broken"
    assert failure.value.__cause__ is not None
    assert SECRET not in str(failure.value)
    assert len(watcher.skips) == 1


def test_a_required_tailor_that_is_late_makes_the_call_fail(call, host, monkeypatch):
    monkeypatch.setattr("persona_sdk.pipeline.REQUIRED_SECONDS", 0.01)
    forever = Forever()
    with pytest.raises(PluginError, match="required tailor 'broken' failed: took longer"):
        tailor([Broken(forever, required=True)], call, host, seconds=-1)
    forever.end.set()


# Return value: wrong type


@pytest.mark.parametrize("does", WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_a_wrong_type_is_skipped_or_raised_when_strict(does, call, host, watcher):
    new, steps = tailor([Broken(does), Prefix()], call, host)
    assert new == call.override(model="tailored")
    assert steps[0].skipped.startswith("tailor() of tailor 'broken' must return ")
    assert watcher.skips == [("tailor", "broken", steps[0].skipped)]
    with pytest.raises(PluginTypeError, match=r"tailor\(\) of tailor 'broken' must return") as failure:
        tailor([Broken(does), Prefix()], call, host, strict=True)
    assert failure.value.plugin == "broken"


def test_a_call_that_came_without_messages_may_leave_without(call, host):
    new, steps = tailor([Prefix()], call.override(messages=()), host)
    assert new.model == "tailored"
    assert not steps[0].skipped


def test_a_factory_that_returns_the_wrong_type_raises_naming_both(host):
    class Plugin:
        @hookimpl
        def persona_register(self, registry):
            registry.add_tailor("broken", make_something_else)

    host = PluginHost(SETTINGS, extra=[Plugin()], discover=False)
    with pytest.raises(PluginTypeError, match=r"make_something_else of plugin 'Plugin' returned int, not a Tailor"):
        host.registry.tailor("broken", SETTINGS)


def make_something_else(settings):
    return 3


# Order: cycle, missing requirement


class Needs(Prefix):
    def __init__(self, name, after=(), requires=()):
        self.name, self.after, self.requires = name, after, requires


@pytest.mark.parametrize(
    ("tailors", "message"),
    [
        ([Needs("a", after=("b",)), Needs("b", requires=("c",)), Needs("c", after=("a",))], "a → b → c → a"),
        ([Needs("x", after=("a",)), Needs("a", after=("a",))], "wait for each other: a → a"),
        ([Needs("a", requires=("absent",))], "tailor 'a' requires 'absent', which is not configured"),
    ],
)
def test_impossible_orders_raise_at_construction(tailors, message):
    with pytest.raises(PluginOrderError, match=message):
        Pipeline(tailors, lambda *_: None)


# Observers


class Raises:
    def __init__(self, error):
        self.error = error

    @hookimpl
    def persona_on_skip(self, reason):
        raise self.error


@pytest.mark.parametrize("error", [KeyError(SECRET), SystemExit(SECRET)])
def test_an_observer_that_raises_is_logged_and_the_others_still_run(error, call, caplog):
    before, after = Watcher(), Watcher()
    host = PluginHost(SETTINGS, extra=[before, Raises(error), after], discover=False)
    with caplog.at_level(logging.ERROR):
        new, _ = tailor([Broken(raises), Prefix()], call, host)
    assert new.model == "tailored"
    assert len(before.skips) == len(after.skips) == 1
    (message,) = caplog.messages
    assert message.startswith(f"persona_on_skip of plugin 'Raises': raised {type(error).__name__} at ")
    assert SECRET not in caplog.text


def test_telling_about_a_fault_does_not_become_one(call, caplog):
    chain = Pipeline([Broken(raises), Prefix()], lambda *_: 1 / 0)
    new, _ = chain.run(call, make_context(), time.monotonic() + 60)
    assert new.model == "tailored"
    assert "on_skip raised ZeroDivisionError" in caplog.text
