"""Pods leave ReplicaSets that no Deployment owns in one write, and go back in another: those of Argo, and bare ones."""

from pathlib import Path

import pytest

from kube.api.server import ApiServer
from kube.loop_site import Manifest, service
from kube.test_loop_drain import SET, Shop, draining_shop
from stickyrouting.watch.kinds import POD, REPLICA_SET, STICKY_SERVICE

ROLLOUT: Manifest = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Rollout",
    "name": "shop",
    "uid": "uid-rollout",
    "controller": True,
}


def belongs_to(shop: Shop, label: str, *owners: Manifest) -> Manifest:
    """Have the ReplicaSet belong to somebody else, its pods told apart by this label; return how they name it."""
    api, labels = shop.api, {"app": "shop", label: "1", "part": "front"}
    found = api.get(REPLICA_SET, "demo", "shop-1")
    meta = {**found["metadata"], "ownerReferences": [*owners]}
    api.put({**found, "metadata": meta, "spec": {**found["spec"], "selector": {"matchLabels": labels}}})
    for name in shop.pods():
        live = api.get(POD, "demo", name)
        held = {**labels, "stickyrouting.io/hold": "true"}
        api.put({**live, "metadata": {**live["metadata"], "labels": held}})
    api.put(service(selector={"app": "shop"}))
    return {**SET, "uid": found["metadata"]["uid"], "blockOwnerDeletion": False}


@pytest.mark.parametrize(
    ("label", "owners"), [("rollouts-pod-template-hash", (ROLLOUT,)), ("fleet", ())], ids=["argo", "bare"]
)
async def test_a_pod_leaves_by_the_label_of_its_set_for_whoever_owns_that_and_goes_back(
    api: ApiServer, tmp_path: Path, label: str, owners: tuple[Manifest, ...]
) -> None:
    async with draining_shop(api, tmp_path) as shop:
        home = belongs_to(shop, label, *owners)
        await shop.turn()
        uid = api.get(STICKY_SERVICE, "demo", "shop")["metadata"]["uid"]
        ours = {"apiVersion": "stickyrouting.io/v1alpha1", "kind": "StickyService", "name": "shop"}
        heir = owners[0] if owners else {**ours, "uid": uid, "controller": True}
        shop.writes()
        shop.scale(1)
        await shop.turn()
        assert shop.writes() == ["patch pods demo/shop-a"]
        out = shop.pods()["shop-a"]["metadata"]
        assert out["ownerReferences"] == [{**heir, "blockOwnerDeletion": False}]
        assert out["labels"].keys() & {"app", "part", label} == {"app", "part"}
        assert out["annotations"]["stickyrouting.io/detached-labels"] == f"{label}=1"
        shop.scale(2)
        await shop.turn()
        assert shop.writes() == ["patch pods demo/shop-a"]
        back = shop.pods()["shop-a"]["metadata"]
        assert (back["labels"][label], back["ownerReferences"]) == ("1", [home])
        shop.scale(1)
        shop.hold(b=9)
        await shop.turn()
        await shop.turn()
        assert sorted(shop.pods()) == ["shop-b"]
