"""Several workers on one database: whichever is asked, it knows what the others did, and one of them learns."""

import httpx2
import pytest

from persona_integrations.server.database import Database
from persona_integrations.server.leases import Leases
from persona_sdk import Personalizer
from tests.support.gateways import Process, chat, counted, eventually
from tests.support.upstream import upstream

LONG = "That depends on many things, of which I shall tell you one after the other, at length."


def test_two_workers_share_answers_feedback_and_figures(tmp_path):
    database = f"sqlite:///{tmp_path}/persona.db"
    options = ("--workers", "2", "--learning", "thread")
    with upstream() as behind, Process(behind.url, database, *options) as process:
        behind.reply = lambda asked: "Yes."
        # Several connections, so that either worker gets some.
        clients = [httpx2.Client(timeout=60) for _ in range(8)]
        asked = [chat(process.url, f"Question {n}?", "ann", client=clients[n % 8]) for n in range(24)]
        ids = [one.json()["id"] for one in asked]
        for client in clients:
            client.close()
        eventually(lambda: counted(process.url, "persona_gateway_records_total", what="answer") == 24)
        for id_ in ids:
            given = httpx2.post(f"{process.url}/v1/feedback", json={"response_id": id_, "rejected": LONG})
            assert given.status_code == 201, given.text
        assert counted(process.url, "persona_gateway_requests_total", status="200") == 24
        persona = eventually(
            lambda: (p := httpx2.get(f"{process.url}/v1/personas/ann").json())["version"] and p, seconds=60
        )
        assert "shorter" in persona["summary"]
        assert chat(process.url, "What now?", "ann").status_code == 200
        assert "shorter" in behind.wire[0][1]
        assert process.end() in (0, -15)
    with Personalizer(database) as personalizer:
        kinds = [s.kind for s in personalizer.signals("ann")]
        assert (kinds.count("utterance"), kinds.count("preference")) == (25, 24)


@pytest.fixture
def database(tmp_path):
    made = Database(f"sqlite:///{tmp_path}/persona.db")
    yield made
    made.close()


def test_a_lease_has_one_holder_at_a_time(database, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("persona_integrations.server.leases.time.time", lambda: now[0])
    one, other, third = Leases(database), Leases(database), Leases(database, "something else")
    assert one.hold(10)
    assert not other.hold(10)
    assert third.hold(10)
    now[0] += 8
    assert one.hold(10)
    now[0] += 8
    assert not other.hold(10)
    now[0] += 3  # the holder died
    assert other.hold(10)
    assert not one.hold(10)
    one.release()  # is not its to release
    assert not one.hold(10)
    other.release()
    assert one.hold(10)
