"""What does not lose a session: a pod that is unready, fails, hangs or is away for a moment; and what is sent again."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from haproxy.lost_site import HOW, VERDICT_SECONDS, make_site
from haproxy.placement_site import set_slots
from stickyrouting.haproxy.commands import SetWeight
from stickyrouting.model.desired import Lost, Retry
from stickyrouting.render.haproxy_lost import Tally
from stickyrouting.render.haproxy_names import NEWBORN, UNBIND


@HOW
async def test_an_unready_pod_that_accepts_connections_keeps_its_sessions(lost: Lost, tmp_path: Path) -> None:
    async with make_site(tmp_path, lost) as site:
        cookie, pod = await site.client.born()
        await site.proxy.runtime.run(SetWeight(pod, 0))
        await site.assert_kept(cookie, pod)
        assert pod not in {(await site.client.get()).pod for _ in range(9)}


@HOW
async def test_an_answer_of_5xx_is_the_pods_own_and_moves_nobody(lost: Lost, tmp_path: Path) -> None:
    async with make_site(tmp_path, lost) as site:
        cookie, pod = await site.client.born()
        for status in (500, 502, 503, 504):
            answer = await site.client.get(cookie, f"/{status}")
            assert (answer.status, answer.pod, "Retry-After" in answer.headers) == (status, pod, False)
            assert site.pods.requests(f"/{status}") == 1
        await site.assert_kept(cookie, pod)


@HOW
async def test_a_pod_that_refuses_for_less_than_the_check_needs_keeps_its_sessions(
    lost: Lost, tmp_path: Path
) -> None:
    async with make_site(tmp_path, lost) as site:
        cookie, pod = await site.client.born()
        site.pods.stop(pod)
        request = asyncio.create_task(site.client.get(cookie))
        await asyncio.sleep(VERDICT_SECONDS / 2)
        await site.pods.start(pod)
        answer = await request
        assert (answer.status, answer.pod) == (200, pod)
        await site.assert_kept(cookie, pod)


@HOW
@pytest.mark.parametrize("retry", Retry)
async def test_a_pod_that_does_not_answer_is_asked_once_and_not_lost(
    retry: Retry, lost: Lost, tmp_path: Path
) -> None:
    async with make_site(tmp_path, msgspec.structs.replace(lost, retry=retry)) as site:
        cookie, pod = await site.client.born()
        assert (await site.client.get(cookie, "/hang")).status == 504
        assert site.pods.requests("/hang") == 1
        await site.assert_kept(cookie, pod)


@HOW
async def test_what_was_sent_is_not_sent_again_unless_the_owner_says_so(lost: Lost, tmp_path: Path) -> None:
    async with make_site(tmp_path, lost) as site:
        cookie, pod = await site.client.born()
        assert (await site.client.get(cookie, "/drop-once")).status == 502
        assert await site.post(cookie, "/drop-once") == 502
        assert site.pods.requests("/drop-once") == 2
        await site.assert_kept(cookie, pod)


@HOW
async def test_what_may_be_repeated_is_sent_again_to_the_same_pod_and_nothing_else_is(
    lost: Lost, tmp_path: Path
) -> None:
    async with make_site(tmp_path, msgspec.structs.replace(lost, retry=Retry.IDEMPOTENT)) as site:
        cookie, pod = await site.client.born()
        answer = await site.client.get(cookie, "/drop-once")
        assert (answer.status, answer.pod, site.pods.got[pod, "GET", "/drop-once"]) == (200, pod, 2)
        assert await site.post(cookie, "/drop-once") == 502
        assert site.pods.got[pod, "POST", "/drop-once"] == 1
        assert site.pods.requests("/drop-once") == 3
        await site.assert_kept(cookie, pod)


async def test_an_idempotent_request_whose_pod_dies_over_it_is_answered_by_another(tmp_path: Path) -> None:
    async with make_site(tmp_path, Lost(retry=Retry.IDEMPOTENT)) as site:
        cookie, pod = await site.client.born()
        answer = await site.client.get(cookie, "/die-first")
        assert (answer.status, answer.pod != pod) == (200, True)
        assert (site.pods.requests("/die-first"), await site.proxy.value(cookie)) == (2, answer.pod)
        assert await site.tallied() == {Tally.FAILED_OVER_UNREACHABLE: 1}


async def test_a_request_that_changes_something_is_not_repeated_when_its_pod_dies_over_it(
    tmp_path: Path,
) -> None:
    async with make_site(tmp_path, Lost(retry=Retry.IDEMPOTENT)) as site:
        cookie, _ = await site.client.born()
        assert await site.post(cookie, "/die-first") == 502
        assert site.pods.requests("/die-first") == 1


@HOW
async def test_a_session_that_was_unbound_is_bound_anew_by_its_next_request_and_has_not_failed_over(
    lost: Lost, tmp_path: Path
) -> None:
    async with make_site(tmp_path, lost) as site:
        cookie, pod = await site.client.born()
        site.pods.stop(pod)
        await site.proxy.bind(cookie, UNBIND)
        await set_slots(site.proxy, {pod: 1})
        answer = await site.client.get(cookie)
        assert (answer.status, answer.pod != pod, answer.cookie[:32]) == (200, True, cookie[:32])
        await site.assert_kept(cookie, answer.pod)


@HOW
async def test_a_session_that_was_moved_on_purpose_has_not_failed_over(lost: Lost, tmp_path: Path) -> None:
    async with make_site(tmp_path, lost) as site:
        cookie, pod = await site.client.born()
        other = pod % 3 + 1
        await site.proxy.bind(cookie, other + NEWBORN)
        await site.assert_kept(cookie, other)
