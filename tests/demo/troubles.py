"""The demo's phases: what is done to the cluster while the verifier's traffic runs, one function each."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from demo.kube import Kubectl, KubectlError, until
from demo.pods import Health, Pod, count, list_pods, watching
from demo.settings import (
    NAMESPACE,
    OPERATOR_SELECTOR,
    PROXY,
    PROXY_SELECTOR,
    SHOP,
    SHOP_SELECTOR,
    SYSTEM,
    Settings,
)
from demo.traffic import Traffic
from demo.verdict import Measured

PATIENCE = 120.0
CARTS_IN_USE = 6.0
"""Seconds for which draining pods are watched before anybody checks out."""
LOGOUTS = 30.0


@dataclass(frozen=True, slots=True)
class Stage:
    """What a phase acts on, and how it tells what it does."""

    kubectl: Kubectl
    settings: Settings
    say: Callable[[str], None]
    traffic: Traffic
    measured: Measured


async def nothing(stage: Stage) -> None:
    """Only traffic."""


async def scale_up(stage: Stage) -> None:
    """Five shop pods instead of two."""
    await scale_shop(stage, 5)


async def delete_one_proxy(stage: Stage) -> None:
    """Delete a proxy pod; wait until it has ended and another one is ready."""
    proxies = await list_pods(stage.kubectl, NAMESPACE, PROXY_SELECTOR)
    victim = proxies[0].name
    stage.say(f"kubectl delete pod {victim}")
    await stage.kubectl.run("delete", "pod", victim, "-n", NAMESPACE, "--wait=false")

    def replaced(pods: list[Pod]) -> bool:
        return victim not in {pod.name for pod in pods} and count(pods, Health.READY) == len(proxies)

    await proxies_are(stage, f"{victim} to end and be replaced", replaced)


async def roll_proxies(stage: Stage) -> None:
    """Replace all proxy pods; wait until the old ones have ended."""
    old = {pod.name for pod in await list_pods(stage.kubectl, NAMESPACE, PROXY_SELECTOR)}
    stage.say(f"kubectl rollout restart deployment/{PROXY}")
    await stage.kubectl.run("rollout", "restart", f"deployment/{PROXY}", "-n", NAMESPACE)

    def rolled(pods: list[Pod]) -> bool:
        return not old & {pod.name for pod in pods} and count(pods, Health.READY) == len(old)

    await proxies_are(stage, "all proxies to be replaced", rolled)


async def kill_operator(stage: Stage) -> None:
    """No operator for a while; afterwards as many as before."""
    arguments = ("deployment", "-n", SYSTEM, "-l", OPERATOR_SELECTOR)
    deployment = (await stage.kubectl.items(*arguments))[0]
    name, replicas = deployment["metadata"]["name"], deployment["spec"]["replicas"]
    stage.say(f"kubectl scale deployment/{name} --replicas=0 for {stage.settings.operator_gone:.0f} s")
    await stage.kubectl.run("scale", f"deployment/{name}", "-n", SYSTEM, "--replicas=0")

    async def gone() -> bool:
        return not await list_pods(stage.kubectl, SYSTEM, OPERATOR_SELECTOR)

    async def back() -> bool:
        pods = await list_pods(stage.kubectl, SYSTEM, OPERATOR_SELECTOR)
        return count(pods, Health.READY) == int(replicas)

    try:
        await until("the operator to end", gone, PATIENCE)
        await asyncio.sleep(stage.settings.operator_gone)
    finally:
        stage.say(f"kubectl scale deployment/{name} --replicas={replicas}")
        await stage.kubectl.run("scale", f"deployment/{name}", "-n", SYSTEM, f"--replicas={replicas}")
    await until("the operator to be back", back, PATIENCE)


async def all_unready(stage: Stage) -> None:
    """Every shop pod fails its readiness for a while, and goes on serving."""
    pods = [pod.name for pod in await list_pods(stage.kubectl, NAMESPACE, SHOP_SELECTOR)]
    stage.say(f"all {len(pods)} shop pods turn unready for {stage.settings.unready:.0f} s")
    try:
        await set_ready(stage, pods, "false")
        await shop_is(
            stage, "all shop pods to be unready", lambda seen: count(seen, Health.UNREADY) == len(pods)
        )
        await asyncio.sleep(stage.settings.unready)
    finally:
        await set_ready(stage, pods, "true")
    await shop_is(stage, "all shop pods to be ready", lambda seen: count(seen, Health.READY) == len(pods))


async def kill_one_pod(stage: Stage) -> None:
    """A shop pod crashes and is gone: its sessions go on elsewhere, with a new cart."""
    pods = await list_pods(stage.kubectl, NAMESPACE, SHOP_SELECTOR)
    victim = pods[0].name
    stage.say(f"{victim} crashes and is deleted: its sessions are lost, and bound anew")
    with contextlib.suppress(KubectlError):  # it does not live to answer
        await stage.kubectl.post(f"/api/v1/namespaces/{NAMESPACE}/pods/{victim}:8080/proxy/admin/crash")
    await stage.kubectl.run("delete", "pod", victim, "-n", NAMESPACE, "--force", "--grace-period=0")

    def replaced(seen: list[Pod]) -> bool:
        return victim not in {pod.name for pod in seen} and count(seen, Health.READY) == len(pods)

    await shop_is(stage, f"{victim} to be replaced", replaced)


async def set_ready(stage: Stage, pods: list[str], value: str) -> None:
    """Switch the readiness of ``pods`` through the API server's proxy, which ignores readiness."""
    paths = (
        f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/admin/ready?value={value}" for pod in pods
    )
    await asyncio.gather(*(stage.kubectl.post(path) for path in paths))


async def scale_shop(stage: Stage, replicas: int) -> None:
    """Scale the shop and wait until exactly so many pods are there and ready."""
    stage.say(f"kubectl scale deployment/{SHOP} --replicas={replicas}")
    await stage.kubectl.run("scale", f"deployment/{SHOP}", "-n", NAMESPACE, f"--replicas={replicas}")

    def settled(pods: list[Pod]) -> bool:
        return len(pods) == replicas == count(pods, Health.READY)

    await shop_is(stage, f"{replicas} shop pods to be ready", settled)


async def shop_is(stage: Stage, what: str, true: Callable[[list[Pod]], bool]) -> None:
    """Wait until the shop's pods are as ``true`` says."""
    await pods_are(stage, SHOP_SELECTOR, what, true)


async def proxies_are(stage: Stage, what: str, true: Callable[[list[Pod]], bool]) -> None:
    """Wait until the proxy pods are as ``true`` says."""
    await pods_are(stage, PROXY_SELECTOR, what, true)


async def pods_are(stage: Stage, selector: str, what: str, true: Callable[[list[Pod]], bool]) -> None:
    """Wait until the pods of ``selector`` are as ``true`` says; raise ``TooLateError`` after two minutes."""

    async def now() -> bool:
        return true(await list_pods(stage.kubectl, NAMESPACE, selector))

    await until(what, now, PATIENCE)


async def scale_down(stage: Stage) -> None:
    """Three shop pods instead of five, while all have carts in use."""
    stage.say(f"kubectl scale deployment/{SHOP} --replicas=3")
    begun = time.monotonic()
    await stage.kubectl.run("scale", f"deployment/{SHOP}", "-n", NAMESPACE, "--replicas=3")

    async def is_content() -> bool:
        shop = await stage.kubectl.get("deployment", SHOP, "-n", NAMESPACE)
        return bool(shop["status"]["replicas"] == 3)

    await until("the Deployment to be content", is_content, PATIENCE, pause=0.1)
    stage.measured.scale_to_content.append(time.monotonic() - begun)
    await see_off(stage, 2)


async def roll_shop(stage: Stage) -> None:
    """A new revision of the shop, while all pods of the old one have carts in use."""
    old = len(await list_pods(stage.kubectl, NAMESPACE, SHOP_SELECTOR))
    stage.say(f"kubectl rollout restart deployment/{SHOP}")
    await stage.kubectl.run("rollout", "restart", f"deployment/{SHOP}", "-n", NAMESPACE)
    await stage.kubectl.run("rollout", "status", f"deployment/{SHOP}", "-n", NAMESPACE, "--timeout=120s")
    stage.say("the rollout has finished; the old pods drain")
    await see_off(stage, old)


async def see_off(stage: Stage, pods: int) -> None:
    """Wait until so many shop pods drain, let their clients log out, and note how soon each pod goes."""
    await shop_is(stage, f"{pods} shop pods to drain", lambda seen: count(seen, Health.DRAINING) == pods)
    shop = await list_pods(stage.kubectl, NAMESPACE, SHOP_SELECTOR)
    drains = [pod.name for pod in shop if pod.health is Health.DRAINING]
    living = (await stage.traffic.snapshot()).pods
    for pod in drains:
        stage.say(f"{pod} drains: {living.get(pod, 0)} carts in use")
    await asyncio.sleep(CARTS_IN_USE)
    stage.say(f"{sum(living.get(pod, 0) for pod in drains)} clients check out, {LOGOUTS:.0f} per second")
    async with watching(stage.kubectl, NAMESPACE, SHOP_SELECTOR) as times:
        await stage.traffic.leave(LOGOUTS, drains)
        await shop_is(stage, "them to go", lambda seen: not {pod.name for pod in seen} & set(drains))
        await stage.traffic.leave(0.0)
    ended = (await stage.traffic.snapshot()).ended
    for pod in drains:
        delay = times.ending[pod] - ended[pod] if pod in ended and pod in times.ending else None
        stage.measured.last_to_release.append(delay)
        stage.say(f"{pod} went " + ("unseen" if delay is None else f"{delay:.1f} s after its last session"))


Trouble = Callable[[Stage], Awaitable[None]]

PHASES: tuple[tuple[str, Trouble], ...] = (
    ("births", nothing),
    ("steady", nothing),
    ("scale-up", scale_up),
    ("proxy-deleted", delete_one_proxy),
    ("proxies-rolled", roll_proxies),
    ("operator-killed", kill_operator),
    ("pods-unready", all_unready),
    ("pod-killed", kill_one_pod),
    ("scaled-down", scale_down),
    ("rolled-out", roll_shop),
)
