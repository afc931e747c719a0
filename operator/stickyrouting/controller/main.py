"""The operator's process: candidate for the Lease, then leader, until it is told to stop or loses the Lease."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Coroutine

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from stickyrouting.apply.evictions import Evictions
from stickyrouting.apply.webhook import Place, Webhook
from stickyrouting.controller.credentials import Credentials, kopf_session
from stickyrouting.controller.evictions import guard_evictions
from stickyrouting.controller.health import serve_health
from stickyrouting.controller.leader import Surroundings, lead, system_clock
from stickyrouting.controller.settings import InvalidSettings, Settings, read_settings
from stickyrouting.kube.client import Kube, Observer
from stickyrouting.kube.lease import Lease, LeaseLost, LeaseRef
from stickyrouting.metrics import operator_table as table
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.protection import EvictionMode
from stickyrouting.watch.connection import Connection, InvalidConnection, in_cluster

EXIT_USAGE = 2
log = logging.getLogger("stickyrouting")


def main() -> None:
    """Run the operator; exits with 2 if its settings are wrong."""
    try:
        settings = read_settings(os.environ)
        _log_to_stdout(settings.log_level)
        connection = in_cluster(os.environ)
    except (InvalidSettings, InvalidConnection) as error:
        sys.stderr.write(f"sticky-operator: {error}\n")
        sys.exit(EXIT_USAGE)
    asyncio.run(run(settings, connection, lambda: kopf_session(connection)))


async def run(settings: Settings, connection: Connection, credentials: Callable[[], Credentials]) -> None:
    """Wait for the Lease, lead, and give the Lease back when told to stop."""
    metrics = Metrics(table.OPERATOR, _process_registry())
    metrics.set(table.LEADER, 0)
    health = await serve_health(settings.port, metrics.registry, lambda: True)
    try:
        async with connection, Kube(connection, observe=_counter(metrics)) as kube:
            given = Surroundings(settings, connection, kube, credentials, metrics)
            await _until_told(_serve(given))
    finally:
        await health.cleanup()


async def _serve(given: Surroundings) -> None:
    """Answer evictions if the chart asks for it, on every replica, and campaign for the Lease."""
    settings, clock = given.settings, system_clock(given.kube)
    if settings.evictions is not EvictionMode.WEBHOOK:
        await _campaign(given)
        return
    place = Place(
        settings.namespace, settings.authority_name, settings.webhook_service, settings.webhook_name
    )
    hook, evictions = Webhook(given.kube, place, clock), Evictions(given.kube, clock)
    guard = asyncio.create_task(guard_evictions(settings.webhook_port, hook, evictions))
    try:
        await _campaign(given)
    finally:
        guard.cancel()
        await asyncio.wait({guard})


async def _campaign(given: Surroundings) -> None:
    settings = given.settings
    identity = f"{settings.pod_name}_{secrets.token_hex(4)}"
    lease = Lease(given.kube, LeaseRef(settings.namespace, settings.lease_name, identity))
    log.info("waiting for Lease %s/%s as %s", settings.namespace, settings.lease_name, identity)
    await lease.acquire()
    given.metrics.set(table.LEADER, 1)
    log.info("leading")
    keeping = asyncio.create_task(_keep(lease))
    try:
        await lead(given)
    finally:
        keeping.cancel()
        await lease.release()


async def _keep(lease: Lease) -> None:
    """Hold the Lease; once it is lost another replica may act, so this process ends at once, without tidying up."""
    try:
        await lease.keep()
    except LeaseLost as error:
        log.critical("%s; this process ends so that only the new leader acts", error)
        logging.shutdown()
        os._exit(1)


async def _until_told(work: Coroutine[None, None, None]) -> None:
    """Run ``work`` until it ends or SIGTERM or SIGINT comes, then cancel it and wait."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _process_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


def _counter(metrics: Metrics) -> Observer:
    def observe(verb: str, resource: str, outcome: str) -> None:
        metrics.count(table.CALLS, verb=verb, resource=resource, outcome=outcome)

    return observe


def _log_to_stdout(level: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ level=%(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # It warns at each start that it leaves the signals to us.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
