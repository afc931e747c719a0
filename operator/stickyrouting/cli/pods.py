"""Pods as the verbs need them: those that StickyServices hold, found and annotated."""

from collections.abc import Mapping, Sequence

from stickyrouting.cli.cluster import Body, Cluster
from stickyrouting.cli.failure import Exit, Failure
from stickyrouting.model import names
from stickyrouting.model.errors import Changed, NotFound
from stickyrouting.watch.kinds import NODE, POD

SHOWN = 10
_HELD = {"labelSelector": f"{names.LABEL_HOLD}=true"}


async def find(cluster: Cluster, namespace: str, name: str) -> Body | None:
    """Return a pod, None if there is no such pod."""
    try:
        return await cluster.send("GET", POD.path(namespace, name))
    except NotFound:
        return None


async def named(cluster: Cluster, wanted: Sequence[str]) -> list[Body]:
    """Return pods of the namespace by their names, each once (``pod/NAME`` is a name too); raises Failure."""
    plain = dict.fromkeys(name.removeprefix("pods/").removeprefix("pod/") for name in wanted)
    return [await _get(cluster, name) for name in plain]


async def of_service(cluster: Cluster, name: str) -> list[Body]:
    """Return the pods that a StickyService holds; raises Failure if it is not there."""
    await cluster.get(name)
    return [pod for pod in await _list(cluster, cluster.namespace, _HELD) if name in holders(pod)]


async def on_node(cluster: Cluster, node: str, namespace: str | None) -> list[Body]:
    """Return the pods on a node that any StickyService holds, of one namespace or of all (None)."""
    found = await _list(cluster, namespace, {**_HELD, "fieldSelector": f"spec.nodeName={node}"})
    held = [pod for pod in found if holders(pod)]
    if not held:
        await _check_node(cluster, node)
    return held


async def annotate(cluster: Cluster, pod: Body, annotations: Mapping[str, str | None]) -> Body | None:
    """Change annotations of this life of a pod; return what became of it, None if that life is over."""
    meta = pod["metadata"]
    patch = {"metadata": {"uid": meta["uid"], "annotations": dict(annotations)}}
    try:
        return await cluster.send("PATCH", POD.path(meta["namespace"], meta["name"]), patch)
    except (Changed, NotFound):
        return None


def holders(pod: Body) -> list[str]:
    """Return the StickyServices that hold a pod."""
    return [part for part in note(pod, names.ANNOTATION_HELD_BY).split(",") if part]


def note(pod: Body, annotation: str) -> str:
    """Return an annotation of a pod, empty if it has none."""
    return str((pod["metadata"].get("annotations") or {}).get(annotation, ""))


def is_labelled(pod: Body, label: str) -> bool:
    """True if a pod has a label that says true."""
    return (pod["metadata"].get("labels") or {}).get(label) == "true"


async def _get(cluster: Cluster, name: str) -> Body:
    found = await find(cluster, cluster.namespace, name)
    if found is None:
        raise await missing(cluster, name)
    return found


async def missing(cluster: Cluster, name: str) -> Failure:
    """Return what to say of a pod that is not there: which there are."""
    held = [pod["metadata"]["name"] for pod in await _list(cluster, cluster.namespace, _HELD)]
    there = f"held are: {', '.join(held[:SHOWN])}" if held else "none is held there; -n chooses another one"
    more = f" and {len(held) - SHOWN} more" if len(held) > SHOWN else ""
    return Failure(
        Exit.NOT_FOUND,
        f"no pod {name} in namespace {cluster.namespace} ({cluster.target.name}); {there}{more}",
    )


async def _list(cluster: Cluster, namespace: str | None, select: Mapping[str, str]) -> list[Body]:
    found: list[Body] = (await cluster.send("GET", POD.path(namespace), select=select)).get("items") or []
    return sorted(found, key=lambda pod: (pod["metadata"]["namespace"], pod["metadata"]["name"]))


async def _check_node(cluster: Cluster, node: str) -> None:
    """Raise Failure if there is no such node; who may not look at nodes is not told."""
    try:
        await cluster.send("GET", NODE.path(name=node))
    except NotFound as error:
        raise Failure(
            Exit.NOT_FOUND, f"no node {node} ({cluster.target.name}): kubectl get nodes lists them"
        ) from error
    except Failure as error:
        if error.code is not Exit.FORBIDDEN:
            raise
