"""Whether the hold is in force: a deletion is tried, without effect, as the ReplicaSet controller would ask for it."""

import time

from cluster.world import Shop
from demo.kube import KubectlError, until

CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"
DENIED = "held by StickyService"
PATIENCE = 40.0
"""An API server looks for new kinds every 30 s: what takes longer never comes."""


async def objection(shop: Shop, pod: str) -> str:
    """Return kubectl's words why the ReplicaSet controller may not delete a pod; "" if it may. Nothing is deleted."""
    dry = ("--dry-run=server", "--request-timeout=5s", f"--as={CONTROLLER}")
    try:
        await shop.run("delete", "pod", pod, *dry)
    except KubectlError as error:
        return str(error).partition(": ")[2]
    return ""


async def held_pods(shop: Shop) -> list[str]:
    """Return the names of the shop's pods that bear the mark of the hold and were not asked to end."""
    found = await shop.items("pods", "-l", "app=shop,stickyrouting.io/hold=true")
    return sorted(p["metadata"]["name"] for p in found if "deletionTimestamp" not in p["metadata"])


async def until_held(shop: Shop) -> None:
    """Wait until the hold is in force, after a start of the API server say, and print how long that took."""
    start = time.monotonic()

    async def denied() -> bool:
        pods = await held_pods(shop)
        return bool(pods) and DENIED in await objection(shop, pods[-1])

    await until("the hold to be in force", denied, PATIENCE, pause=0.2)
    print(f"the hold is in force after {time.monotonic() - start:.1f} s")


async def until_free(shop: Shop, pod: str) -> None:
    """Wait until the ReplicaSet controller may delete a pod."""

    async def admitted() -> bool:
        return not await objection(shop, pod)

    await until(f"pod {pod} to be free", admitted, 15, pause=0.2)
