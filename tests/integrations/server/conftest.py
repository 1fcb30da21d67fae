"""A server behind, and gateways before it: Ann is known there, others are not."""

import shutil
from contextlib import ExitStack

import pytest

pytest.importorskip("fastapi", reason="`make test` installs it")

from tests.integrations.server.running import personalizer_of, running, teach
from tests.support.upstream import upstream


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("PERSONA_DATABASE_URL", "PERSONA_TENANT", "PERSONA_TAILORS", "PERSONA_LEARNING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("persona_integrations.server.gateway._PAUSES", (0.0,))  # there is one worker


@pytest.fixture(scope="session")
def server_behind():
    with upstream() as one:
        yield one


@pytest.fixture
def up(server_behind):
    """The server behind, as if it had just been started."""
    server_behind.reset()
    yield server_behind
    server_behind.release.set()


@pytest.fixture(scope="session")
def learnt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learnt")
    with personalizer_of(folder) as personalizer:
        teach(personalizer, "ann")
    return folder


@pytest.fixture
def folder(learnt, tmp_path):
    """A folder with a database in which Ann is known to like it short."""
    return copied(learnt, tmp_path)


def copied(learnt, folder):
    for file in learnt.glob("persona.db*"):
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="session")
def shared_gateway(server_behind, learnt, tmp_path_factory):
    """A gateway for all tests that leave no traces in it."""
    folder = tmp_path_factory.mktemp("shared")
    with personalizer_of(copied(learnt, folder)) as personalizer, running(server_behind, personalizer) as one:
        yield one


@pytest.fixture(scope="session")
def shared_locked(server_behind, tmp_path_factory):
    """A gateway that wants keys, for all tests that are not in each other's way there; nobody is known."""
    told = {"auth": "keys", "upstream_key": "upstream-secret"}
    folder = tmp_path_factory.mktemp("locked")
    with personalizer_of(folder) as personalizer, running(server_behind, personalizer, **told) as one:
        yield one


@pytest.fixture
def known(folder):
    with personalizer_of(folder) as personalizer:
        yield personalizer


@pytest.fixture
def start(up, folder):
    """Start gateways with settings of the test's own; `options` are those of the personalizer."""
    with ExitStack() as clean_up:

        def started(options=None, **settings):
            personalizer = clean_up.enter_context(personalizer_of(folder, **(options or {})))
            return clean_up.enter_context(running(up, personalizer, **settings))

        yield started


@pytest.fixture
def gateway(up, known):
    with running(up, known) as one:
        yield one


@pytest.fixture
def locked(up, known):
    """A gateway that wants keys."""
    with running(up, known, auth="keys", upstream_key="upstream-secret") as one:
        yield one
