"""Fixtures of the tests that run against the API server in memory."""

from collections.abc import AsyncIterator

import pytest

from kube.api.server import ApiServer
from stickyrouting.kube.client import Kube
from stickyrouting.watch.connection import Connection


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    """An API server in memory, empty, without faults."""
    async with ApiServer() as server:
        yield server


@pytest.fixture
async def connection(api: ApiServer) -> AsyncIterator[Connection]:
    """A connection to it, for watches."""
    async with Connection(api.url) as made:
        yield made


@pytest.fixture
async def kube(connection: Connection) -> AsyncIterator[Kube]:
    """A client of it, for calls; its User-Agent is ``sticky-routing``."""
    async with Kube(connection) as client:
        yield client
