"""Clients log out the moment they were served elsewhere, while proxies come and go: none of their ends gets lost."""

import asyncio
from random import Random

import pytest

from haproxy.fleet import Fleet
from haproxy.state_site import END, Reply, send
from haproxy.test_fleet_state import fleet, have, speakers
from stickyrouting.affinity.entry import ENDED

__all__ = ["fleet", "speakers"]

CLIENTS = 400
SECONDS = 6.0
TRIES = 40
PAUSES = (0.0, 0.01, 0.05, 0.2)


async def tried(fleet: Fleet, rng: Random, *asked: str) -> Reply:
    """Send a request to any proxy, again if it went away meanwhile."""
    for _ in range(TRIES):
        serving = [proxy for proxy in fleet.serving if proxy.serving]
        try:
            return await send(rng.choice(serving).ports[0], *asked)
        except (OSError, EOFError):
            await asyncio.sleep(0.05)
    pytest.fail(f"no proxy answered {TRIES} times in a row")


async def live(fleet: Fleet, rng: Random) -> str:
    """Begin a session, use it here and there, log out; return its id."""
    await asyncio.sleep(rng.uniform(0, SECONDS))
    cookie = (await tried(fleet, rng)).cookie
    for _ in range(rng.choice((0, 0, 1, 2, 5))):
        await asyncio.sleep(rng.choice(PAUSES))
        await tried(fleet, rng, cookie)
    await asyncio.sleep(rng.choice(PAUSES))
    assert (await tried(fleet, rng, cookie, END)).removed
    return cookie[:32]


async def none_is_alive(fleet: Fleet, ids: list[str]) -> None:
    """Wait until all agents count no session, and see that no HAProxy holds one."""
    await have(fleet, 0)
    for proxy in fleet.serving:
        table = await proxy.table()
        assert {id_: table[id_].value for id_ in ids if id_ in table and table[id_].value != ENDED} == {}


async def test_no_logout_is_lost_while_proxies_join_and_leave(fleet: Fleet) -> None:
    rng = Random(2)
    clients = [asyncio.create_task(live(fleet, rng)) for _ in range(CLIENTS)]
    for _ in range(4):
        await asyncio.sleep(rng.uniform(0.1, 1.0))
        await fleet.join()
        await fleet.leave(rng.choice(fleet.serving[:-1]))
    ids = await asyncio.gather(*clients)
    await fleet.in_step()
    await none_is_alive(fleet, ids)


async def test_no_logout_is_lost_while_agents_are_killed(fleet: Fleet) -> None:
    rng = Random(1)
    clients = [asyncio.create_task(live(fleet, rng)) for _ in range(CLIENTS)]
    for _ in range(5):
        proxy = rng.choice(fleet.serving)
        await asyncio.sleep(rng.uniform(0.1, 1.0))
        await proxy.kill(proxy.agent)
        await proxy.start_agent()
    ids = await asyncio.gather(*clients)
    await fleet.in_step()
    await none_is_alive(fleet, ids)
