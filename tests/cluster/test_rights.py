"""The operator's and the agents' rights: every call that was recorded is allowed, and every right was used."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from cluster.world import World
from demo.settings import SYSTEM

Right = tuple[str, str, str]


def recorded(log: Path) -> dict[Right, str]:
    """Return each right that the operator's account used, with one example of a call.

    A server-side apply is recorded as a patch; where it made the object (201) it needed the right to create, too.
    """
    used: dict[Right, str] = {}
    for line in log.read_text().splitlines():
        call = json.loads(line)
        user, target = call["user"]["username"], call.get("objectRef")
        if not user.startswith(f"system:serviceaccount:{SYSTEM}:") or not target:
            continue
        resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
        made = call["verb"] == "patch" and call.get("responseStatus", {}).get("code") == 201
        for verb in (call["verb"], "create") if made else (call["verb"],):
            used.setdefault((target.get("apiGroup", ""), resource, verb), call["requestURI"])
    return used


async def granted(world: World) -> set[Right]:
    """Return what the chart grants the operator's account, by rule."""
    rights: set[Right] = set()
    cluster = await world.kubectl.items("clusterroles", "-l", "app.kubernetes.io/instance=sticky-routing")
    local = await world.kubectl.items(
        "roles", "-n", SYSTEM, "-l", "app.kubernetes.io/instance=sticky-routing"
    )
    for role in [*cluster, *local]:
        for rule in role["rules"]:
            for group in rule["apiGroups"]:
                rights |= {(group, r, v) for r in rule["resources"] for v in rule["verbs"]}
    return rights


@pytest.mark.native
async def test_the_calls_recorded_equal_the_charts_rules(world: World) -> None:
    log = world.provider.audit_log
    if log is None:
        pytest.fail("this provider records no calls; run the tests with STICKY_PROVIDER=native")
    used, allowed = recorded(log), await granted(world)
    missing = {right: example for right, example in used.items() if right not in allowed}
    assert missing == {}, "calls without a rule of the chart"
    unused: dict[str, list[str]] = defaultdict(list)
    for right in sorted(allowed - used.keys()):
        unused["/".join(right[:2])].append(right[2])
    assert unused == {}, "rules of the chart that nothing used"
