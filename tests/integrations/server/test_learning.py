"""Learning beside the requests: from whom there is something to learn, whichever process recorded it."""

import itertools
import time

import pytest

from persona_integrations.server.database import Database
from persona_integrations.server.learning import Learning
from persona_integrations.server.leases import Leases
from persona_sdk import Personalizer
from persona_sdk.errors import StorageError
from tests.support.gateways import eventually

LONG = "That depends on many things, of which I shall tell you one after the other, at length."


def prefer(personalizer, user, count=8):
    for n in range(count):
        personalizer.prefer(user, prompt=f"Question {n}?", chosen="Yes.", rejected=LONG)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/persona.db"


@pytest.fixture
def personalizer(url):
    with Personalizer(url, calls="memory", learning="manual") as made:
        yield made


@pytest.fixture
def learning(personalizer, url):
    database, started = Database(url), []

    def start(**options):
        heard = []
        told = {"interval": 0.05, "apart": False, **options}
        made = Learning(personalizer, Leases(database), heard.append, **told)
        started.append(made)
        made.start()
        return heard

    yield start
    for made in started:
        made.close()
    database.close()


@pytest.mark.parametrize("apart", [False, True], ids=["thread", "process"])
def test_everybody_of_every_tenant_is_learnt_from(personalizer, learning, apart):
    other = personalizer.for_tenant("elsewhere")
    prefer(personalizer, "ann")
    prefer(other, "bob")
    learning(apart=apart)
    eventually(lambda: not (personalizer.pending() or other.pending()), seconds=60)
    assert personalizer.versions("ann")
    assert other.versions("bob")
    prefer(personalizer, "cleo")
    eventually(lambda: not personalizer.pending())
    assert personalizer.versions("cleo")


def test_a_learning_process_that_was_killed_is_started_again(personalizer, learning):
    prefer(personalizer, "ann")
    learning(apart=True)
    eventually(lambda: not personalizer.pending(), seconds=60)
    import multiprocessing

    for child in multiprocessing.active_children():
        child.kill()
    prefer(personalizer, "bob")
    eventually(lambda: not personalizer.pending(), seconds=60)
    assert personalizer.versions("bob")


def test_who_cannot_be_learnt_from_does_not_keep_it_busy(personalizer, learning, monkeypatch):
    tried = []

    def fail(self, tenant, user_id, through, note):
        tried.append(time.monotonic())
        raise StorageError("no")

    monkeypatch.setattr("persona_plugins.sql_memory.memory.SqlMemory.mark_learnt", fail)
    prefer(personalizer, "ann")
    learning()
    eventually(lambda: len(tried) >= 5)
    pauses = [after - before for before, after in itertools.pairwise(tried)]
    assert pauses[3] > 2 * pauses[0]  # each pause is twice the last: no race decides


def test_two_learners_share_the_work_without_doing_it_twice(personalizer, learning):
    heard = [learning(), learning()]
    for number in range(5):
        prefer(personalizer, f"user {number}")
    eventually(lambda: not personalizer.pending())
    eventually(lambda: sum(map(sum, heard)) >= 5)
    assert [len(personalizer.versions(f"user {number}")) for number in range(5)] != [0] * 5
    assert min(sum(one) for one in heard) == 0
