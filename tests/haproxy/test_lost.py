"""A session whose pod is gone, restarted or out of reach gets what its owner chose, once, and is counted once."""

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from haproxy.harness import KEYS, Client, free_ports, make_desired, running_haproxy, until
from haproxy.lost_site import CHECK, HOW, PODS, REBIND, REJECT, assert_unavailable, make_site
from haproxy.placement_site import set_slots
from stickyrouting.model.desired import (
    Address,
    HealthCheck,
    Lost,
    OnLost,
    RejectCookie,
    RejectStatus,
    Timeouts,
)
from stickyrouting.render.haproxy_lost import Tally
from stickyrouting.render.haproxy_names import APP, NEWBORN
from stickyrouting.render.maps import hint

KNOWN = pytest.mark.parametrize("known", ["by the table", "by its cookie alone"])
TROUBLE = pytest.mark.parametrize("trouble", ["refuses", "swallows"])


@KNOWN
async def test_rebind_moves_a_session_whose_pod_is_gone_and_renews_its_cookie(
    known: str, tmp_path: Path
) -> None:
    async with make_site(tmp_path, REBIND) as site:
        cookie, pod = await site.client.born()
        await site.unlist((pod,))
        if known == "by its cookie alone":
            await site.proxy.lose_table()
        moved = await site.client.get(cookie, "/after")
        assert (moved.status, moved.cookie[:32]) == (200, cookie[:32])
        assert moved.pod != pod
        assert moved.cookie.split(".")[1] == hint(KEYS.hint_key, moved.pod)
        assert (await site.client.get(moved.cookie)).pod == moved.pod
        assert (site.pods.got[pod, "GET", "/after"], await site.proxy.value(cookie)) == (0, moved.pod)
        assert await site.tallied() == {Tally.FAILED_OVER_GONE: 1}


@KNOWN
async def test_reject_refuses_a_session_whose_pod_is_gone_until_it_starts_afresh(
    known: str, tmp_path: Path
) -> None:
    async with make_site(tmp_path, REJECT) as site:
        cookie, pod = await site.client.born()
        await site.unlist((pod,))
        if known == "by its cookie alone":
            await site.proxy.lose_table()
        before = await site.proxy.value(cookie)
        for _ in range(2):
            answer = await site.client.get(cookie, "/after")
            assert (answer.status, answer.pod) == (410, 0)
            assert answer.headers["Set-Cookie"] == "STICKY=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Content-Type"] == "text/plain"
        assert (site.pods.requests("/after"), await site.proxy.value(cookie)) == (0, before)
        assert await site.tallied() == {Tally.REJECTED_GONE: 2}
        afresh = await site.client.get()
        assert (afresh.status, afresh.pod != pod, afresh.cookie[:32] != cookie[:32]) == (200, True, True)


@pytest.mark.parametrize("status", RejectStatus)
@pytest.mark.parametrize("kept", RejectCookie)
async def test_reject_answers_with_the_status_of_the_owners_choice_and_removes_or_keeps_the_cookie(
    status: RejectStatus, kept: RejectCookie, tmp_path: Path
) -> None:
    async with make_site(tmp_path, Lost(OnLost.REJECT, status, kept)) as site:
        cookie, pod = await site.client.born()
        await site.unlist((pod,))
        answer = await site.client.get(cookie)
    removed = kept is RejectCookie.REMOVE
    assert (answer.status, "Set-Cookie" in answer.headers) == (status, removed)
    # Whoever keeps the cookie need not come back with it.
    assert ("Retry-After" in answer.headers) == (removed and status is RejectStatus.UNAVAILABLE)


async def test_a_refused_session_ends_with_its_idle_time_however_often_it_asks(tmp_path: Path) -> None:
    async with make_site(tmp_path, REJECT, idle_seconds=2) as site:
        cookie, pod = await site.client.born()
        await site.unlist((pod,))
        found = []
        for _ in range(6):
            found.append((await site.client.get(cookie)).status)
            await asyncio.sleep(0.5)
    assert (found[0], found[-1]) == (410, 200)


@HOW
async def test_a_container_restarted_in_place_has_lost_its_sessions(lost: Lost, tmp_path: Path) -> None:
    async with make_site(tmp_path, lost) as site:
        cookie, pod = await site.client.born()
        site.pods.stop(pod)
        await site.pods.start(4, at=pod)
        await site.unlist((pod,), site.pods.endpoint(4))
        answer = await site.client.get(cookie)
        served = {(await site.client.get()).pod for _ in range(9)}
        told = await site.tallied()
    assert 4 in served
    if lost is REJECT:
        assert (answer.status, told) == (410, {Tally.REJECTED_GONE: 1})
    else:
        assert (answer.status, answer.pod != pod, told) == (200, True, {Tally.FAILED_OVER_GONE: 1})


async def test_reject_refuses_whom_a_restarted_container_answers_that_was_tried_again_and_again(
    tmp_path: Path,
) -> None:
    async with make_site(tmp_path, REJECT) as site:
        cookie, pod = await site.client.born()
        site.pods.stop(pod)
        waiting = asyncio.create_task(site.client.get(cookie, "/after"))
        await asyncio.sleep(0.1)
        await site.unlist((pod,))
        await site.pods.start(4, at=pod)
        answer = await waiting
        assert site.pods.got[4, "GET", "/after"] == 1, "it came before the proxy tried again"
        assert (answer.status, answer.headers["Set-Cookie"].split(";")[0]) == (410, "STICKY=")
        assert await site.tallied() == {Tally.REJECTED_GONE: 1}


async def test_under_reject_a_pod_that_takes_connections_again_answers_whoever_waited(tmp_path: Path) -> None:
    async with make_site(tmp_path, REJECT) as site:
        cookie, pod = await site.client.born()
        site.pods.stop(pod)
        waiting = asyncio.create_task(site.client.get(cookie))
        await asyncio.sleep(0.1)
        await site.pods.start(pod)
        assert ((await waiting).status, (await waiting).pod) == (200, pod)
        await site.assert_kept(cookie, pod)


@TROUBLE
async def test_rebind_moves_a_session_once_the_check_agrees_that_its_pod_can_not_be_reached(
    trouble: str, tmp_path: Path
) -> None:
    async with make_site(tmp_path, REBIND) as site:
        cookie, pod = await site.client.born()
        (site.pods.stop if trouble == "refuses" else site.pods.swallow)(pod)
        moved = await site.client.get(cookie)
        assert (moved.status, moved.cookie[:32], moved.pod != pod) == (200, cookie[:32], True)
        assert await site.is_down(pod)
        assert await site.proxy.value(cookie) == moved.pod
        assert await site.tallied() == {Tally.FAILED_OVER_UNREACHABLE: 1}
        began = time.monotonic()
        assert (await site.client.get(moved.cookie)).pod == moved.pod
        assert (time.monotonic() - began < 0.4, await site.unserved()) == (True, 0)
        assert await site.tallied() == {Tally.FAILED_OVER_UNREACHABLE: 1}


async def test_rebind_outlasts_a_check_that_waits_for_its_connections_as_well(tmp_path: Path) -> None:
    check = HealthCheck(interval_ms=200, fall=6, rise=1)
    brief = Timeouts(connect=200, server=1_500)
    async with make_site(tmp_path, REBIND, health_check=check, timeouts=brief) as site:
        cookie, pod = await site.client.born()
        site.pods.swallow(pod)
        moved = await site.client.get(cookie)
        assert (moved.status, moved.pod != pod) == (200, True)


async def test_rebind_moves_nobody_while_the_check_does_not_agree(tmp_path: Path) -> None:
    async with make_site(tmp_path, REBIND) as site:
        cookie, pod = await site.client.born()
        assert await site.proxy.ask(f"disable health {APP}/s{pod}") == ""
        site.pods.stop(pod)
        assert_unavailable(await site.client.get(cookie))
        assert await site.unserved() == 1
        await site.pods.start(pod)
        await site.assert_kept(cookie, pod)


async def test_a_connection_that_fails_hurries_the_check(tmp_path: Path) -> None:
    seldom = msgspec.structs.replace(CHECK, interval_ms=3_600_000)
    async with make_site(tmp_path, REBIND, health_check=seldom) as site:
        cookie, pod = await site.client.born()
        site.pods.stop(pod)
        assert (await site.client.get(cookie)).status == 200
        assert await site.is_down(pod)


@pytest.mark.parametrize("tally", [Tally.FAILED_OVER_GONE, Tally.FAILED_OVER_UNREACHABLE])
async def test_many_requests_of_one_session_that_fails_over_count_once(tally: Tally, tmp_path: Path) -> None:
    async with make_site(tmp_path, REBIND) as site:
        cookie, pod = await site.client.born()
        if tally is Tally.FAILED_OVER_GONE:
            await site.unlist((pod,))
        else:
            site.pods.stop(pod)
        answers = await asyncio.gather(*(site.client.get(cookie) for _ in range(20)))
        assert {answer.status for answer in answers} == {200}
        value = await site.proxy.value(cookie)
        assert {(await site.client.get(cookie)).pod for _ in range(5)} == {value}
        assert await site.tallied() == {tally: 1}


@TROUBLE
async def test_reject_asks_a_listed_pod_that_can_not_be_reached_to_be_tried_again_and_keeps_the_binding(
    trouble: str, tmp_path: Path
) -> None:
    async with make_site(tmp_path, REJECT) as site:
        cookie, pod = await site.client.born()
        (site.pods.stop if trouble == "refuses" else site.pods.swallow)(pod)
        for number in (1, 2):
            assert_unavailable(await site.client.get(cookie, "/lost"))
            assert (await site.unserved(), await site.proxy.value(cookie)) == (number, pod)
        assert await site.is_down(pod)
        assert site.pods.requests("/lost") == 0


async def test_under_reject_a_check_that_is_wrong_keeps_nobody_from_his_pod(tmp_path: Path) -> None:
    async with make_site(tmp_path, REJECT) as site:
        cookie, pod = await site.client.born()
        assert await site.proxy.ask(f"disable health {APP}/s{pod}") == ""
        assert await site.proxy.ask(f"set server {APP}/s{pod} health down") == ""
        assert await site.is_down(pod)
        await site.assert_kept(cookie, pod)


async def test_under_reject_a_birth_whose_pod_refuses_is_taken_by_another_at_once(tmp_path: Path) -> None:
    async with make_site(tmp_path, REJECT) as site:
        await set_slots(site.proxy, {1: 1})
        site.pods.stop(1)
        began = time.monotonic()
        answer = await site.client.get()
        assert (answer.status, answer.pod in (2, 3), time.monotonic() - began < 0.3) == (200, True, True)


async def test_under_rebind_a_birth_whose_pod_refuses_is_taken_by_another_when_the_check_agrees(
    tmp_path: Path,
) -> None:
    async with make_site(tmp_path, REBIND) as site:
        await set_slots(site.proxy, {1: 1})
        site.pods.stop(1)
        answer = await site.client.get()
        assert (answer.status, answer.pod in (2, 3)) == (200, True)
        assert await site.tallied() == {}


@HOW
async def test_while_no_pod_can_be_reached_all_are_asked_to_come_back_and_every_binding_is_kept(
    lost: Lost, tmp_path: Path
) -> None:
    async with make_site(tmp_path, lost) as site:
        sessions = [await site.client.born() for _ in range(6)]
        for id_ in PODS:
            site.pods.stop(id_)
        answers = await asyncio.gather(
            site.client.get(), *(site.client.get(cookie) for cookie, _ in sessions)
        )
        for answer in answers:
            assert_unavailable(answer)
        assert await site.unserved() == len(answers)
        for id_ in PODS:
            await site.pods.start(id_)

        async def all_up() -> bool:
            return not any([await site.is_down(id_) for id_ in PODS])

        await until(all_up, "the checks have found the pods")
        for cookie, pod in sessions:
            await site.assert_kept(cookie, pod)


@HOW
async def test_while_no_pod_is_listed_at_all_nobody_loses_a_session(lost: Lost, tmp_path: Path) -> None:
    async with make_site(tmp_path, lost) as site:
        cookie, pod = await site.client.born()
        await site.unlist(PODS)
        assert_unavailable(await site.client.get(cookie))
        refused = (await site.tallied()).get(Tally.REJECTED_UNREACHABLE, 0)
        assert (refused, await site.unserved()) == ((1, 0) if lost is REJECT else (0, 1))
        assert Tally.REJECTED_GONE not in await site.tallied()
        assert await site.proxy.value(cookie) == pod


@HOW
async def test_what_the_fallback_can_not_serve_either_is_counted_unless_it_was_a_birth(
    lost: Lost, tmp_path: Path
) -> None:
    nobody = Address("127.0.0.1", free_ports(1)[0])
    async with make_site(tmp_path, lost, fallback=nobody) as site:
        cookie, _ = await site.client.born()
        await site.unlist(PODS)
        assert_unavailable(await site.client.get(cookie))
        assert_unavailable(await site.client.get())
        counted = await site.unserved() - await site.unserved_births()
        refused = (await site.tallied()).get(Tally.REJECTED_UNREACHABLE, 0)
        assert (counted, refused) == ((0, 1) if lost is REJECT else (1, 0))


async def test_a_worker_whose_table_is_not_complete_refuses_nobody_for_good(tmp_path: Path) -> None:
    async with make_site(tmp_path, REJECT) as site:
        cookie, pod = await site.client.born()
        left = [site.pods.endpoint(id_) for id_ in PODS if id_ != pod]
        async with running_haproxy(tmp_path / "b", make_desired(left, lost=REJECT), ready=False) as proxy:
            client = Client(site.client.http, proxy.url)
            assert_unavailable(await client.get(cookie))
            await proxy.set_ready()
            assert (await client.get(cookie)).status == 410


async def test_a_late_answer_of_a_pod_that_went_brings_its_server_not_back(tmp_path: Path) -> None:
    async with make_site(tmp_path, REJECT) as site:
        cookie, pod = await site.client.born()
        # Its next request takes the slow path, as a touch does, and is under way while the pod goes.
        await site.proxy.bind(cookie, pod | NEWBORN)
        late = asyncio.create_task(site.client.get(cookie, "/late"))
        await asyncio.sleep(0.2)
        await site.unlist((pod,))
        assert (await late).status == 200
        assert (await site.client.get(cookie)).status == 410
