"""Marks on pods that take no new sessions; the operator reads them at once and answers by what it gives them."""

from collections.abc import Sequence

import click

from stickyrouting.cli import pods
from stickyrouting.cli.cluster import Body, Cluster
from stickyrouting.cli.failure import Exit, Failure
from stickyrouting.model.names import ANNOTATION_CORDON, ANNOTATION_DRAINING


async def cordon(cluster: Cluster, wanted: Sequence[str]) -> None:
    """Mark pods; raises Failure before the first is marked if one of them has no sessions to keep."""
    found = await pods.named(cluster, wanted)
    check_kept(found)
    for pod in found:
        await _write(cluster, pod, "true")
        click.echo(f"{pod['metadata']['name']}  {_told(pod)}")


async def uncordon(cluster: Cluster, wanted: Sequence[str]) -> None:
    """Take the marks away; raises Failure as above."""
    found = await pods.named(cluster, wanted)
    check_kept(found)
    for pod in found:
        name = pod["metadata"]["name"]
        if not pods.note(pod, ANNOTATION_CORDON):
            click.echo(f"{name}  was not cordoned")
            continue
        await _write(cluster, pod, None)
        click.echo(f"{name}  takes new sessions again{_but(pod)}")


def check_kept(found: Sequence[Body]) -> None:
    """Raise Failure for the first pod that no StickyService gives sessions to."""
    for pod in found:
        meta = pod["metadata"]
        if not pods.holders(pod):
            raise Failure(
                Exit.REFUSED,
                f"pod {meta['name']} is held by no StickyService: it stands behind none, or is not listed by its"
                f" Service yet. kubectl sticky status -n {meta['namespace']} lists the StickyServices,"
                " with a NAME their pods",
            )
        if meta.get("deletionTimestamp"):
            raise Failure(
                Exit.REFUSED,
                f"pod {meta['name']} was asked to end at {meta['deletionTimestamp']}:"
                " it takes no new sessions and goes when its containers have stopped",
            )


async def _write(cluster: Cluster, pod: Body, mark: str | None) -> None:
    if await pods.annotate(cluster, pod, {ANNOTATION_CORDON: mark}) is None:
        raise await pods.missing(cluster, pod["metadata"]["name"])


def _told(pod: Body) -> str:
    if reason := pods.note(pod, ANNOTATION_DRAINING):
        return f"takes no new sessions anyway: it drains ({reason})"
    name = pod["metadata"]["name"]
    return f"takes no new sessions and keeps its own; kubectl sticky uncordon {name} undoes it"


def _but(pod: Body) -> str:
    reason = pods.note(pod, ANNOTATION_DRAINING)
    return f", but for its drain ({reason})" if reason else ""
