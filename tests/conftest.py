"""What holds for all tests: a search takes the time it takes, on a busy machine too; and people act at once."""

import os
from datetime import timedelta

import pytest
from hypothesis import settings

# There is a worker for each processor already: threads of torch's beside them only wait for each other, and training
# a tiny model takes ten times as long. Read when torch is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _people_read_at_once(monkeypatch):
    """Tests do not wait the second that a person needs at least before they want another answer."""
    monkeypatch.setattr("persona_sdk.noticing.READ", timedelta(0))
