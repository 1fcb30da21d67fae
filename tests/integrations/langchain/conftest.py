"""A server on loopback, and what talks to it."""

import pytest

pytest.importorskip("langchain", reason="`make test` installs it")

from tests.integrations.langchain.agents import World
from tests.support.openai_server import openai_server


@pytest.fixture
def server():
    with openai_server() as running:
        yield running


@pytest.fixture
def world(server):
    made = World(server)
    yield made
    made.personalizer.close()


@pytest.fixture
def make(server):
    """Make worlds with tailors of the test's own."""
    worlds = []

    def made(*tailors):
        worlds.append(World(server, *tailors))
        return worlds[-1]

    yield made
    for one in worlds:
        one.personalizer.close()
