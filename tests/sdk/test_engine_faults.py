"""What goes wrong in memory, in plugins and in settings, and what that does to a chat."""

import threading

import pytest

from persona_sdk import Personalizer, Settings
from persona_sdk.errors import (
    InputError,
    PluginConflictError,
    PluginError,
    PluginLoadError,
    SettingsError,
    StorageError,
)
from persona_sdk.hooks import hookimpl
from persona_sdk.testing import FakeMemory
from tests.support.people import Believes, InCode, Stamp, chooses

SECRET = "what Ann said in confidence"
LONG = 60.0
STAMP = {"role": "system", "content": "stamp"}
QUESTION = {"role": "user", "content": SECRET}


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'persona.db'}"


class Unwell(FakeMemory):
    """A memory in which `current` does what the test says."""

    name = "unwell"

    def __init__(self, does):
        super().__init__()
        self.does = does

    def current(self, tenant, user_id):
        return self.does()


def made(plugin, **given):
    given = {"learning": "manual", "inferrer": "believes", **given}
    plugin.inferrer = plugin.inferrer or Believes()
    return Personalizer(plugins=[plugin], **given)


def raises(error):
    raise error


# Recall


@pytest.mark.parametrize(
    "error", [StorageError(f"no disk for {SECRET}"), KeyError(SECRET), SystemExit(1), RecursionError()], ids=repr
)
def test_a_memory_that_fails_does_not_stop_a_chat(error, caplog):
    plugin = InCode(memory=Unwell(lambda: raises(error)))
    with made(plugin, memory="unwell", time_budget=30) as p:
        tailored = p.tailor("ann", [QUESTION])
        assert tailored.messages == [QUESTION]
        assert not tailored.changed
        assert tailored.gate.reason.startswith("memory could not be read: ")
        assert [(stage, name) for stage, name, _ in plugin.skips] == [("recall", "unwell")]
        assert p.choose(tailored, ["a", "b"]) == 0
    if not isinstance(error, StorageError):  # its words are the SDK's own
        assert SECRET not in caplog.text + tailored.gate.reason


def test_a_memory_that_hangs_does_not_stop_a_chat():
    end, before = threading.Event(), threading.active_count()
    plugin = InCode(memory=Unwell(lambda: end.wait(LONG)))
    try:
        with made(plugin, memory="unwell", time_budget=0.02) as p:
            for _ in range(6):  # more often than hung reads may pile up
                tailored = p.tailor("ann", [QUESTION])
                assert tailored.messages == [QUESTION]
                assert not tailored.gate.open
            assert len(plugin.skips) == 6
            assert {(stage, name) for stage, name, _ in plugin.skips} == {("recall", "unwell")}
            assert threading.active_count() < before + 15
    finally:
        end.set()


def test_a_memory_that_returns_nonsense_does_not_stop_a_chat():
    plugin = InCode(memory=Unwell(lambda: "a persona"))
    with made(plugin, memory="unwell", time_budget=30) as p:
        assert p.tailor("ann", [QUESTION]).messages == [QUESTION]
        assert len(plugin.skips) == 1


def test_writing_to_a_memory_that_fails_is_an_error():
    class Full(FakeMemory):
        name = "full"

        def append(self, signals):
            raise StorageError("no room")

    plugin = InCode(memory=Full())
    with made(plugin, memory="full") as p, pytest.raises(StorageError, match="no room"):
        p.said("ann", "Hello")
    assert plugin.signals == []  # nothing was stored, so nobody is told


# Tailors


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize("user", ["ann", "nobody"])
def test_a_required_tailor_runs_even_when_the_gate_is_closed(url, required, user):
    plugin = InCode(tailors=[Stamp(required=required)])
    with made(plugin, database_url=url, tailors=("stamp",), time_budget=30) as p:
        p.said("ann", "Likes rain.")
        p.learn("ann")
        tailored = p.tailor(user, [QUESTION])
        assert tailored.gate.open == (user == "ann")
        assert tailored.messages == ([STAMP, QUESTION] if required or user == "ann" else [QUESTION])


def test_a_required_tailor_runs_when_memory_fails():
    plugin = InCode(memory=Unwell(lambda: raises(StorageError("no disk"))), tailors=[Stamp(required=True)])
    with made(plugin, memory="unwell", tailors=("stamp",), time_budget=30) as p:
        assert p.tailor("ann", [QUESTION]).messages == [STAMP, QUESTION]


@pytest.mark.parametrize("user", ["ann", "nobody"])
def test_a_required_tailor_that_fails_makes_the_call_fail(url, user):
    plugin = InCode(tailors=[Stamp(required=True, failing=True)])
    with made(plugin, database_url=url, tailors=("stamp",), time_budget=30) as p:
        p.said("ann", "Likes rain.")
        p.learn("ann")
        with pytest.raises(PluginError, match="required tailor 'stamp' failed") as caught:
            p.tailor(user, [QUESTION])
        assert SECRET not in str(caught.value)


def test_another_tailor_that_fails_is_left_out(url):
    plugin = InCode(tailors=[Stamp(failing=True)])
    with made(plugin, database_url=url, tailors=("stamp", "prompt_prefix"), time_budget=30) as p:
        p.said("ann", "Likes rain.")
        p.learn("ann")
        tailored = p.tailor("ann", [QUESTION])
        assert "Likes rain." in tailored.messages[0]["content"]
        assert tailored.steps[0].skipped
        assert plugin.skips[0][:2] == ("tailor", "stamp")
        assert SECRET not in plugin.skips[0][2]


# Being forgotten at a bad moment


def test_who_is_forgotten_while_the_background_learns_does_not_come_back(url, caplog):
    inside, go_on = threading.Event(), threading.Event()

    def before(request):
        inside.set()
        assert go_on.wait(LONG)

    plugin = InCode(inferrer=Believes(before))
    with made(plugin, database_url=url, learning="background") as p:
        p.said("ann", SECRET)
        assert inside.wait(LONG)
        p.forget("ann")
        go_on.set()
        assert p.flush(LONG)
        assert (p.versions("ann"), p.users()) == ([], [])
        assert plugin.personas == []
        assert not p.tailor("ann", "Why?").gate.open
        assert caplog.records == []  # being forgotten is no failure


def test_an_inferrer_that_crashes_does_not_stop_learning(url, caplog):
    inferrer = Believes(lambda request: request.user_id == "ann" and raises(KeyError(SECRET)))
    with made(InCode(inferrer=inferrer), database_url=url, learning="background") as p:
        p.said("ann", "Likes rain.")
        p.said("bob", "Likes snow.")
        assert p.flush(LONG)
        assert [t.statement for t in p.persona("bob").traits] == ["Likes snow."]
        assert p.tailor("ann", [QUESTION]).messages == [QUESTION]
        with pytest.raises(KeyError):
            p.learn("ann")
        inferrer.before = lambda request: None
        assert p.learn_pending() == 1
    assert "KeyError" in caplog.text
    assert SECRET not in caplog.text


# Plugins


def test_two_plugins_that_claim_one_name_conflict():
    with pytest.raises(PluginConflictError, match="stamp"):
        Personalizer("sqlite://", plugins=[InCode(tailors=[Stamp()]), InCode(tailors=[Stamp()])])
    stamp = Stamp()
    stamp.name = "prompt_prefix"
    with pytest.raises(PluginConflictError, match="prompt_prefix"):
        Personalizer("sqlite://", plugins=[InCode(tailors=[stamp])])


class Broken:
    @hookimpl
    def persona_register(self, registry):
        raise ValueError("broken")


def test_a_broken_plugin_is_listed_and_left_out():
    with Personalizer("sqlite://", plugins=[Broken()]) as p:
        (status,) = [s for s in p.plugins() if s.state != "loaded"]
        assert (status.name, status.state) == ("Broken", "failed")
        assert {"sql_memory", "contrastive", "prompt_prefix"} <= {s.name for s in p.plugins()}
    with pytest.raises(PluginLoadError):
        Personalizer("sqlite://", plugins=[Broken()], strict_plugins=True)


def test_an_observer_that_raises_changes_nothing(url):
    class Nosy:
        @hookimpl
        def persona_on_signal(self, signal):
            raise KeyError(signal.text)

        @hookimpl
        def persona_on_tailored(self, tailored):
            raise SystemExit

    with Personalizer(url, plugins=[Nosy()], learning="manual") as p:
        p.said("ann", SECRET)
        assert p.tailor("ann", [QUESTION]).messages == [QUESTION]


# Settings


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"unheard_of": 1}, "unheard_of"),
        ({"max_tokens": 1}, "max_tokens"),
        ({"time_budget": 0}, "time_budget"),
        ({"learning": "never"}, "learning"),
        ({"tenant": 5}, "tenant"),
        ({"memory": "unheard-of"}, "unheard-of"),
        ({"inferrer": "unheard-of"}, "unheard-of"),
        ({"tailors": ("unheard-of",)}, "unheard-of"),
        ({"database_url": "no url"}, "database_url"),
        ({"options": {"best_of_n": {"n": 1}}, "tailors": ("best_of_n",)}, "best_of_n"),
        ({"options": {"sql_memory": {"unheard_of": 1}}}, "unheard_of"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(url, given, named):
    with pytest.raises(SettingsError, match=named):
        Personalizer(**{"database_url": url, **given})


def test_settings_come_from_the_environment(monkeypatch, url, tmp_path):
    values = {"database_url": url, "tenant": "shop", "tailors": "prompt_prefix,best_of_n", "max_tokens": "64"}
    for name, value in {**values, "learning": "manual", "strict_plugins": "true", "options": "ignored"}.items():
        monkeypatch.setenv(f"PERSONA_{name.upper()}", value)
    read = Settings.load()
    assert (read.tenant, read.tailors, read.max_tokens) == ("shop", ("prompt_prefix", "best_of_n"), 64)
    assert (read.learning, read.strict_plugins, dict(read.options)) == ("manual", True, {})
    assert Settings.load(tenant="given", max_tokens=None).tenant == "given"  # what is given comes first
    with Personalizer() as p:
        assert p.tenant == "shop"
        chooses(p, "ada", count=1)
    assert (tmp_path / "persona.db").exists()
    monkeypatch.setenv("PERSONA_MAX_TOKENS", "many")
    with pytest.raises(SettingsError, match="max_tokens"):
        Settings.load()


def test_a_password_does_not_show():
    settings = Settings(database_url="postgresql://ann:hunter2@host/db")
    assert "hunter2" not in repr(settings) + str(settings)
    for url in ("nonsense://ann:hunter2@host/db", "hunter2"):
        with pytest.raises(SettingsError) as caught:
            Personalizer(url)
        assert "hunter2" not in str(caught.value)


def test_after_closing(url):
    p = Personalizer(url)
    p.close()
    p.close()
    assert p.tailor("ann", [QUESTION]).messages == [QUESTION]
    with pytest.raises(StorageError):
        p.said("ann", "Hello")
    with pytest.raises(InputError):
        p.tailor("ann", [{}])


# Forgetting


def test_what_a_tailor_could_not_erase_is_told_when_all_else_is_erased(url):
    class Keeps(Stamp):
        def __init__(self, name, error=None):
            super().__init__()
            self.name, self.error, self.forgot = name, error, []

        def forget(self, tenant, user_id):
            self.forgot.append(user_id)
            if self.error:
                raise self.error

    first, second = Keeps("first", KeyError(SECRET)), Keeps("second")
    third = Keeps("third", StorageError("registry.db: another process writes to it; try again"))
    tailors = [first, second, third]
    plugin = InCode(tailors=tailors)
    with made(plugin, database_url=url, tailors=("first", "second", "third")) as p:
        p.said("ann", "Likes rain.")
        says = r"erased from memory, but .* first \(.*KeyError.*third \(.*try again"
        with pytest.raises(StorageError, match=says) as failed:
            p.forget("ann")
        assert SECRET not in str(failed.value)
        assert "forget them again" in str(failed.value)
        assert p.users() == []
        assert [one.forgot for one in tailors] == [["ann"]] * 3
        first.error = third.error = None
        assert p.forget("ann").signals == 0
