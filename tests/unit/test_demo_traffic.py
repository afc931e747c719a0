"""The verifier as the demo steers it, here and in a pod; waiting for what must come true."""

import socket

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from apps.shop import Shop, serving
from apps.verifier import Settings, Verifier
from apps.verifier.control import make_app
from apps.verifier.settings import Target
from demo.kube import Kubectl, KubectlError, TooLateError, until
from demo.traffic import PodTraffic, make_pod, on_host, reached


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def make_settings(port: int) -> Settings:
    return Settings((Target("127.0.0.2", port),), sessions=5, rate=1000, births_per_second=0, workers=2)


async def test_traffic_on_the_host_has_phases_and_newcomers() -> None:
    port = free_port("127.0.0.2")
    async with serving(Shop("shop-0"), "127.0.0.2", port), on_host(make_settings(port)) as traffic:
        await reached(traffic, 20, seconds=20)
        await traffic.phase("steady")
        await reached(traffic, 20, seconds=20)
        await traffic.begin_newcomers(500)
        await reached(traffic, 40, seconds=20)
        result = await traffic.stop()
        arrivals = await traffic.end_newcomers()
    assert [phase.name for phase in result.phases] == ["births", "steady"]
    assert (result.errors, result.violations, arrivals.failed) == (0, 0, 0)


async def test_traffic_in_a_pod_answers_with_the_same_types() -> None:
    port = free_port("127.0.0.2")
    verifier = Verifier(make_settings(port))
    async with (
        serving(Shop("shop-0"), "127.0.0.2", port),
        TestServer(make_app(verifier)) as server,
        aiohttp.ClientSession() as client,
    ):
        await verifier.start()
        traffic = PodTraffic(client, str(server.make_url("")).rstrip("/"))
        await traffic.phase("steady")
        await reached(traffic, 20, seconds=20)
        await traffic.begin_newcomers(100)
        arrivals = await traffic.end_newcomers()
        result = await traffic.stop()
    assert result == verifier.snapshot()
    assert arrivals.failed == 0


def test_the_verifiers_pod_runs_the_same_settings() -> None:
    pod = make_pod(make_settings(8080), "apps:1")
    assert pod["spec"]["containers"][0]["command"] == [
        "python3",
        "-m",
        "apps.verifier",
        "--target=127.0.0.2:8080",
        "--control=0.0.0.0:8090",
        "--sessions=5",
        "--rate=1000",
        "--births=0",
    ]


async def test_kubectl_that_fails_says_what_it_was_asked_and_what_it_said() -> None:
    kubectl = Kubectl(("sh", "-c", "echo no such pod >&2; exit 1", "kubectl"))
    with pytest.raises(KubectlError, match="kubectl get pods: no such pod"):
        await kubectl.run("get", "pods")


async def test_kubectl_reads_lists_and_hands_on_standard_input() -> None:
    assert await Kubectl(("sh", "-c", 'echo "{\\"items\\":[{\\"a\\":1}]}"', "kubectl")).items("pods") == [
        {"a": 1}
    ]
    assert await Kubectl(("sh", "-c", "cat", "kubectl")).run("apply", stdin="text") == "text"


async def test_waiting_ends_with_what_was_awaited_and_the_last_failure() -> None:
    async def never() -> bool:
        raise KubectlError("connection refused")

    with pytest.raises(TooLateError, match=r"waited 0 s for the moon \(last: connection refused\)"):
        await until("the moon", never, seconds=0.0, pause=0.0)
