"""Settings of all tests."""

from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# How long an example takes says nothing here: two cores run a cluster beside the tests.
settings.register_profile("sticky", deadline=None)
settings.load_profile("sticky")
CLUSTER = "tests/cluster/"


class OneCluster(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out tests one by one, but first of all those of the cluster, of which there is one, together."""

    def _split_scope(self, nodeid: str) -> str:
        return CLUSTER if nodeid.startswith(CLUSTER) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneCluster:
    """Say who gets which tests, where several processes run them."""
    return OneCluster(config, log)
