"""The fault policy for plugins that cannot be loaded, and for names that are taken."""

import sys
from importlib import metadata

import pytest

from persona_sdk.errors import PluginConflictError, PluginLoadError
from persona_sdk.hooks import PluginHost, hookimpl
from persona_sdk.settings import Settings
from persona_sdk.tailoring import Tailor

SETTINGS = Settings()


class Prefix(Tailor):
    name = "prefix"

    def tailor(self, call, context):
        raise NotImplementedError


# Load: import error, unknown hook, wrong arguments


def missing_module():
    import a_module_that_does_not_exist  # noqa: F401


class Misspelt:
    @hookimpl
    def persona_on_anser(self, tailored, answer): ...


class WrongArgument:
    @hookimpl
    def persona_on_answer(self, tailored, anwser): ...


class WrongDefault:
    @hookimpl
    def persona_on_answer(self, tailored, text=""): ...


class AnyArguments:
    @hookimpl
    def persona_on_answer(self, **everything): ...


class Async:
    @hookimpl
    async def persona_on_answer(self, tailored, answer): ...


class Wrapper:
    @hookimpl(wrapper=True)
    def persona_on_answer(self, tailored):
        return (yield)


class Unmarked:
    def persona_on_answer(self, answer): ...


class NoHooks:
    pass


class RaisesInRegister:
    @hookimpl
    def persona_register(self, registry):
        registry.add_tailor("half", lambda settings: Prefix())
        raise ValueError("no licence")


class ExitsInRegister:
    @hookimpl
    def persona_register(self, registry):
        sys.exit("no licence")


class BadRegistration:
    @hookimpl
    def persona_register(self, registry):
        registry.add_tailor("prefix", Prefix())


class Fine:
    @hookimpl
    def persona_register(self, registry):
        registry.add_tailor("prefix", lambda settings: Prefix())


LOAD = {
    "import error": (missing_module, "ModuleNotFoundError: No module named 'a_module_that_does_not_exist'"),
    "exit on import": (lambda: sys.exit(1), "SystemExit: 1"),
    "misspelt hook": (Misspelt, "there is no hook 'persona_on_anser'; did you mean 'persona_on_answer'?"),
    "wrong argument": (WrongArgument, "no argument 'anwser'; did you mean 'answer'? (persona_on_answer takes tailored"),
    "wrong default": (WrongDefault, "there is no argument 'text' (persona_on_answer takes tailored, answer)"),
    "any arguments": (AnyArguments, "persona_on_answer takes **everything: name the arguments it wants of tailored"),
    "async": (Async, "persona_on_answer is async, and nothing would await it: write a plain function"),
    "wrapper": (Wrapper, "persona_on_answer has a yield"),
    "unmarked": (Unmarked, "persona_on_answer is not marked with @hookimpl"),
    "no hooks": (NoHooks, "it has no function marked with @hookimpl"),
    "class": (lambda: Fine, "Fine is a class; a plugin is a module or an instance"),
    "raises in register": (RaisesInRegister, "ValueError: no licence"),
    "exits in register": (ExitsInRegister, "SystemExit: no licence"),
    "bad registration": (BadRegistration, "add_tailor() of plugin 'broken' takes a name and a callable"),
}


class Entry:
    """An entry point, as far as the host looks."""

    def __init__(self, name, load):
        self.name, self.load = name, load


class Distribution:
    """An installed distribution, as far as the host looks."""

    version = "1.2"

    def __init__(self, name, *entries):
        self.metadata = {"Name": name}
        self.entries = entries

    def read_text(self, filename):
        return "[persona_sdk.plugins]"

    @property
    def entry_points(self):
        return self

    def select(self, group):
        assert group == "persona_sdk.plugins"
        return self.entries


class Unreadable(Distribution):
    @property
    def entry_points(self):
        raise ValueError("malformed")


@pytest.fixture
def install(monkeypatch):
    return lambda *found: monkeypatch.setattr(metadata, "distributions", lambda: iter(found))


@pytest.mark.parametrize(("load", "reason"), LOAD.values(), ids=LOAD)
def test_a_plugin_that_cannot_be_loaded_is_left_out(load, reason, install, caplog):
    install(Distribution("broken-dist", Entry("broken", load)), Distribution("fine-dist", Entry("fine", Fine)))
    host = PluginHost(SETTINGS)
    broken, fine = host.statuses()
    assert (broken.name, broken.distribution, broken.version) == ("broken", "broken-dist", "1.2")
    assert (broken.state, broken.kinds) == ("failed", ())
    assert reason in broken.reason
    assert (fine.state, fine.kinds) == ("loaded", ("tailor",))
    assert host.registry.names("tailor") == ["prefix"]
    assert "plugin 'broken' of broken-dist was not loaded" in caplog.text
    with pytest.raises(PluginLoadError, match="plugin 'broken' of broken-dist was not loaded") as failure:
        PluginHost(SETTINGS, strict=True)
    assert failure.value.__cause__ is not None
    with pytest.raises(PluginLoadError):
        PluginHost(Settings(strict_plugins=True))


def test_a_distribution_with_broken_metadata_does_not_hide_the_others(install):
    install(Unreadable("a"), Distribution("fine-dist", Entry("fine", Fine)))
    states = {status.name: status.state for status in PluginHost(SETTINGS).statuses()}
    assert states.pop("fine") == "loaded"
    assert list(states.values()) == ["failed"]


# Registration: name taken


def test_a_name_that_is_taken_raises_naming_both_distributions(install):
    install(Distribution("one-dist", Entry("one", Fine)), Distribution("two-dist", Entry("two", Fine)))
    with pytest.raises(PluginConflictError, match=r"tailor 'prefix' .*'one' of one-dist and plugin 'two' of two-dist"):
        PluginHost(SETTINGS)


def test_two_plugins_of_one_name_raise_naming_both_distributions(install):
    install(Distribution("one-dist", Entry("same", Fine)), Distribution("two-dist", Entry("same", Fine)))
    with pytest.raises(PluginConflictError, match="two plugins are named 'same': in one-dist and two-dist"):
        PluginHost(SETTINGS)


@pytest.mark.parametrize("named", ["two-dist", "other, two-dist"])
def test_a_conflict_is_solved_by_disabling_one(named, install, monkeypatch):
    install(Distribution("one-dist", Entry("same", Fine)), Distribution("two-dist", Entry("same", missing_module)))
    monkeypatch.setenv("PERSONA_DISABLE_PLUGINS", named)
    host = PluginHost(SETTINGS, strict=True)
    assert [(s.distribution, s.state) for s in host.statuses()] == [("one-dist", "loaded"), ("two-dist", "disabled")]


LOADS = (Fine, missing_module, Fine)


def test_a_name_is_free_when_the_other_of_that_name_is_not_loaded(install, monkeypatch):
    monkeypatch.setenv("PERSONA_DISABLE_PLUGINS", "a-dist")
    install(*(Distribution(f"{name}-dist", Entry("same", load)) for name, load in zip("abc", LOADS, strict=True)))
    assert [s.state for s in PluginHost(SETTINGS).statuses()] == ["disabled", "failed", "loaded"]


def test_the_first_of_two_copies_of_a_distribution_wins(install):
    install(Distribution("One.Dist", Entry("one", Fine)), Distribution("one_dist", Entry("one", missing_module)))
    assert [s.state for s in PluginHost(SETTINGS).statuses()] == ["loaded"]
