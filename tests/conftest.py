"""What holds for all tests: how long one takes says something about the machine alone, and fails none."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
