"""Promise P10: the switch's account has controllers look again, and can change nothing else of them."""

from cluster.world import Shop, World
from demo.kube import KubectlError, until
from demo.settings import SYSTEM

NAME = "sticky-routing-switch"


async def answer(shop: Shop, patch: str) -> str:
    """Return why the switch may not patch the shop's ReplicaSet so; "" if it may."""
    (found, *_) = await shop.items("replicasets", "-l", "app=shop")
    arguments = ("patch", "replicaset", found["metadata"]["name"], "--type=merge", "-p", patch)
    try:
        await shop.run(*arguments, "--dry-run=server", f"--as=system:serviceaccount:{SYSTEM}:{NAME}")
    except KubectlError as error:
        return str(error)
    return ""


async def test_the_switchs_own_account_is_fenced_on_controllers(world: World, shop: Shop) -> None:
    # kubectl reads what it patches; the switch has no need to.
    await shop.run(
        "create", "rolebinding", "reads", "--clusterrole=view", f"--serviceaccount={SYSTEM}:{NAME}"
    )

    async def pokes() -> bool:
        return not await answer(shop, '{"metadata":{"annotations":{"stickyrouting.io/poke":"now"}}}')

    await until("the switch to be let poke", pokes, 15)
    forbidden = {
        "leaves the spec": '{"spec":{"replicas":0}}',
        "changes only the annotation": '{"metadata":{"annotations":{"evil":"1"}}}',
        "leaves the labels": '{"metadata":{"labels":{"evil":"1"}}}',
        "leaves the owners": '{"metadata":{"ownerReferences":[]}}',
    }
    for why, patch in forbidden.items():
        assert f"{NAME} {why}" in await answer(shop, patch), patch
