"""Application pods that are ready and refuse the proxies: the StickyService says so, and whom to ask."""

import json

from cluster.world import Shop
from demo.kube import until

CLOSED = 9
"""Nobody listens there in a shop's pod."""
PATIENCE = 40.0


async def test_ready_pods_whose_port_refuses_every_proxy_are_named(shop: Shop) -> None:
    ids = {endpoint["name"]: endpoint["id"] for endpoint in (await shop.desired())["endpoints"]}
    ports = [{"name": "http", "port": 8080, "targetPort": CLOSED}]
    await shop.run("patch", "service", "shop", "--type=merge", "-p", json.dumps({"spec": {"ports": ports}}))

    async def told() -> bool:
        found = await shop.condition("ResolvedRefs")
        return (found["status"], found["reason"]) == ("False", "ConnectionsRefused")

    await until("ResolvedRefs says ConnectionsRefused", told, PATIENCE)
    message = (await shop.condition("ResolvedRefs"))["message"]
    assert message.startswith("none of 2 proxies gets through to shop-")
    assert (
        "(2 of 2 ready endpoints): connections are refused. If a NetworkPolicy selects these pods" in message
    )
    assert (await shop.condition("Ready"))["reason"] == "NotResolved"
    events = await shop.items("events", "--field-selector", "reason=ConnectionsRefused")
    assert [event["type"] for event in events] == ["Warning"]
    # The endpoints are the same lives: no session moves.
    after = {endpoint["name"]: endpoint["id"] for endpoint in (await shop.desired())["endpoints"]}
    assert after == ids
