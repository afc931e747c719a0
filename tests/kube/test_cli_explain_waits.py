"""What a draining pod is said to wait for is what its StickyServices know, and nothing if they don't."""

from pathlib import Path
from typing import Any

import pytest

from kube.api.server import ApiServer
from kube.command import Kubectl
from kube.loop_site import sticky

SOON = "Waits for the operator: it goes in a moment"
DARK = "Waits for what is not known now: kubectl sticky status shop -n demo"
KNOWN: dict[str, Any] = {"name": "shop-a", "sessions": 0, "connections": 0}


async def explained(api: ApiServer, kubeconfig: Path, *held_by: str, **listed: list[dict[str, Any]]) -> str:
    """Return what is explained of a pod with these holders, which list these endpoints in their status."""
    notes = {
        "held-by": ",".join(held_by),
        "draining": "ScaledDown",
        "draining-since": "2026-11-21T12:00:00Z",
    }
    meta = {
        "namespace": "demo",
        "name": "shop-a",
        "annotations": {f"stickyrouting.io/{key}": value for key, value in notes.items()},
    }
    api.put({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {}, "status": {}})
    for name, endpoints in listed.items():
        body = sticky()
        api.put({**body, "metadata": {**body["metadata"], "name": name}, "status": {"endpoints": endpoints}})
    return (await Kubectl(api, kubeconfig).run("explain", "shop-a")).out


async def test_a_pod_that_is_known_to_have_no_session_waits_for_the_operator_alone(
    api: ApiServer, tmp_path: Path
) -> None:
    assert SOON in await explained(api, tmp_path / "config", "shop", shop=[KNOWN])


@pytest.mark.parametrize(
    "listed", [[], [{"name": "shop-a", "state": "Draining"}]], ids=["unlisted", "uncounted"]
)
async def test_of_a_pod_whose_sessions_nobody_knows_nothing_is_promised(
    api: ApiServer, tmp_path: Path, listed: list[dict[str, Any]]
) -> None:
    told = await explained(api, tmp_path / "config", "shop", shop=listed)
    assert DARK in told
    assert SOON not in told


async def test_one_holder_that_does_not_know_is_enough_to_promise_nothing(
    api: ApiServer, tmp_path: Path
) -> None:
    told = await explained(api, tmp_path / "config", "shop", "bank", shop=[], bank=[KNOWN])
    assert DARK in told
    assert SOON not in told


async def test_a_proxy_that_is_waited_for_is_named_whatever_else_is_known(
    api: ApiServer, tmp_path: Path
) -> None:
    silent = {**KNOWN, "waitingFor": ["proxy q is not heard"]}
    told = await explained(api, tmp_path / "config", "shop", shop=[silent])
    assert "Waits for proxy q is not heard" in told
    assert SOON not in told


async def test_a_pod_that_others_shall_take_the_place_of_says_so_and_not_that_it_goes(
    api: ApiServer, tmp_path: Path
) -> None:
    wait = "ready pods in its place: Deployment shop has too few"
    told = await explained(api, tmp_path / "config", "shop", shop=[{**KNOWN, "waitingFor": [wait]}])
    assert f"Waits for {wait}" in told
    assert SOON not in told
