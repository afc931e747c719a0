"""The control port and the command line of the verifier."""

import socket

import pytest
from aiohttp.test_utils import TestClient, TestServer

from apps.shop import Shop, serving
from apps.verifier.__main__ import make_settings, parse_arguments
from apps.verifier.control import make_app
from apps.verifier.load import Verifier
from apps.verifier.settings import Settings, SettingsError, Target


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


async def test_phases_figures_and_the_end_are_commanded_over_http() -> None:
    host, port = "127.0.0.2", free_port("127.0.0.2")
    settings = Settings((Target(host, port),), sessions=5, rate=2000, births_per_second=0, workers=2)
    verifier = Verifier(settings)
    async with serving(Shop("shop-0"), host, port), TestClient(TestServer(make_app(verifier))) as client:
        await verifier.start()
        await verifier.reached(10)
        assert (await client.post("/phase/steady")).status == 200
        await verifier.reached(10)
        names = [phase["name"] for phase in (await (await client.get("/result")).json())["phases"]]
        result = await (await client.post("/stop")).json()
        again = await (await client.post("/stop")).json()
    assert names == ["births", "steady"]
    assert (result["sessions"], result["births"], result["violations"]) == (5, 5, 0)
    assert again == result


async def test_newcomers_are_begun_and_ended_over_http() -> None:
    host, port = "127.0.0.2", free_port("127.0.0.2")
    verifier = Verifier(Settings((Target(host, port),), sessions=1, rate=200))
    shop = Shop("shop-0")
    async with serving(shop, host, port), TestClient(TestServer(make_app(verifier))) as client:
        refused = (await client.delete("/newcomers")).status
        await client.post("/newcomers?rate=500")
        assert (await client.post("/newcomers")).status == 409
        await verifier.start()
        await verifier.reached(20)
        await verifier.stop()
        arrivals = await (await client.delete("/newcomers")).json()
    assert refused == 409
    assert arrivals["failed"] == 0


def test_a_run_without_an_end_is_refused() -> None:
    with pytest.raises(SettingsError, match="no end"):
        make_settings(parse_arguments(["--target", "h:1"]))


def test_the_command_line_becomes_settings() -> None:
    settings = make_settings(
        parse_arguments(
            ["--target", "a:1", "--target", "b:2", "--requests", "9", "--reopen", "0.5", "--births", "0"]
        )
    )
    assert settings == Settings((Target("a", 1), Target("b", 2)), births_per_second=0.0, reopen=0.5, limit=9)
