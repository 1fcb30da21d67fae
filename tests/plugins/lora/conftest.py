"""A tiny base and three adapters of different rank, made once."""

import pytest

from tests.plugins.lora import made
from tests.support.tiny import tiny_base


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    pytest.importorskip("torch", reason="`make test` installs it")
    return tiny_base(tmp_path_factory.mktemp("lora") / "base")


@pytest.fixture(scope="session")
def adapters(base):
    """Adapters that tests only read."""
    from persona_sdk.tuning.adapters import Adapters

    adapters = Adapters(base.parent / "adapters")
    for seed, (name, rank) in enumerate(made.RANKS.items()):
        made.add(adapters, base, name, seed, r=rank, use_rslora=name == "bob")
    return adapters


@pytest.fixture
def own(base, tmp_path):
    """An empty folder of adapters for tests that write."""
    from persona_sdk.tuning.adapters import Adapters

    return Adapters(tmp_path / "adapters")


@pytest.fixture(scope="session")
def chat(base, adapters):
    from persona_plugins.lora.chat import TunedChat

    return TunedChat(adapters.folder, base=base, max_tokens=12, device="cpu")
