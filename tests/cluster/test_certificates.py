"""A certificate that ends is replaced under traffic: by the older slot, which every proxy takes from its mount."""

import base64
import datetime as dt
import json
import time
from collections.abc import Mapping
from typing import Any

from cluster.world import Shop, World, broken
from demo.counts import parse_metric
from demo.kube import until
from demo.settings import SYSTEM
from demo.traffic import reached
from stickyrouting.apply.authority import Leaf, load_authority
from stickyrouting.model.keys import next_generation
from stickyrouting.model.names import key_slot, proxy_identity

Secret = dict[str, Any]


def content_of(secret: Secret) -> dict[str, bytes]:
    return {name: base64.b64decode(text) for name, text in secret["data"].items()}


async def ending(shop: Shop) -> Secret:
    """Return slot b as it would be 61 days after its certificate was made."""
    authority = content_of(await shop.world.kubectl.get("secret", "sticky-routing-ca", "-n", SYSTEM))
    first = await shop.get("secret", key_slot("shop", "a"))
    content = content_of(first)
    made = dt.datetime.now(dt.UTC) - dt.timedelta(days=61)
    leaf = load_authority(Leaf(authority["tls.crt"], authority["tls.key"])).issue(
        proxy_identity(shop.namespace, "shop"), made
    )
    generation = next_generation("b", int(content["generation"]), int(time.time()))
    content |= {
        "tls.crt": leaf.certificate,
        "tls.key": leaf.private_key,
        "generation": str(generation).encode(),
    }
    kept = {name: first["metadata"][name] for name in ("namespace", "labels", "ownerReferences")}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {**kept, "name": key_slot("shop", "b")},
        "data": {name: base64.b64encode(data).decode() for name, data in content.items()},
    }


async def generations(shop: Shop) -> set[int]:
    """Return the generations of the slots in force in the proxies."""
    found = set()
    for pod in await shop.proxies():
        path = f"/api/v1/namespaces/{shop.namespace}/pods/{pod['metadata']['name']}:9404/proxy/metrics"
        text = await shop.world.kubectl.run("get", "--raw", path)
        found.add(int(parse_metric(text, "sticky_agent_key_generation")))
    return found


def keys_of(content: Mapping[str, bytes]) -> dict[str, object]:
    """Return a slot's keys; whether those of the other slot are accepted beside them is another matter."""
    keys: dict[str, object] = json.loads(content["keys.json"])
    keys.pop("exclusive", None)
    return keys


async def test_a_certificate_with_29_days_left_is_replaced_without_a_gap(world: World, shop: Shop) -> None:
    before = await shop.get("secret", key_slot("shop", "a"))
    generation = int(content_of(before)["generation"])

    async def all_have(wanted: int) -> bool:
        return await generations(shop) == {wanted}

    await until("both proxies to have the first slot", lambda: all_have(generation), 60)
    programmed: dict[str, Any] = {}

    async def is_at_rest() -> bool:
        """The list may change once more when its last pod has turned ready."""
        nonlocal programmed
        before, programmed = programmed, await shop.condition("Programmed")
        return programmed["status"] == "True" and before == programmed

    await until("all proxies to serve one list for a while", is_at_rest, 30, pause=2.0)
    async with world.traffic(await shop.load()) as traffic:
        await reached(traffic, 500, 60)
        await traffic.phase("renewal")
        await world.kubectl.apply([await ending(shop)])

        async def replaced() -> bool:
            found = await shop.items("secrets", "--field-selector", f"metadata.name={key_slot('shop', 'a')}")
            return bool(found) and found[0]["metadata"]["uid"] != before["metadata"]["uid"]

        await until("the operator to write the other slot", replaced, 60)
        after = content_of(await shop.get("secret", key_slot("shop", "a")))
        await until("every proxy to take it", lambda: all_have(int(after["generation"])), 60)
        await reached(traffic, 1000, 60)
        result = await traffic.stop()
    assert broken(result) == []
    assert (result.lost, result.reissued) == (0, 0)
    assert keys_of(after) == keys_of(content_of(before)), "no cookie changes with a certificate"
    assert int(after["generation"]) > generation
    assert await shop.condition("Programmed") == programmed, "it held all the time"
