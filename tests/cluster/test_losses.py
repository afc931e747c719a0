"""Promise P8: a session whose pod is lost gets what the owner chose, is told so, and is counted; all others stay.

One shop goes on with lost sessions (Rebind), the other refuses them (Reject); what happens happens to both at once.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from apps.door import Kind
from cluster.lost_shop import SERVER_SECONDS, LostShop, Place, entering, kept
from cluster.visitors import Seen, Visitor
from cluster.world import World
from demo.kube import KubectlError
from lab.provider import Fault, FaultKind

EACH = 4
"""Sessions that each test wants on a pod; half of them buy something when their pod is lost."""
UNREACHABLE_SECONDS = 8.0
NOTICED_SECONDS = 1.5
"""Until the proxies' checks have found a pod again that takes connections."""
HANGING_SECONDS = 4.0
AGAIN_SECONDS = 0.2
COME_BACK = "5"
REFUSED = Seen(410, "", "nobody", "removed")
NOBODY = Seen(503, "", "nobody", "kept", COME_BACK)
NO_ANSWER = Seen(504, "", "nobody", "kept")
BROKEN_OFF = Seen(502, "", "nobody", "kept")


def gone(shop: LostShop, pod: str) -> Seen:
    """What a session meets whose pod is gone."""
    return Seen(200, f"moved from {pod}: failed-over", "elsewhere", "renewed") if shop.rebinds else REFUSED


def unreachable(shop: LostShop, pod: str) -> Seen:
    """What a session meets whose pod is listed and can't be reached."""
    if shop.rebinds:
        return Seen(200, f"active on {pod}, served by another", "elsewhere", "renewed")
    return NOBODY


@dataclass(frozen=True, slots=True)
class Both:
    """The two shops."""

    shops: tuple[LostShop, LostShop]

    async def each(self, scene: Callable[[LostShop], Coroutine[Any, Any, None]]) -> None:
        """Play a scene in both at once."""
        async with asyncio.TaskGroup() as group:
            for shop in self.shops:
                group.create_task(scene(shop), name=shop.place.on_lost)


@pytest.fixture
async def both(places: tuple[Place, ...]) -> AsyncIterator[Both]:
    """Return both shops, with all pods there and ready."""
    async with contextlib.AsyncExitStack() as stack:
        entered = [stack.enter_async_context(entering(place)) for place in places]
        first, second = await asyncio.gather(*entered)
        yield Both((first, second))


async def lose(shop: LostShop, there: Sequence[Visitor], expected: Seen) -> None:
    """Have sessions ask, half of them with what may be sent only once, and then again through both proxies."""
    half = len(there) // 2
    assert set(await shop.visit(there[:half]) + await shop.buy(there[half:])) == {expected}
    for visitor in [*there, *there] if shop.rebinds else []:
        assert visitor.home
        assert set(await shop.visit([visitor])) <= kept(visitor.home.pod)


async def begin_anew(shop: LostShop, there: Sequence[Visitor]) -> None:
    """Have sessions that were refused ask once more."""
    for visitor in there if not shop.rebinds else ():
        reply = await visitor.ask(shop.urls[0])
        assert (reply.status, reply.body["state"][:4], bool(visitor.sticky)) == (200, "new;", True)


async def insist(shop: LostShop, visitor: Visitor) -> Seen:
    """Have a session ask until it is no longer asked to come back; return what it got then."""
    while True:
        (seen,) = await shop.visit([visitor])
        if seen != NOBODY:
            return seen
        await asyncio.sleep(AGAIN_SECONDS)


async def test_a_pod_that_answers_5xx_keeps_its_sessions(both: Both) -> None:
    async def scene(shop: LostShop) -> None:
        there = await shop.born_on(["shop-2"], EACH)
        for status in (500, 503):
            seen = await shop.visit(there, f"/status/{status}")
            assert set(seen) <= {one._replace(status=status) for one in kept("shop-2")}
        assert set(await shop.visit(there)) <= kept("shop-2")
        await shop.assert_well()

    await both.each(scene)


async def test_while_all_pods_are_unready_sessions_stay_and_new_ones_begin(both: Both) -> None:
    async def scene(shop: LostShop) -> None:
        pods = shop.place.pods
        there = await shop.born_on(pods, 1)
        await asyncio.gather(*(shop.post(pod, "/admin/ready?value=false") for pod in pods))
        try:
            await shop.listed(
                "all pods to be unready", lambda found: {e["state"] for e in found.values()} == {"Unready"}
            )
            seen = await shop.visit(there) + await shop.buy(there)
            assert set(seen) <= kept(*pods)
            await Visitor(shop.http, shop.cookie_name).live(shop.urls)
            await shop.assert_well()
        finally:
            await asyncio.gather(*(shop.post(pod, "/admin/ready?value=true") for pod in pods))

    await both.each(scene)


async def test_a_pod_that_hangs_is_asked_once_and_keeps_its_sessions(both: Both) -> None:
    async def scene(shop: LostShop) -> None:
        there = await shop.born_on(["shop-2"], EACH)
        await shop.trouble("shop-2", Kind.HANG, HANGING_SECONDS)
        asked = asyncio.gather(shop.visit(there[:2]), shop.buy(there[2:]))
        await asyncio.sleep(HANGING_SECONDS)
        assert {seen for part in await asked for seen in part} == {NO_ANSWER}
        assert set(await shop.visit(there)) <= kept("shop-2")
        await shop.assert_well()

    assert SERVER_SECONDS < HANGING_SECONDS
    await both.each(scene)


async def test_sessions_of_pods_that_take_no_connection_go_on_elsewhere_or_are_asked_to_come_back(
    both: Both,
) -> None:
    async def scene(shop: LostShop) -> None:
        there = await shop.born_on(["shop-2", "shop-3"], EACH)
        troubled = asyncio.get_running_loop().time()
        await asyncio.gather(
            shop.trouble("shop-2", Kind.REFUSE, UNREACHABLE_SECONDS),
            shop.trouble("shop-3", Kind.SWALLOW, UNREACHABLE_SECONDS),
        )
        await asyncio.gather(
            lose(shop, there[:EACH], unreachable(shop, "shop-2")),
            lose(shop, there[EACH:], unreachable(shop, "shop-3")),
        )
        left = troubled + UNREACHABLE_SECONDS - asyncio.get_running_loop().time()
        assert left > 0, "they asked while the pods took no connection"
        await asyncio.sleep(left + NOTICED_SECONDS)
        assert set(await shop.visit(there)) <= kept(*(v.home.pod for v in there if v.home))
        await shop.assert_well("shop-2", "shop-3")

    await both.each(scene)


async def test_a_container_that_restarts_in_place_has_lost_its_sessions(both: Both) -> None:
    async def scene(shop: LostShop) -> None:
        there = await shop.born_on(["shop-3"], EACH + 2)
        before = (await shop.endpoints())["shop-3"]["id"]
        with contextlib.suppress(KubectlError):  # it does not live to answer
            await shop.post("shop-3", "/admin/crash")
        await asyncio.gather(*(lose_meanwhile(shop, visitor) for visitor in there[EACH:]))
        await shop.listed(
            "the restarted container to be listed as another endpoint",
            lambda found: found.get("shop-3", {"id": before})["id"] != before,
        )
        await lose(shop, there[:EACH], gone(shop, "shop-3"))
        await begin_anew(shop, there)
        await shop.assert_well("shop-3")

    await both.each(scene)


async def lose_meanwhile(shop: LostShop, visitor: Visitor) -> None:
    """Have a session ask while its container is down: its pod can't be reached at first, and is gone then.

    A dying container may have taken the connection of one request, which was sent and must not be sent again.
    """
    seen = await insist(shop, visitor)
    if seen == BROKEN_OFF:
        seen = await insist(shop, visitor)
    if shop.rebinds and seen.told == "active on shop-3":
        # It was tried again until the next life took the connection: it is told so with its next request.
        seen = (await insist(shop, visitor))._replace(where="elsewhere")
    assert seen in {gone(shop, "shop-3"), unreachable(shop, "shop-3")}


async def test_sessions_of_a_deleted_pod_go_on_elsewhere_or_are_refused(both: Both) -> None:
    async def scene(shop: LostShop) -> None:
        there = await shop.born_on(["shop-4"], EACH)
        await shop.place.shop.run("delete", "pod", "shop-4", "--timeout=30s")
        await shop.listed("shop-4 to be listed no more", lambda found: "shop-4" not in found)
        await lose(shop, there, gone(shop, "shop-4"))
        await begin_anew(shop, there)
        await shop.assert_well("shop-4")

    await both.each(scene)


@pytest.mark.native
async def test_sessions_of_a_node_that_is_cut_off_are_lost_once_nobody_reaches_it_or_its_pod_is_given_up(
    world: World, both: Both
) -> None:
    there: dict[str, list[Visitor]] = {}

    async def begin(shop: LostShop) -> None:
        there[shop.place.on_lost] = await shop.born_on(["shop-1"], 2 * EACH)

    async def scene(shop: LostShop) -> None:
        early, late = there[shop.place.on_lost][:EACH], there[shop.place.on_lost][EACH:]
        await lose(shop, early, unreachable(shop, "shop-1"))
        await shop.give_up("shop-1")
        await shop.listed("shop-1 to be listed no more", lambda found: "shop-1" not in found)
        await lose(shop, late, gone(shop, "shop-1"))
        await begin_anew(shop, late)
        await shop.assert_well("shop-1")

    await both.each(begin)
    node = both.shops[0].place.nodes[0]
    world.provider.fault(Fault(FaultKind.NODE_CUT, (node,)))
    try:
        await both.each(scene)
    finally:
        world.provider.fault(Fault(FaultKind.NODE_HEAL, (node,)))


async def test_while_all_pods_are_gone_everybody_is_asked_to_come_back_and_nobody_loses_a_binding(
    both: Both,
) -> None:
    async def scene(shop: LostShop) -> None:
        pods = shop.place.pods
        there = await shop.born_on(pods, 1)
        await shop.place.shop.run("delete", "pods", *pods, "--grace-period=1", "--timeout=30s")
        await shop.listed("no pod to be listed", lambda found: not found)
        newcomer = Visitor(shop.http, shop.cookie_name)
        asking, buying, reply = await asyncio.gather(
            shop.visit(there[:2]), shop.buy(there[2:]), newcomer.ask(shop.urls[0])
        )
        assert set(asking + buying) == {NOBODY}
        assert (reply.status, reply.headers.get("Retry-After"), newcomer.sticky) == (503, COME_BACK, "")
        await shop.restore()
        for visitor in there:
            await lose(shop, [visitor], gone(shop, visitor.born))
        await begin_anew(shop, there)
        await shop.assert_well(*pods)

    await both.each(scene)
