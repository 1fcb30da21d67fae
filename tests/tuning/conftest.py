"""A registry of adapters, what adds to it, and one that is filled; a tiny base, and a finished training on it."""

import pytest

from persona_sdk.tuning.adapters import Adapters
from tests.support.adapters import card_of, key, lora
from tests.support.tiny import tiny_base
from tests.tuning.training_runs import job, rows


@pytest.fixture
def adapters(tmp_path):
    return Adapters(tmp_path / "adapters")


@pytest.fixture
def add(adapters, tmp_path):
    """Train an adapter, as it were, and add it."""
    made = iter(range(1000))

    def add(name, people="", *, replace=False, since=None, value=0.0, returned="", **more):
        folder = lora(tmp_path / f"made{next(made)}", value=value)
        return adapters.add(
            folder,
            card_of(name, people, **more),
            replace=replace,
            since=since or adapters.begin(),
            returned=[key(user) for user in returned],
        )

    return add


@pytest.fixture
def family(add):
    """A shared adapter, one of a cluster on top of it, and one of Ann's and one of Eve's own on top of that."""
    add("shared", "abcde")
    add("cluster", "abcde", rung="cluster", parent="shared", cluster=(key("a"), key("b")))
    add("own-ann", "abcde", own="a", parent="cluster")
    add("own-eve", "abcde", own="e", parent="shared")
    add("other", "xyz")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("training") / "base")


@pytest.fixture(scope="session")
def finished(base, tmp_path_factory):
    """A run from beginning to end: its folder and its card."""
    from persona_sdk.tuning.training.run import train

    return train(job(base, seed=0), rows(), rows(2, first=8), tmp_path_factory.mktemp("training") / "work")
