"""The registry, the host, and the observers it tells."""

import doctest
import inspect
import logging
import subprocess
import sys
import threading
import types

import pytest

from persona_sdk import hooks
from persona_sdk.errors import MissingExtraError, PluginConflictError, PluginTypeError, SettingsError
from persona_sdk.hooks import PluginHost, PluginStatus, Registry, hookimpl, specs
from persona_sdk.models import ChatCall, GateDecision, Tailored
from persona_sdk.scoring import Scorer
from persona_sdk.settings import Settings
from persona_sdk.signals import Utterance
from persona_sdk.tailoring import Tailor, TailorResult
from persona_sdk.testing import FakeMemory, make_persona
from persona_sdk.testing.memory_strategies import make_population

SETTINGS = Settings()


class Named(Tailor):
    def __init__(self, name="named"):
        self.name = name

    def tailor(self, call, context):
        return TailorResult(call, None)


class Utility(Scorer):
    name = "fake"

    def score(self, state, population, prompt, answers):
        return [0.0] * len(answers)


class Offers:
    """A plugin object that registers what it is told to."""

    def __init__(self, **tailors):
        self.tailors = tailors

    @hookimpl
    def persona_register(self, registry):
        for name, factory in self.tailors.items():
            registry.add_tailor(name, factory)


def a_host(*plugins, **options):
    return PluginHost(SETTINGS, extra=plugins, discover=False, **options)


def test_the_tutorial_works():
    result = doctest.testmod(hooks)
    assert result.attempted > 5
    assert result.failed == 0


def test_importing_the_hooks_is_light():
    heavy = "{'torch', 'transformers', 'langchain_core', 'sqlalchemy', 'pytest', 'chromadb'}"
    code = f"import sys, persona_sdk.hooks, persona_sdk.pipeline; print({heavy} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


# Registry


def test_each_kind_is_built_by_its_factory():
    class Plugin:
        @hookimpl
        def persona_register(self, registry):
            registry.add_memory("fake", lambda settings: FakeMemory())
            registry.add_scorer("fake", lambda settings: Utility())
            registry.add_tailor("named", lambda settings: Named())

    host = a_host(Plugin())
    assert isinstance(host.registry.memory("fake", SETTINGS), FakeMemory)
    assert isinstance(host.registry.scorer("fake", SETTINGS), Utility)
    assert isinstance(host.registry.tailor("named", SETTINGS), Named)
    assert host.statuses()[0].kinds == ("memory", "scorer", "tailor")


def test_a_product_is_built_once_for_its_settings():
    seen = []
    registry = Registry()
    registry.add_tailor("named", lambda settings: seen.append(settings.max_tokens) or Named())
    first = registry.tailor("named", SETTINGS)
    assert registry.tailor("named", Settings()) is first
    other = registry.tailor("named", Settings(max_tokens=50))
    assert other is not first
    assert seen == [120, 50]


def test_threads_that_ask_at_once_get_one_product():
    built, barrier, got = [], threading.Barrier(8), []
    registry = Registry()
    registry.add_tailor("named", lambda settings: built.append(1) or Named())

    def ask():
        barrier.wait()
        got.append(registry.tailor("named", SETTINGS))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert len(set(map(id, got))) == 1


def test_a_name_nobody_registered_lists_those_that_are():
    host = a_host(Offers(b=lambda settings: Named("b"), a=lambda settings: Named("a")), object())
    with pytest.raises(SettingsError) as failure:
        host.registry.tailor("c", SETTINGS)
    assert str(failure.value) == (
        "no tailor is named 'c'; known: a, b; plugin 'object' failed to load: it has no function marked with @hookimpl"
    )
    with pytest.raises(SettingsError, match="no memory is named 'c'; known: none"):
        host.registry.memory("c", SETTINGS)
    with pytest.raises(SettingsError, match="no inferrer is named 'c'; known: none"):
        host.registry.inferrer("c", SETTINGS)
    assert host.registry.scorer("c", SETTINGS) is None


def test_the_same_name_may_be_used_for_different_kinds():
    registry = Registry()
    registry.add_scorer("fake", lambda settings: Utility())
    registry.add_memory("fake", lambda settings: FakeMemory())
    assert registry.names("scorer") == registry.names("memory") == ["fake"]
    with pytest.raises(PluginConflictError):
        registry.add_memory("fake", lambda settings: FakeMemory())


@pytest.mark.parametrize(("name", "factory"), [("", Named), (" ", Named), (3, Named), ("a", Named()), ("a", None)])
def test_a_registration_takes_a_name_and_a_callable(name, factory):
    with pytest.raises(PluginTypeError, match="takes a name and a callable"):
        Registry().add_tailor(name, factory)


def test_a_product_must_call_itself_what_it_is_registered_as():
    host = a_host(Offers(one=lambda settings: Named("other")))
    with pytest.raises(PluginTypeError, match=r"tailor 'one': .*plugin 'Offers' returned one whose `name` is 'other'"):
        host.registry.tailor("one", SETTINGS)


def test_a_missing_extra_is_told_when_the_plugin_is_used():
    def factory(settings):
        raise MissingExtraError("install persona-sdk[chroma]", plugin="vectors")

    host = a_host(Offers(vectors=factory))
    assert host.statuses()[0].state == "loaded"
    for _ in range(2):
        with pytest.raises(MissingExtraError, match=r"install persona-sdk\[chroma\]") as failure:
            host.registry.tailor("vectors", SETTINGS)
    (note,) = failure.value.__notes__
    assert note.startswith("tailor 'vectors' could not be built by ")
    assert note.endswith("factory of plugin 'Offers' (objects passed in code)")


# Host


def test_what_is_passed_in_code_is_listed():
    module = types.ModuleType("my_package.my_plugin")
    module.__version__ = "3.1"
    module.persona_register = hookimpl(lambda registry: None, specname="persona_register")
    host = a_host(module, Offers(a=lambda settings: Named("a")), Offers(b=lambda settings: Named("b")))
    assert host.statuses() == [
        PluginStatus("my_plugin", "3.1", "objects passed in code"),
        PluginStatus("Offers", "", "objects passed in code", ("tailor",)),
        PluginStatus("Offers-2", "", "objects passed in code", ("tailor",)),
    ]
    assert host.registry.names("tailor") == ["a", "b"]


def test_an_object_passed_twice_is_loaded_once():
    plugin = Offers(a=lambda settings: Named("a"))
    assert len(a_host(plugin, plugin).statuses()) == 1


def test_bundled_plugins_come_in_by_their_entry_points():
    found = {status.name: status for status in PluginHost(SETTINGS).statuses()}
    assert found["prompt_prefix"].distribution == "persona-sdk"


def test_a_plugin_may_be_disabled_by_name(monkeypatch):
    monkeypatch.setenv("PERSONA_DISABLE_PLUGINS", "prompt_prefix, Offers")
    host = PluginHost(SETTINGS, extra=[Offers(a=Named)])
    states = {status.name: (status.state, status.reason) for status in host.statuses()}
    assert states["prompt_prefix"] == states["Offers"] == ("disabled", "named in PERSONA_DISABLE_PLUGINS")
    assert "prompt_prefix" not in host.registry.names("tailor")


def test_a_hook_of_a_later_version_may_be_optional():
    class Plugin:
        @hookimpl(optionalhook=True)
        def persona_on_something_new(self, what): ...

        @hookimpl
        def persona_on_forget(self, user_id): ...

    assert a_host(Plugin(), strict=True).statuses()[0].kinds == ("observer",)


def test_every_hook_is_documented_and_every_observer_has_its_method():
    documented = {name for name in vars(specs) if name.startswith("persona_")}
    assert len(documented) == 8
    for name in documented:
        assert inspect.getdoc(getattr(specs, name))
        if name != "persona_register":
            tell = getattr(PluginHost, name.removeprefix("persona_"))
            assert list(inspect.signature(tell).parameters)[1:] == list(
                inspect.signature(getattr(specs, name)).parameters
            )


# Observers

TAILORED = Tailored(
    call_id="c1", call=ChatCall(messages=(), user_id="ann"), gate=GateDecision(open=False, reason="nothing is known")
)
EVENTS = {
    "on_signal": {"signal": Utterance(user_id="ann", text="Hello")},
    "on_persona": {"persona": make_persona(), "accepted": True, "reason": "predicts better"},
    "on_population": {"population": make_population("default", "fake", 1)},
    "on_tailored": {"tailored": TAILORED},
    "on_answer": {"tailored": TAILORED, "answer": "Hi"},
    "on_skip": {"stage": "recall", "plugin": "sql_memory", "reason": "late"},
    "on_forget": {"tenant": "shop", "user_id": "ann"},
}


def an_observer(event, seen):
    """Return a plugin that asks for the arguments of one event, in reverse order."""
    arguments = list(reversed(EVENTS[event]))
    code = f"lambda {', '.join(arguments)}: seen.append(({', '.join(arguments)},))"
    plugin = types.SimpleNamespace()
    setattr(plugin, f"persona_{event}", hookimpl(eval(code, {"seen": seen})))
    return plugin


@pytest.mark.parametrize("event", EVENTS)
def test_an_observer_is_told(event):
    seen = []
    host = a_host(an_observer(event, seen), strict=True)
    getattr(host, event)(*EVENTS[event].values())
    getattr(host, event)(**EVENTS[event])
    assert seen == [tuple(reversed(EVENTS[event].values()))] * 2
    assert host.statuses()[0].kinds == ("observer",)


@pytest.mark.parametrize("event", EVENTS)
def test_nobody_needs_to_observe(event):
    getattr(a_host(), event)(**EVENTS[event])


def test_observers_are_told_in_the_order_pluggy_defines():
    seen = []

    def watch(who, **options):
        plugin = types.SimpleNamespace()
        plugin.persona_on_forget = hookimpl(lambda: seen.append(who), **options)
        return plugin

    a_host(watch("a"), watch("b"), watch("last", trylast=True), watch("first", tryfirst=True)).on_forget("t", "u")
    assert seen == ["first", "b", "a", "last"]


def test_a_plain_function_that_returns_a_coroutine_is_told_on(caplog):
    async def later(): ...

    plugin = types.SimpleNamespace(persona_on_forget=hookimpl(lambda: later()))  # noqa: PLW0108
    host = a_host(plugin, strict=True)
    host.on_forget("t", "u")
    assert caplog.messages == ["persona_on_forget of plugin 'SimpleNamespace' is async: it never ran"]


def test_an_observer_does_not_hide_a_keyboard_interrupt():
    def interrupted():
        raise KeyboardInterrupt

    host = a_host(types.SimpleNamespace(persona_on_forget=hookimpl(interrupted)))
    with pytest.raises(KeyboardInterrupt):
        host.on_forget("t", "u")


def test_skips_are_logged_even_when_nobody_observes(caplog):
    with caplog.at_level(logging.WARNING, logger="persona_sdk"):
        a_host().on_skip("tailor", "named", "raised ValueError at named:3")
    assert caplog.messages == ["tailor: plugin 'named' was skipped: raised ValueError at named:3"]
