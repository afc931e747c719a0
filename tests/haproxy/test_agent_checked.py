"""The real agent keeps births from pods that answer their check by a bad status; their sessions stay where they are."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from haproxy.agent_pod import make_pod, until
from haproxy.binary import haproxy_command
from haproxy.harness import Client
from haproxy.lost_agent import forgetful, three_pods
from haproxy.lost_site import PODS
from haproxy.troubled_pods import CHECK_PATH, TroubledPods
from stickyrouting.model.desired import Algorithm, HealthCheck, Placement

ASKING = HealthCheck(path=CHECK_PATH, interval_ms=200)


@pytest.fixture
async def pods() -> AsyncIterator[TroubledPods]:
    async with three_pods() as pods:
        yield pods


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with forgetful() as http:
        yield http


@pytest.mark.parametrize("algorithm", [Algorithm.LEAST_SESSIONS, Algorithm.ROUND_ROBIN])
async def test_a_pod_that_fails_its_check_takes_no_births_and_keeps_its_sessions_until_it_is_well_again(
    algorithm: Algorithm, pods: TroubledPods, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with make_pod(tmp_path) as pod:
        pod.write_keys("a", 1, "k1")
        listed = [pods.endpoint(id_) for id_ in PODS]
        pod.write_desired(listed, health_check=ASKING, placement=Placement(algorithm))
        await pod.up(haproxy_command())
        visitor = Client(client, pod.url)
        sessions = [await visitor.born() for _ in range(9)]
        assert {where for _, where in sessions} == set(PODS)

        async def births() -> set[int]:
            return {(await visitor.get()).pod for _ in range(24)}

        async def avoided() -> bool:
            return await births() == {1, 2}

        async def taken() -> bool:
            return 3 in await births()

        async def kept() -> None:
            for cookie, where in sessions:
                answer = await visitor.get(cookie)
                assert (answer.status, answer.pod) == (200, where)

        pods.checks[3] = 503
        await until(avoided, "births go to the pods that are well", patience=5)
        await kept()
        settled = {"health_check": ASKING, "placement": Placement(algorithm), "idle_seconds": 900}
        await pod.reached(pod.write_desired(listed, **settled))
        assert (await pod.report()).haproxy.reloads == 1
        await kept()
        await until(avoided, "births go to the pods that are well after a reload too", patience=5)
        pods.checks[3] = 200
        await until(taken, "births go to the pod that is well again", patience=5)


async def test_while_all_pods_fail_their_check_new_sessions_are_kept_on_one_of_them(
    pods: TroubledPods, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with make_pod(tmp_path) as pod:
        pod.write_keys("a", 1, "k1")
        pod.write_desired([pods.endpoint(id_) for id_ in PODS], health_check=ASKING)
        await pod.up(haproxy_command())
        visitor = Client(client, pod.url)
        for id_ in PODS:
            pods.checks[id_] = 503

        async def bound() -> bool:
            answer = await visitor.get()
            return answer.status == 200 and bool(answer.cookie)

        await asyncio.sleep(3)
        assert all([await bound() for _ in range(6)])
        cookie, where = await visitor.born()
        assert [(await visitor.get(cookie)).pod for _ in range(3)] == [where] * 3
