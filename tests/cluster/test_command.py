"""``kubectl sticky`` on a real cluster: with its kubeconfig, its API server, its operator, its proxies."""

import json

from cluster.command import sticky
from cluster.world import Shop, World

STRANGER = "00ff00ff00ff00ff"


async def test_status_shows_what_kubectl_knows(world: World, shop: Shop) -> None:
    code, out, err = await sticky(world, "status", "shop", "-n", shop.namespace, "-o", "json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["namespace"], found["service"]["name"]) == (shop.namespace, "shop")
    assert found["status"]["readyEndpoints"] == 2
    code, out, _ = await sticky(world, "status", "shop", "-n", shop.namespace)
    assert (code, out.splitlines()[1]) == (0, "  Ready     yes: sessions are kept")


async def test_a_session_that_no_proxy_knows_is_answered_within_seconds_and_the_annotation_goes(
    world: World, shop: Shop
) -> None:
    code, out, err = await sticky(
        world, "end", STRANGER, "--service", "shop", "-n", shop.namespace, "--timeout", "20"
    )
    assert (code, out.split(":")[0], err) == (1, f"{STRANGER}  not known to any proxy", "")
    notes = (await shop.get("stickyservice", "shop"))["metadata"].get("annotations") or {}
    assert "stickyrouting.io/end" not in notes


async def test_what_is_not_there_is_told_with_exit_code_5(world: World, shop: Shop) -> None:
    code, _, err = await sticky(world, "status", "shoop", "-n", shop.namespace)
    assert (code, "there are: shop" in err) == (5, True)
