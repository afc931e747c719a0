"""A HAProxy that runs but says nothing is not taken for one that is gone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stickyrouting.agent.inflight import count_in_flight
from stickyrouting.agent.observe import observe
from stickyrouting.haproxy.errors import NoAnswer
from stickyrouting.haproxy.runtime import MasterClient
from stickyrouting.render.haproxy_settings import ProxySettings

PROC = """#<PID> <type> <reloads> <uptime> <version>
1 master 0 0d00h00m09s 3.0.11
# workers
7 worker 0 0d00h00m08s 3.0.11
# old workers
"""


@pytest.fixture
async def master(tmp_path: Path) -> AsyncIterator[MasterClient]:
    """Yield a client of a master that answers while its worker hangs."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline() == b"show proc\n":
            writer.write(PROC.encode())
            writer.close()
        else:
            # The client gives up first, which ends this wait.
            await writer.wait_closed()

    path = str(tmp_path / "master.sock")
    server = await asyncio.start_unix_server(serve, path)
    yield MasterClient(path, timeout=0.2)
    server.close()


async def test_what_a_silent_worker_has_in_flight_is_unknown_and_not_nothing(master: MasterClient) -> None:
    with pytest.raises(NoAnswer, match="says nothing"):
        await count_in_flight(master)


async def test_a_silent_haproxy_is_not_observed_as_gone(master: MasterClient, tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match="says nothing"):
        await observe(master, ProxySettings(run=str(tmp_path)))
