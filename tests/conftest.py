"""What holds for all tests: a search takes the time it takes, on a busy machine too."""

import os

from hypothesis import settings

# There is a worker for each processor already: threads of torch's beside them only wait for each other, and training
# a tiny model takes ten times as long. Read when torch is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
