"""With a path the check asks the application: its answer says who takes new sessions, its silence who is lost."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from haproxy.harness import until
from haproxy.lost_site import CHECK, HOW, PODS, REBIND, VERDICT_SECONDS, Site, assert_unavailable, make_site
from haproxy.placement_site import set_slots
from haproxy.troubled_pods import CHECK_PATH
from stickyrouting.haproxy.commands import ShowStat
from stickyrouting.model.desired import Lost
from stickyrouting.render.haproxy_lost import Tally
from stickyrouting.render.haproxy_names import APP

ASKING = msgspec.structs.replace(CHECK, path=CHECK_PATH)


async def status(site: Site, pod: int) -> str:
    """Return HAProxy's word for the state of a server."""
    lines = await site.proxy.runtime.run(ShowStat())
    return next(line.status for line in lines if (line.proxy, line.server) == (APP, f"s{pod}"))


async def becomes(site: Site, pod: int, word: str) -> None:
    """Wait until HAProxy says so of a server."""

    async def told() -> bool:
        return (await status(site, pod)).startswith(word)

    await until(told, f"pod {pod} is {word}")


@HOW
@pytest.mark.parametrize("answer", [404, 500, 503])
async def test_a_pod_whose_check_is_answered_by_a_bad_status_keeps_its_sessions_and_takes_no_births(
    answer: int, lost: Lost, tmp_path: Path
) -> None:
    async with make_site(tmp_path, lost, health_check=ASKING) as site:
        cookie, pod = await site.client.born()
        site.pods.checks[pod] = answer
        await becomes(site, pod, "NOLB")
        await asyncio.sleep(2 * VERDICT_SECONDS)
        assert await status(site, pod) == "NOLB"
        await site.assert_kept(cookie, pod)
        # HAProxy's own choice; slots are the agent's, which asks HAProxy (test_agent_checked.py).
        assert pod not in {(await site.client.get()).pod for _ in range(9)}
        await site.proxy.lose_table()
        assert (await site.client.get(cookie)).pod == pod
        site.pods.checks[pod] = 200
        await becomes(site, pod, "UP")
        assert pod in {(await site.client.get()).pod for _ in range(9)}


@HOW
async def test_a_check_that_all_pods_fail_loses_no_session(lost: Lost, tmp_path: Path) -> None:
    async with make_site(tmp_path, lost, health_check=ASKING) as site:
        sessions = [await site.client.born() for _ in range(6)]
        site.pods.checks.update(dict.fromkeys(PODS, 503))
        for pod in PODS:
            await becomes(site, pod, "NOLB")
        for cookie, pod in sessions:
            await site.assert_kept(cookie, pod)
        assert_unavailable(await site.client.get())


@pytest.mark.parametrize("before", [200, 503])
@pytest.mark.parametrize("trouble", ["refuses", "swallows", "is silent"])
async def test_under_rebind_a_pod_that_answers_no_check_is_lost_when_the_check_says_so_whatever_it_said_before(
    trouble: str, before: int, tmp_path: Path
) -> None:
    async with make_site(tmp_path, REBIND, health_check=ASKING) as site:
        cookie, pod = await site.client.born()
        site.pods.checks[pod] = before
        await becomes(site, pod, "UP" if before == 200 else "NOLB")
        if trouble == "is silent":
            site.pods.checks[pod] = 0
            await becomes(site, pod, "DOWN")
        else:
            (site.pods.stop if trouble == "refuses" else site.pods.swallow)(pod)
        moved = await site.client.get(cookie, "/after")
        assert (moved.status, moved.cookie[:32], moved.pod != pod) == (200, cookie[:32], True)
        assert (await status(site, pod)).startswith("DOWN")
        assert (site.pods.requests("/after"), await site.unserved()) == (1, 0)
        assert await site.tallied() == {Tally.FAILED_OVER_UNREACHABLE: 1}


async def test_a_pod_that_comes_back_with_a_bad_status_has_its_sessions_again(tmp_path: Path) -> None:
    async with make_site(tmp_path, REBIND, health_check=ASKING) as site:
        cookie, pod = await site.client.born()
        site.pods.stop(pod)
        await becomes(site, pod, "DOWN")
        site.pods.checks[pod] = 503
        await site.pods.start(pod)
        await becomes(site, pod, "NOLB")
        await site.assert_kept(cookie, pod)


@HOW
async def test_a_server_that_was_added_at_runtime_is_checked_in_the_same_way(
    lost: Lost, tmp_path: Path
) -> None:
    async with make_site(tmp_path, lost, health_check=ASKING) as site:
        await site.pods.start(4)
        await site.unlist((), site.pods.endpoint(4))
        await set_slots(site.proxy, {4: 1})
        cookie, pod = await site.client.born()
        assert pod == 4
        site.pods.checks[4] = 500
        await becomes(site, 4, "NOLB")
        await asyncio.sleep(2 * VERDICT_SECONDS)
        await site.assert_kept(cookie, 4)
        await set_slots(site.proxy, {})
        assert 4 not in {(await site.client.get()).pod for _ in range(9)}
