"""Personalising is late, or broken: the chat goes on as it came, within the time it may take, and is counted."""

import json
import sqlite3
import threading
from contextlib import contextmanager

import openai
import pytest

from persona_integrations.server import recorder
from persona_sdk.engine import Personalizer
from persona_sdk.errors import StorageBusyError, StorageError
from persona_sdk.models import Message, TailorStep
from persona_sdk.tailoring import TailorResult
from persona_sdk.testing import FakeMemory
from tests.integrations.server.running import PATIENT, asks, running, until
from tests.support.people import InCode
from tests.support.steps import Step

SECRET = "what they said in confidence"
CHAT = "/v1/chat/completions"


class Unwell(FakeMemory):
    """A memory that does what a test says before it does what it is asked to; `asked` names its methods."""

    name = "unwell"

    def __init__(self, does, *asked):
        super().__init__()
        self.does, self.asked = does, asked

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if name in ("does", "asked") or name not in self.asked:
            return found

        def first(*args, **named):
            self.does()
            return found(*args, **named)

        return first


@contextmanager
def before(up, plugin, settings=(), **options):
    """Run a gateway with a plugin of a test's own."""
    told = {"calls": "memory", "learning": "manual", "time_budget": PATIENT, **options}
    with Personalizer(plugins=[plugin], **told) as personalizer, running(up, personalizer, **dict(settings)) as one:
        yield one


def unwell(up, does, *asked, settings=(), **options):
    return before(up, InCode(memory=Unwell(does, *asked)), settings, memory="unwell", **options)


def tailored_by(up, *tailors, settings=(), **options):
    return before(up, InCode(tailors=tailors), settings, tailors=[t.name for t in tailors], **options)


def raising(error):
    def does(*_):
        raise error

    return does


@pytest.fixture
def stuck():
    """What hangs until the test is over, or it says otherwise."""
    release = threading.Event()
    yield release
    release.set()


# Memory


@pytest.mark.parametrize("error", [StorageError("no disk"), KeyError(SECRET), RecursionError()], ids=repr)
def test_a_memory_that_cannot_be_read_stops_no_chat(up, error, caplog):
    with unwell(up, raising(error), "current") as gateway:
        for stream in (False, True):
            assert gateway.chat(SECRET, user="bob", stream=stream).status_code == 200
            assert up.requests[-1].json == asks(SECRET, user="bob", stream=stream)
        assert gateway.metric("personal_total", outcome="failed") == 2
    assert SECRET not in caplog.text


def test_a_memory_that_hangs_is_waited_for_no_longer_than_the_budget(up, stuck):
    with unwell(up, stuck.wait, "current", time_budget=0.05) as gateway:
        for _ in range(6):
            assert gateway.chat(user="bob").status_code == 200
        assert gateway.metric("personal_total", outcome="failed") == 6
    with unwell(up, stuck.wait, "current", settings={"personal_timeout": 0.05}) as gateway:
        for _ in range(3):
            assert gateway.chat(user="bob").status_code == 200
        assert gateway.metric("personal_total", outcome="late") == 3
        stuck.set()
    assert {r.body for r in up.requests} == {up.requests[0].body}


def test_a_memory_that_hangs_while_it_writes_holds_nobody_up(up, stuck):
    """And nothing is lost, once it goes on."""
    with unwell(up, stuck.wait, "append", settings={"queue": 2}) as gateway:
        answers = [gateway.chat(f"Question {n}?", user="bob") for n in range(12)]
        assert [a.status_code for a in answers] == [200] * 12
        until(lambda: gateway.metric("queued") == 2)
        stuck.set()
        gateway.recorded("answer", least=12)
        assert {s.text for s in gateway.signals("bob")} == {f"Question {n}?" for n in range(12)}
        given = gateway.http.post("/v1/feedback", json={"response_id": answers[0].json()["id"], "thumb": "up"})
        assert given.status_code == 201


def test_a_memory_that_is_busy_is_asked_again(up, monkeypatch):
    monkeypatch.setattr(recorder, "_PAUSE", 0.0)
    times = iter(range(5))

    def busy():
        if next(times, None) is not None:
            raise StorageBusyError("locked")

    with unwell(up, busy, "append") as gateway:
        gateway.chat("I like tea.", user="bob")
        gateway.recorded("notice")
        assert [s.text for s in gateway.signals("bob")] == ["I like tea."]
        assert gateway.metric("records_total", outcome="failed", what="notice") == 0


def test_a_memory_that_cannot_write_is_counted_and_told_of(up, caplog):
    with unwell(up, raising(StorageError("no room")), "append", "keep_call") as gateway:
        answer = gateway.chat(SECRET, user="bob")
        assert answer.status_code == 200
        until(lambda: gateway.metric("records_total", outcome="failed", what="notice") == 1)
        given = gateway.http.post("/v1/feedback", json={"response_id": answer.json()["id"], "thumb": "up"})
        assert (given.status_code, given.headers["retry-after"]) == (503, "5")
        assert given.json()["error"]["type"] == "gateway_error"
    assert "could not be recorded: no room" in caplog.text
    assert SECRET not in caplog.text


def test_health_tells_of_memory_and_waits_for_it_no_longer_than_it_should(up, stuck, monkeypatch):
    with unwell(up, raising(StorageError("no disk")), "pending") as gateway:
        assert gateway.http.get("/healthz").json() == {"status": "ok", "memory": "failing"}
    with unwell(up, stuck.wait, "pending", settings={"auth": "keys", "personal_timeout": 0.05}) as gateway:
        for _ in range(40):  # more than there are threads
            assert gateway.http.get("/healthz").json() == {"status": "ok", "memory": "failing"}
        assert gateway.caller(gateway.key()).post(CHAT, json=asks()).status_code == 200


def test_who_owns_an_answer_is_written_beside_it(known, up, folder):
    with running(up, known, auth="keys") as gateway:
        caller = gateway.caller(gateway.key())
        first = caller.post("/v1/responses", json={"model": "m", "input": "x"})
        held = sqlite3.connect(folder / "persona.db", isolation_level=None)
        held.execute("BEGIN IMMEDIATE")  # nobody else can write
        second = caller.post("/v1/responses", json={"model": "m", "input": "x"}, timeout=3)
        for answer in (first, second):
            asked = {"model": "m", "input": "x", "previous_response_id": answer.json()["id"]}
            assert caller.post("/v1/responses", json=asked, timeout=3).status_code == 200
        held.execute("ROLLBACK")
        held.close()


# Tailors


@pytest.mark.parametrize(
    "does",
    [raising(ValueError(SECRET)), raising(SystemExit(1)), lambda call, context: None, lambda call, context: SECRET],
)
def test_a_tailor_that_fails_is_left_out(up, does, caplog):
    with tailored_by(up, Step("odd", does=does)) as gateway:
        gateway.personalizer.said("bob", "I like tea.")
        for _ in range(5):
            assert gateway.chat(SECRET, user="bob").status_code == 200
            assert up.requests[-1].json == asks(SECRET, user="bob")
    assert SECRET not in caplog.text


def test_a_tailor_that_is_slow_is_left_out(up, stuck):
    slow = Step("slow", does=lambda call, context: stuck.wait())
    slow.gated = False
    with tailored_by(up, slow, time_budget=0.05) as gateway:
        for _ in range(5):
            assert gateway.chat(user="bob").status_code == 200
            assert up.requests[-1].json == asks(user="bob")
    with tailored_by(up, slow, settings={"personal_timeout": 0.05}) as gateway:
        assert gateway.chat(user="bob").status_code == 200
        assert up.requests[-1].json == asks(user="bob")
        assert gateway.metric("personal_total", outcome="late") == 1


def test_without_a_required_tailor_nothing_goes_out(up, stuck):
    needed = Step("needed", required=True, does=raising(KeyError(SECRET)))
    with tailored_by(up, needed) as gateway:
        with pytest.raises(openai.InternalServerError, match="required tailor 'needed' failed") as caught:
            gateway.openai().chat.completions.create(**asks(SECRET, user="bob"))
        assert caught.value.status_code == 500
        assert SECRET not in str(caught.value)
        answer = gateway.http.post("/v1/responses", json={"model": "m", "input": SECRET, "user": "bob"})
        assert answer.status_code == 500
        assert gateway.metric("personal_total", outcome="failed") == 2
        assert gateway.chat().status_code == 200  # who is not named needs no tailoring
    assert len(up.requests) == 1


def test_a_required_tailor_that_is_late_is_not_left_out(up, stuck):
    needed = Step("needed", required=True, does=lambda call, context: stuck.wait())
    with tailored_by(up, needed, settings={"personal_timeout": 0.05}) as gateway:
        assert gateway.chat(user="bob").status_code == 503
        assert gateway.metric("personal_total", outcome="late") == 1
    assert up.requests == []


def test_what_a_tailor_proposes_is_sent_and_what_the_app_says_wins(up):
    def does(call, context):
        messages = (Message(role="system", content="New."), *call.messages)
        changed = call.override(messages=messages, adapter="for-bob", params={"temperature": 0.25, "seed": 7})
        return TailorResult(changed, TailorStep(tailor="all"))

    everything = Step("all", does=does)
    everything.gated = False
    with tailored_by(up, everything) as gateway:
        gateway.chat(user="bob", seed=1)
    sent = up.requests[-1].json
    assert sent.pop("messages")[0] == {"role": "system", "content": "New."}
    assert sent == {"model": "for-bob", "user": "bob", "seed": 1, "temperature": 0.25}


def test_what_a_tailor_makes_that_is_no_json_is_not_sent(up):
    def does(call, context):
        return TailorResult(call.override(params={"temperature": {1, 2}}), TailorStep(tailor="odd"))

    odd = Step("odd", does=does)
    odd.gated = False
    with tailored_by(up, odd) as gateway:
        assert gateway.chat(user="bob").status_code == 200
    assert json.loads(up.requests[-1].body) == asks(user="bob")
