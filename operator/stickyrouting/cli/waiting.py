"""Waiting for the operator's answer: bounded, and saying what for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from stickyrouting.cli.cluster import Body, Cluster
from stickyrouting.cli.failure import Away, Exit, Failure
from stickyrouting.model.plan import Reason

POLL_SECONDS = 0.3
SAY_SECONDS = 3.0
_NO_OBSTACLE = (Reason.CONNECTIONS_REFUSED, Reason.INVALID_CERTIFICATE_REF)
"""What is wrong with others, and keeps the operator from nothing."""
A = TypeVar("A")


class Waiting(Exception):
    """Not there yet; the message is what is waited for."""


async def wait_for(cluster: Cluster, name: str, seconds: float, look: Callable[[Body], A]) -> A:
    """Look at a StickyService until ``look`` no longer raises :class:`Waiting`; raises Failure when time is over.

    An API server that does not answer meanwhile is asked again.
    """

    async def ask() -> A:
        return look(await cluster.get(name))

    return await keep_asking(ask, seconds)


async def keep_asking(ask: Callable[[], Awaitable[A]], seconds: float) -> A:
    """Ask until there is an answer and no :class:`Waiting`, as above."""
    loop = asyncio.get_running_loop()
    start, said, why = loop.time(), "", "the API server's answer"
    while True:
        try:
            return await ask()
        except Waiting as waiting:
            why = str(waiting)
        except Away as failure:
            why = f"the API server: {failure.message}"
        passed = loop.time() - start
        if passed >= seconds:
            raise Failure(Exit.TIMEOUT, f"after {seconds:g} s still waiting for {why}")
        if passed >= SAY_SECONDS and why != said:
            click.echo(f"waiting for {why}", err=True)
            said = why
        await asyncio.sleep(min(POLL_SECONDS, seconds - passed))


def unaccepted(body: Body) -> str:
    """Return why the operator can't act on a StickyService, or a guess."""
    conditions = (body.get("status") or {}).get("conditions") or []
    for condition in conditions:
        needed = condition["type"] in ("Accepted", "ResolvedRefs") and condition["reason"] not in _NO_OBSTACLE
        if needed and condition["status"] != "True":
            return f"{condition['type']} is {condition['status']}: {condition['message']}"
    return "does it run? kubectl get deployments -A -l app.kubernetes.io/name=sticky-routing"
