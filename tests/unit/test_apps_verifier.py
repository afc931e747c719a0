"""The verifier against shops and a stand-in for the proxies, all on loopback: it finds exactly what went
wrong.
"""

import contextlib
import socket
from collections.abc import AsyncIterator

from apps.balancer import Balancer, balancing, faithful, misroute_every
from apps.shop import Shop, serving
from apps.verifier import Result, Settings, Verifier
from apps.verifier.settings import Target

LIMIT = 900


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def shops(number: int) -> AsyncIterator[list[str]]:
    """Addresses of ``number`` shops, each on a loopback address of its own."""
    async with contextlib.AsyncExitStack() as stack:
        addresses = []
        for index in range(number):
            host = f"127.0.0.{index + 2}"
            port = free_port(host)
            await stack.enter_async_context(serving(Shop(pod=f"shop-{index}"), host, port))
            addresses.append(f"{host}:{port}")
        yield addresses


def make_settings(*ports: int, limit: int = LIMIT) -> Settings:
    targets = tuple(Target("127.0.0.1", port) for port in ports)
    return Settings(targets, sessions=30, rate=5000, births_per_second=20, workers=8, limit=limit)


async def run(balancer: Balancer) -> Result:
    port = free_port("127.0.0.1")
    async with balancing(balancer, "127.0.0.1", port):
        verifier = Verifier(make_settings(port))
        await verifier.start()
        await verifier.reached(LIMIT)
        return await verifier.stop()


async def test_a_faithful_balancer_breaks_nothing() -> None:
    async with shops(3) as backends:
        result = await run(Balancer(list(backends), faithful))
    assert (result.requests, result.verified) == (LIMIT, LIMIT)
    assert (result.violations, result.errors, result.lost) == (0, 0, 0)
    assert sum(result.pods.values()) == result.births
    assert set(result.pods) == {"shop-0", "shop-1", "shop-2"}


async def test_every_misrouted_request_is_found_and_no_other() -> None:
    async with shops(3) as backends:
        balancer = Balancer(list(backends), misroute_every(60, backends=3))
        result = await run(balancer)
    assert balancer.misrouted > 0
    assert result.violations == balancer.misrouted
    assert result.phases[0].violation_kinds == {"misrouted": balancer.misrouted}
    assert (result.errors, result.lost) == (0, 0)


async def test_every_request_that_was_delivered_twice_is_found() -> None:
    async with shops(2) as backends:
        balancer = Balancer(list(backends), faithful, repeat_every=70)
        result = await run(balancer)
    assert balancer.repeated > 0
    assert result.phases[0].violation_kinds == {"repeated": balancer.repeated}


async def test_sessions_of_a_pod_that_is_gone_are_lost_not_misrouted() -> None:
    port = free_port("127.0.0.1")
    async with contextlib.AsyncExitStack() as stack:
        backends = await stack.enter_async_context(shops(1))
        host, dying = "127.0.0.9", free_port("127.0.0.9")
        doomed = contextlib.AsyncExitStack()
        await doomed.enter_async_context(serving(Shop(pod="doomed"), host, dying))
        balancer = Balancer([backends[0], f"{host}:{dying}"])
        await stack.enter_async_context(balancing(balancer, "127.0.0.1", port))
        verifier = Verifier(make_settings(port, limit=0))
        await verifier.start()
        await verifier.reached(300)
        on_doomed = verifier.snapshot().pods["doomed"]
        balancer.backends[1] = None
        await doomed.aclose()
        verifier.phase("after")
        await verifier.reached(600)
        result = await verifier.stop()
    assert result.violations == 0
    assert result.lost >= on_doomed > 0
    assert set(result.pods) == {"shop-0"}


async def test_a_pod_that_forgot_its_carts_is_found() -> None:
    shop = Shop(pod="shop-0")
    host, port = "127.0.0.2", free_port("127.0.0.2")
    async with serving(shop, host, port):
        verifier = Verifier(
            Settings((Target(host, port),), sessions=10, rate=5000, births_per_second=0, workers=4)
        )
        await verifier.start()
        await verifier.reached(100)
        shop.carts.clear()
        await verifier.reached(300)
        result = await verifier.stop()
    assert result.phases[0].violation_kinds == {"forgot": 10}


async def test_a_target_that_refuses_is_an_error_with_a_sample() -> None:
    verifier = Verifier(make_settings(free_port("127.0.0.1"), limit=20))
    await verifier.start()
    await verifier.reached(1)
    result = await verifier.stop()
    assert (result.verified, result.phases[0].error_kinds) == (0, {"connect": 20})
    assert result.phases[0].samples[0].text.startswith("ClientConnectorError")


async def test_connections_meet_every_target() -> None:
    async with shops(1) as backends:
        ports = [free_port("127.0.0.1") for _ in range(2)]
        balancers = [Balancer(list(backends)) for _ in ports]
        async with (
            balancing(balancers[0], "127.0.0.1", ports[0]),
            balancing(balancers[1], "127.0.0.1", ports[1]),
        ):
            verifier = Verifier(make_settings(*ports))
            await verifier.start()
            await verifier.reached(LIMIT)
            result = await verifier.stop()
    assert [len(balancer.homes) > 0 for balancer in balancers] == [True, True]
    assert result.errors == 0
