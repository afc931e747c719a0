"""What runs beside the operator: ``python -m stickyrouting.controller.off switch``, a CronJob, the dead man's switch,
and ``... clean``, a Job after an uninstallation.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence

from stickyrouting.apply.off import Installation, clean, switch
from stickyrouting.controller.main import EXIT_USAGE
from stickyrouting.controller.settings import InvalidSettings
from stickyrouting.kube.client import Kube
from stickyrouting.model.duration import Duration, parse_duration
from stickyrouting.model.errors import StickyError
from stickyrouting.watch.connection import Connection, InvalidConnection, in_cluster

VERBS = ("switch", "clean")
log = logging.getLogger("stickyrouting")


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Do what the one argument says; returns the exit status: 1 if the API refused, 2 if the call is wrong."""
    if len(arguments) != 1 or arguments[0] not in VERBS:
        return _wrong(f"say one of {', '.join(VERBS)}")
    logging.basicConfig(level="INFO", stream=sys.stdout, format="level=%(levelname)s %(message)s")
    try:
        connection = in_cluster(environment)
        work = run(arguments[0], read_installation(environment), read_limit(environment), connection)
        asyncio.run(work)
    except (InvalidSettings, InvalidConnection) as error:
        return _wrong(str(error))
    except StickyError as error:
        log.error("%s", error)
        return 1
    return 0


async def run(verb: str, installed: Installation, limit: Duration, connection: Connection) -> None:
    """Turn the hold off if that is due, or clean up; raises what the API raises."""
    async with connection, Kube(connection, user_agent="sticky-routing-off") as kube:
        now_ms = time.time_ns() // 1_000_000
        if verb == "clean":
            log.info("%d pods were freed", await clean(kube, installed.scopes, now_ms))
            return
        log.info("%s", (await switch(kube, installed, limit, now_ms)).message)


def read_installation(environment: Mapping[str, str]) -> Installation:
    """Return what the chart says; raises :class:`InvalidSettings` that names what is missing."""
    try:
        namespace, lease = environment["POD_NAMESPACE"], environment["STICKY_RELEASE"]
    except KeyError as error:
        raise InvalidSettings(f"environment variable {error.args[0]} is not set (the chart does)") from None
    scopes = [name.strip() for name in environment.get("STICKY_NAMESPACES", "").split(",") if name.strip()]
    policy = environment.get("STICKY_HOLD_POLICY", "")
    webhook = environment.get("STICKY_WEBHOOK", "")
    return Installation(namespace, lease, policy, tuple(sorted(scopes)) or (None,), webhook)


def read_limit(environment: Mapping[str, str]) -> Duration:
    """Return how long pods are held without an operator; raises :class:`InvalidSettings`."""
    text = environment.get("STICKY_HOLD_EXPIRES_AFTER", "2h")
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidSettings(f"environment variable STICKY_HOLD_EXPIRES_AFTER: {error}") from None


def _wrong(message: str) -> int:
    sys.stderr.write(f"sticky-off: {message}\n")
    return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
