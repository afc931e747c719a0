"""Draining by hand: what the command writes, what the operator makes of it, what the command then says."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kube.api.journal import Call
from kube.api.server import ApiServer
from kube.api.waiting import until
from kube.command import Done, Kubectl
from kube.loop_site import Manifest, desired_of, sticky
from kube.test_loop_drain import Shop, draining_shop
from stickyrouting.watch.kinds import POD

DRAINS = "drains: it goes when its last session has ended, see kubectl sticky explain"


@pytest.fixture
def kubectl(api: ApiServer, tmp_path: Path) -> Kubectl:
    return Kubectl(api, tmp_path / "kubeconfig")


def notes(shop: Shop, pod: str) -> dict[str, str]:
    found: dict[str, str] = shop.pods()[pod]["metadata"]["annotations"]
    return {key.removeprefix("stickyrouting.io/"): value for key, value in found.items()}


async def answered(shop: Shop, running: "asyncio.Task[Done]") -> Done:
    """Run loops until the command has its answer."""
    for _ in range(60):
        if running.done():
            break
        await shop.turn()
        await asyncio.sleep(0.1)
    return await running


async def say(shop: Shop, kubectl: Kubectl, *arguments: str) -> Done:
    return await answered(shop, asyncio.create_task(kubectl.run(*arguments)))


async def test_a_pod_that_is_told_to_leave_drains_until_its_own_deadline_and_stays_when_that_is_undone(
    api: ApiServer, kubectl: Kubectl, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        done = await say(shop, kubectl, "drain", "pod/shop-a", "--timeout", "30m")
        found = notes(shop, "shop-a")
        latest = datetime.fromisoformat(found["draining-since"]) + timedelta(minutes=30)
        until_then = DRAINS.replace("ended", f"ended, at {latest:%Y-%m-%dT%H:%M:%SZ} at the latest")
        assert done == Done(0, f"shop-a  {until_then} shop-a -n demo\n", "")
        assert (found["drain"], found["drain-timeout"], found["draining"]) == ("30m", "30m", "Asked")
        assert shop.states() == {"shop-a": "Draining", "shop-b": "Ready"}
        again = await say(shop, kubectl, "drain", "shop-a")
        assert again == Done(0, f"shop-a  {DRAINS} shop-a -n demo\n", "")
        undone = await say(shop, kubectl, "drain", "shop-a", "--undo")
        assert undone == Done(0, "shop-a  stays and takes new sessions\n", "")
        await shop.turn()
        assert shop.states() == {"shop-a": "Ready", "shop-b": "Ready"}
        assert notes(shop, "shop-a").keys() == {"server-id", "held-by"}


async def test_a_timeout_that_stood_on_a_pod_before_stays_when_a_drain_is_undone(
    api: ApiServer, kubectl: Kubectl, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        live = api.get(POD, "demo", "shop-a")
        own = {**live["metadata"]["annotations"], "stickyrouting.io/drain-timeout": "5m"}
        api.put({**live, "metadata": {**live["metadata"], "annotations": own}})
        assert (await kubectl.run("drain", "shop-a", "--no-wait")).out == "shop-a  told to leave\n"
        await shop.turn()
        await say(shop, kubectl, "drain", "shop-a", "--undo")
        assert notes(shop, "shop-a").keys() == {"server-id", "held-by", "drain-timeout"}


async def test_a_pod_without_sessions_is_told_to_have_gone(
    api: ApiServer, kubectl: Kubectl, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.hold(b=9)
        running = asyncio.create_task(kubectl.run("drain", "shop-a"))
        await until(lambda: "drain" in notes(shop, "shop-a"))
        api.remove(POD, "demo", "shop-a")
        assert await answered(shop, running) == Done(0, "shop-a  has no sessions left and goes\n", "")


async def test_another_pod_that_has_taken_the_name_meanwhile_is_left_alone(
    api: ApiServer, kubectl: Kubectl
) -> None:
    meta = {"labels": {"stickyrouting.io/hold": "true"}, "annotations": {"stickyrouting.io/held-by": "shop"}}
    live = {"apiVersion": "v1", "kind": "Pod", "spec": {}, "status": {}}
    named = {**live, "metadata": {**meta, "namespace": "demo", "name": "cart-0"}}
    first = api.put(named)["metadata"]["uid"]

    def meanwhile(call: Call) -> None:
        if call.verb == "patch" and api.get(POD, "demo", "cart-0")["metadata"]["uid"] == first:
            api.remove(POD, "demo", "cart-0")
            api.put(named)

    api.admit = meanwhile
    assert await kubectl.run("drain", "cart-0") == Done(0, "cart-0  has gone\n", "")
    assert api.get(POD, "demo", "cart-0")["metadata"]["annotations"] == meta["annotations"]


async def test_all_pods_of_a_stickyservice_or_of_a_node_drain_and_nobody_else(
    api: ApiServer, kubectl: Kubectl, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        live = api.get(POD, "demo", "shop-b")
        api.put({**live, "spec": {**live["spec"], "nodeName": "worker-2"}})
        done = await say(shop, kubectl, "drain", "--node", "worker-2")
        assert (done.code, done.out.split()[0], len(done.out.splitlines())) == (0, "shop-b", 1)
        assert (notes(shop, "shop-b")["draining"], "draining" in notes(shop, "shop-a")) == ("Asked", False)
        done = await say(shop, kubectl, "drain", "--all", "shop")
        assert [line.split()[0] for line in done.out.splitlines()] == ["shop-a", "shop-b"]
        done = await say(shop, kubectl, "drain", "--all", "shop", "--undo")
        assert done.out == "shop-a  stays and takes new sessions\nshop-b  stays and takes new sessions\n"
        assert await kubectl.run("drain", "--all", "shop", "--undo") == Done(
            0, "", "no pod of StickyService shop was told to leave\n"
        )


async def test_a_node_without_held_pods_is_said_and_one_that_is_not_there_too(
    api: ApiServer, kubectl: Kubectl
) -> None:
    api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker-1"}})
    assert await kubectl.run("drain", "--node", "worker-1") == Done(
        0, "", "no pod on node worker-1 is held\n"
    )
    done = await kubectl.run("drain", "--node", "worker-9")
    assert (done.code, "no node worker-9 (context test): kubectl get nodes lists them" in done.err) == (
        5,
        True,
    )


async def test_undoing_a_drain_that_nobody_asked_for_says_why_the_pod_drains(
    api: ApiServer, kubectl: Kubectl, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        done = await kubectl.run("drain", "shop-a", "--undo")
        assert done.out == (
            "shop-a  was not told to leave, and drains on (ScaledDown) as its controller does not want it\n"
        )
        done = await say(shop, kubectl, "drain", "shop-a")
        assert done.out.startswith("shop-a  drains already (ScaledDown): it goes when")
        done = await say(shop, kubectl, "drain", "shop-a", "--undo")
        assert done.out.startswith("shop-a  was told to leave no more, and drains on (ScaledDown)")


async def test_a_cordoned_pod_takes_no_new_sessions_and_stays(
    api: ApiServer, kubectl: Kubectl, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        done = await kubectl.run("cordon", "shop-a")
        assert done.out == (
            "shop-a  takes no new sessions and keeps its own; kubectl sticky uncordon shop-a undoes it\n"
        )
        await shop.turn()
        assert weights(api) == {"shop-a": 0, "shop-b": 100}
        assert "Cordoned" in (await kubectl.run("status", "shop")).out
        assert (await kubectl.run("uncordon", "shop-a")).out == "shop-a  takes new sessions again\n"
        await shop.turn()
        assert weights(api) == {"shop-a": 100, "shop-b": 100}
        assert (await kubectl.run("uncordon", "shop-a")).out == "shop-a  was not cordoned\n"
        assert "draining" not in notes(shop, "shop-a")


def weights(api: ApiServer) -> dict[str, int]:
    return {e["name"]: e["weight"] for e in desired_of(api)["endpoints"]}


@pytest.mark.parametrize("verb", ["drain", "cordon", "uncordon", "explain"])
async def test_a_pod_that_no_stickyservice_holds_is_refused_with_what_to_do(
    api: ApiServer, kubectl: Kubectl, verb: str
) -> None:
    put_pod(api, "stranger")
    put_pod(api, "kept", {"stickyrouting.io/held-by": "shop"})
    arguments = ("stranger",) if verb == "explain" else ("kept", "stranger")
    done = await kubectl.run(verb, *arguments)
    assert (done.code, done.out) == (7, "")
    assert "pod stranger is held by no StickyService: it stands behind none, or is not listed" in done.err
    assert "kubectl sticky status -n demo lists the StickyServices" in done.err
    assert api.get(POD, "demo", "kept")["metadata"]["annotations"] == {"stickyrouting.io/held-by": "shop"}


async def test_a_pod_that_its_stickyservice_does_not_hold_back_is_not_drained(
    api: ApiServer, kubectl: Kubectl
) -> None:
    put_pod(api, "kept", {"stickyrouting.io/held-by": "shop"})
    done = await kubectl.run("drain", "kept")
    assert done.code == 7
    assert "StickyService shop says drain.hold: Disabled. Set it to Enabled, or delete the pod" in done.err


@pytest.mark.parametrize("verb", ["drain", "cordon", "explain"])
async def test_a_pod_that_is_not_there_is_told_with_those_that_are_held(
    api: ApiServer, kubectl: Kubectl, tmp_path: Path, verb: str
) -> None:
    async with draining_shop(api, tmp_path):
        done = await kubectl.run(verb, "pod/shop-x")
        assert done.code == 5
        assert "no pod shop-x in namespace demo (context test); held are: shop-a, shop-b" in done.err


async def test_an_operator_that_does_not_mark_a_pod_is_named_when_time_is_over(
    api: ApiServer, kubectl: Kubectl, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path):
        done = await kubectl.run("drain", "shop-a", "--wait-timeout", "0.5")
        assert (done.code, done.out) == (6, "")
        assert done.err.startswith(
            "Error: after 0.5 s still waiting for the operator to take up the request for pod shop-a (does it run?"
        )


async def test_a_name_that_is_neither_a_pod_nor_a_stickyservice_is_told_so(
    api: ApiServer, kubectl: Kubectl
) -> None:
    api.put(sticky())
    done = await kubectl.run("explain", "shoop")
    assert done.code == 5
    assert "no StickyService shoop" in done.err
    assert "no pod shoop in namespace demo" in done.err


async def test_a_pod_that_drains_is_explained_with_what_it_waits_for_and_how_to_free_it(
    api: ApiServer, kubectl: Kubectl, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        assert (await kubectl.run("explain", "shop")).out == "no pod of StickyService shop drains\n"
        plain = (await kubectl.run("explain", "shop-a")).out.splitlines()
        assert plain[0] == "shop-a in namespace demo does not drain"
        shop.scale(1)
        await shop.turn()
        await shop.turn()
        shop.site.monotonic += 60
        await shop.turn()
        told = (await kubectl.run("explain", "shop-a")).out
        assert told == (await kubectl.run("explain", "shop")).out
        lines = told.splitlines()
        assert lines[0] == (
            "shop-a in namespace demo drains: ScaledDown, there are more pods than its controller wants"
        )
        labels = ["Since", "Deadline", "Sessions", "Waits for", "Held by", "Taken out", "To free it"]
        assert [line[2:12].strip() for line in lines[1:8]] == labels
        assert "3, 0 requests or connections in flight" in lines[3]
        assert lines[4] == "  Waits for the end of its sessions"
        assert "of ReplicaSet shop-1, which does without it; it goes with Deployment shop" in told
        assert "    kubectl delete pod shop-a -n demo    # now, with the sessions that are left" in lines
        assert "--undo" not in told
        status = (await kubectl.run("status", "shop")).out
        assert "1 pod drains, 3 sessions left" in status.replace("\n            ", " ")
        assert "ScaledDown" in status


async def test_a_silent_proxy_is_named_as_what_a_pod_waits_for(
    api: ApiServer, kubectl: Kubectl, tmp_path: Path
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        shop.scale(1)
        await shop.turn()
        live = api.get(POD, "demo", "p")
        silent: Manifest = {
            **live,
            "metadata": {"namespace": "demo", "name": "q", "labels": live["metadata"]["labels"]},
        }
        api.put({**silent, "status": {**live["status"], "podIP": "127.0.0.1"}})
        for _ in range(3):
            shop.site.monotonic += 20
            await shop.turn()
        assert "Waits for proxy q is not heard" in (await kubectl.run("explain", "shop-a")).out


def put_pod(api: ApiServer, name: str, annotations: dict[str, str] | None = None) -> None:
    meta = {"namespace": "demo", "name": name, "annotations": annotations or {}}
    api.put({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {}, "status": {}})
