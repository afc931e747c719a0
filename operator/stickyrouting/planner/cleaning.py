"""What stands on pods because of us, and what of it goes when the product goes.

A pod whose StickyService still exists keeps its server id: proxies serve on without an operator, and a later one goes
on with the sessions that they have.
"""

from collections.abc import Collection
from typing import Any

from stickyrouting.model import names
from stickyrouting.model.objects import Pod
from stickyrouting.planner.endpoints import holders

LABELS = (names.LABEL_HOLD, names.LABEL_DETACHED)
ANNOTATIONS = (
    names.ANNOTATION_SERVER_ID,
    names.ANNOTATION_HELD_BY,
    names.ANNOTATION_EVICTED,
    *names.DRAIN_ANNOTATIONS,
)


def inert(pod: Pod) -> dict[str, dict[str, None]]:
    """Return what stands on a pod because of us, as the parts of a merge patch that takes it away."""
    meta = pod.metadata
    labels = dict.fromkeys(key for key in LABELS if key in meta.labels)
    notes = dict.fromkeys(key for key in ANNOTATIONS if key in meta.annotations)
    return {key: part for key, part in (("labels", labels), ("annotations", notes)) if part}


def unmark(pod: Pod, existing: Collection[tuple[str, str]]) -> dict[str, Any] | None:
    """Return the patch that takes our marks from a pod, None if it bears none; ``existing`` are StickyServices by
    namespace and name.
    """
    meta, found = pod.metadata, inert(pod)
    # Without a holder the id is what an earlier run has spared.
    if not holders(pod) or any((meta.namespace, holder) in existing for holder in holders(pod)):
        found.get("annotations", {}).pop(names.ANNOTATION_SERVER_ID, None)
    if not any(found.values()):
        return None
    metadata = {"namespace": meta.namespace, "name": meta.name, "uid": meta.uid}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, **found}}
