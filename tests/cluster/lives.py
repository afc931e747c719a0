"""An operator that dies in every write, in the place of the operator; which writes its lives ended in."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cluster import dying_operator
from cluster.dying_operator import BROKEN, ENDED, Moment
from cluster.world import Shop, World
from demo.kube import until
from demo.settings import OPERATOR_SELECTOR, SYSTEM
from stickyrouting.metrics import operator_table as table

NAME = "dying-operator"
KINDS = (
    "pods",
    "configmaps",
    "secrets",
    "services",
    "serviceaccounts",
    "roles",
    "rolebindings",
    "deployments",
    "poddisruptionbudgets",
)
QUIET = 6.0
"""Seconds without a write after which none is wanting: a pod that may go, goes within two."""


class Write(NamedTuple):
    """A call that changed something: the verb, and the path of what it was about."""

    verb: str
    path: str


class Lives:
    """The lives of the operator that dies."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def ends(self) -> Sequence[Write]:
        """Return the write that each life ended in; raises AssertionError if one ended otherwise."""
        text = await self._world.kubectl.run("logs", "-n", SYSTEM, NAME)
        assert BROKEN not in text, text[-4000:]
        lines = (line for line in text.splitlines() if line.startswith(ENDED))
        return [Write(*line.removeprefix(ENDED).split(" ", 1)) for line in lines]

    async def quiet(self, seconds: float) -> None:
        """Wait until a life has nothing to write."""
        count, since = -1, time.monotonic()

        async def lasts() -> bool:
            nonlocal count, since
            now = len(await self.ends())
            if now != count:
                count, since = now, time.monotonic()
            return time.monotonic() - since > QUIET

        await until("a life that writes nothing", lasts, seconds)


@contextlib.asynccontextmanager
async def dying(world: World, moment: Moment) -> AsyncIterator[Lives]:
    """Have the operator die in every write while the block runs."""
    (deployment,) = await world.kubectl.items("deployments", "-n", SYSTEM, "-l", OPERATOR_SELECTOR)
    lives = Lives(world)
    await world.scale_operator(0)
    try:
        await world.kubectl.apply([make_script(), make_pod(deployment["spec"]["template"], moment)])

        async def leads() -> bool:
            return await world.leader() == NAME

        await until("the operator that dies to lead", leads, 60)
        yield lives
    finally:
        await world.kubectl.run("delete", "pod,configmap", "-n", SYSTEM, NAME, "--ignore-not-found")
        await world.scale_operator(2)


async def versions(shop: Shop) -> dict[str, str]:
    """Return the version of each object of a shop that an operator may write, its StickyService aside."""
    found = await shop.items(",".join(KINDS))
    return {
        f"{item['kind']} {item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for item in found
        if "deletionTimestamp" not in item["metadata"]
    }


async def until_counted(shop: Shop) -> None:
    """Wait until an operator that lives has looked at a shop and heard all of its proxies."""
    world = shop.world
    counted = f'{table.COUNTED}{{namespace="{shop.namespace}",stickyservice="shop"}} 1.0'

    async def counts() -> bool:
        path = f"/api/v1/namespaces/{SYSTEM}/pods/{await world.leader()}:8080/proxy/metrics"
        return counted in (await world.kubectl.run("get", "--raw", path)).splitlines()

    await until("an operator that lives to count the shop's sessions", counts, 60)


def make_script() -> dict[str, Any]:
    """Return the file that the pod runs, as a ConfigMap."""
    path = Path(dying_operator.__file__)
    metadata = {"name": NAME, "namespace": SYSTEM}
    data = {path.name: path.read_text(encoding="utf-8")}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def make_pod(template: Any, moment: Moment) -> dict[str, Any]:
    """Return a pod like the operator's own, image, account, settings and all, that runs the file."""
    spec = json.loads(json.dumps(template["spec"]))
    (container,) = spec["containers"]
    container["command"] = [
        "python",
        "-W",
        "ignore",
        f"/test/{Path(dying_operator.__file__).name}",
        moment.value,
    ]
    # Between two lives nobody answers.
    for probe in ("livenessProbe", "readinessProbe"):
        container.pop(probe, None)
    container["volumeMounts"].append({"name": "test", "mountPath": "/test"})
    spec["volumes"].append({"name": "test", "configMap": {"name": NAME}})
    spec.pop("topologySpreadConstraints", None)
    spec["restartPolicy"] = "Never"
    # Should nobody be left to end it.
    spec["activeDeadlineSeconds"] = 300
    metadata = {"name": NAME, "namespace": SYSTEM, "labels": template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
