"""What holds for all tests: a search takes the time it takes, on a busy machine too."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
