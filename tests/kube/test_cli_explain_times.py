"""What is said of a pod's deadline is what then happens: it goes, is let go, or what is open there is closed first."""

from pathlib import Path
from typing import Any

from kube.api.server import ApiServer
from kube.command import Kubectl
from kube.loop_site import sticky

FUTURE, PAST = "2126-11-21T13:00:00Z", "2026-11-21T13:00:00Z"
ENTRY: dict[str, Any] = {"name": "shop-a", "sessions": 4, "connections": 2}
ASKED = {"draining": "Asked", "draining-since": "2026-11-21T12:00:00Z"}
TAKEN_OUT = {**ASKED, "draining": "TakenOut"}
DETACHED = {"stickyrouting.io/detached": "true"}


async def explained(
    api: ApiServer,
    scratch: Path,
    notes: dict[str, str],
    entry: dict[str, Any],
    labels: dict[str, str] | None = None,
) -> str:
    """Return what is explained of a pod with these notes, as its StickyService tells of it; lines are not folded."""
    held = {f"stickyrouting.io/{key}": value for key, value in {"held-by": "shop", **notes}.items()}
    meta = {"namespace": "demo", "name": "shop-a", "annotations": held, "labels": labels or {}}
    spec = {"nodeName": "n1"}
    api.put({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": {}})
    api.put({**sticky(), "status": {"endpoints": [{**ENTRY, **entry}]}})
    told = (await Kubectl(api, scratch / "config").run("explain", "shop-a")).out
    return told.replace("\n            ", " ")


async def test_before_its_deadline_a_pod_is_said_to_go_then(api: ApiServer, tmp_path: Path) -> None:
    told = await explained(api, tmp_path, ASKED, {"deadline": FUTURE})
    assert "): it goes then, whatever sessions are left" in told
    assert "Waits for the end of its sessions" in told


async def test_after_its_deadline_a_pod_is_said_to_wait_for_what_is_open_there(
    api: ApiServer, tmp_path: Path
) -> None:
    told = await explained(api, tmp_path, ASKED, {"deadline": PAST})
    assert f"Deadline  {PAST} (passed): what is still open there is closed, then it goes" in told
    assert "Waits for its connections to be closed, until 10m after its deadline at the latest" in told
    assert "the end of its sessions" not in told


async def test_a_pod_taken_out_of_the_service_is_said_to_be_let_go_and_not_deleted(
    api: ApiServer, tmp_path: Path
) -> None:
    told = await explained(api, tmp_path, TAKEN_OUT, {"deadline": FUTURE})
    assert "): it is let go then and not deleted, whatever sessions are left" in told
    told = await explained(api, tmp_path, TAKEN_OUT, {"deadline": FUTURE}, DETACHED)
    assert "): it goes then, whatever sessions are left" in told


async def test_a_pod_on_a_cordoned_node_is_said_to_take_no_new_sessions(
    api: ApiServer, tmp_path: Path
) -> None:
    told = await explained(api, tmp_path, {}, {"state": "Ready", "reason": "NodeCordoned"})
    assert told.splitlines()[0] == (
        "shop-a in namespace demo does not drain; it takes no new sessions, as its node is cordoned"
        " (kubectl uncordon n1)"
    )
