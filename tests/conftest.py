"""Settings of all tests."""

from hypothesis import settings

# How long an example takes says nothing here: two cores run a cluster beside the tests.
settings.register_profile("sticky", deadline=None)
settings.load_profile("sticky")
