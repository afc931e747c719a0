"""``sticky-agent``: put the parts together, run them until the kubelet says that HAProxy has gone.

Law: wiring only. A part that ends by an error ends the agent (the kubelet restarts it, HAProxy serves on); what may
fail for a while (API server, HAProxy, keys) is borne by its part.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from stickyrouting.agent.agent import Agent
from stickyrouting.agent.settings import InvalidSettings, parse_settings
from stickyrouting.agent.telemetry import log_to_stdout
from stickyrouting.metrics.agent import AGENT
from stickyrouting.metrics.table import Metrics
from stickyrouting.watch.connection import Connection, InvalidConnection, in_cluster

log = logging.getLogger(__name__)


def main() -> int:
    """Run the agent; the exit code is 2 if its environment can't be used."""
    log_to_stdout()
    try:
        settings = parse_settings(os.environ)
    except InvalidSettings as error:
        log.error("%s", error)
        return 2
    agent = Agent(settings, Metrics(AGENT, CollectorRegistry()), _connect(os.environ))
    # A million bindings are no garbage: what start-up made stays out of every later collection, and those that walk
    # the whole map (20 ms) are seldom.
    gc.freeze()
    gc.set_threshold(10_000, 50, 500)
    asyncio.run(_until_told(agent))
    return 0


async def _until_told(agent: Agent) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    running = asyncio.create_task(agent.run())
    waiting = asyncio.create_task(told.wait())
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if running.done():
        await running
    log.info("ending")
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def _connect(environ: Mapping[str, str]) -> Connection | None:
    """Return the way to the API server; without one the agent lives from its mounted files."""
    try:
        return in_cluster(environ)
    except InvalidConnection as error:
        log.warning("no API server, changes come from the mounted files only: %s", error)
        return None


if __name__ == "__main__":
    sys.exit(main())
