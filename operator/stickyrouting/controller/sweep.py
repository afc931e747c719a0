"""The sweep: what watches can miss. Once a minute the StickyServices are listed live."""

import asyncio
import contextlib
import logging
from collections.abc import Collection, Mapping

from stickyrouting.apply.forgetting import forget, forget_dead
from stickyrouting.apply.ports import Ports
from stickyrouting.apply.registry import Raw, key_of
from stickyrouting.controller.tasks import Tasks
from stickyrouting.kube.client import PodPatch
from stickyrouting.model import names
from stickyrouting.model.errors import Changed, NotFound, Refused, StickyError, Unreachable
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Key
from stickyrouting.planner.cleaning import inert
from stickyrouting.planner.drain import goes_with_its_holders
from stickyrouting.planner.endpoints import holders

INTERVAL_SECONDS = 60.0
SETTLE_SECONDS = 1.0
"""Deletions come in groups: one sweep serves them all."""
ABSENT_SECONDS = 10.0
"""How long the kind is unknown before all its objects are gone: an API server that starts does not know it yet."""
log = logging.getLogger(__name__)


async def sweep_forever(scope: str | None, ports: Ports, tasks: Tasks, soon: asyncio.Event) -> None:
    """Sweep one namespace, or all (None), each minute and when ``soon`` is set, until cancelled.

    A failed sweep is repeated with the next; what was known before of a kind that is unknown counts no more.
    """
    absent: float | None = None
    while True:
        try:
            absent = await sweep(scope, ports, tasks, absent)
        except StickyError as error:
            absent = None
            log.warning("sweep: %s; trying again in %.0f s", error, INTERVAL_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(INTERVAL_SECONDS if absent is None else ABSENT_SECONDS):
                await soon.wait()
                await asyncio.sleep(SETTLE_SECONDS)
        soon.clear()


async def sweep(scope: str | None, ports: Ports, tasks: Tasks, absent: float | None = None) -> float | None:
    """End the tasks of StickyServices that are gone, start missing ones, free pods that nobody holds.

    Returns since when (monotonic seconds) sweeps in a row, this one included, find the kind unknown, None if it is
    known. While that is new it says nothing: see ``ABSENT_SECONDS``.
    """
    before = {
        key: ports.registry.get(key) for key in ports.registry.known() if scope in {None, key.namespace}
    }
    bodies = await _list(scope, ports)
    since = None
    if bodies is None:
        now = ports.clock.monotonic()
        since = now if absent is None else absent
        if now - since < ABSENT_SECONDS:
            return since
    await _settle(before, {key_of(body): body for body in bodies or ()}, ports, tasks)
    return since


async def _list(scope: str | None, ports: Ports) -> list[Raw] | None:
    try:
        return [*await ports.kube.list(names.API_VERSION, names.KIND, scope)]
    except NotFound:
        return None


async def _settle(
    before: Mapping[Key, Raw | None], listed: Mapping[Key, Raw], ports: Ports, tasks: Tasks
) -> None:
    for key, body in before.items():
        if key not in listed and body is not None:
            ports.registry.remove(key, body["metadata"]["uid"])
            tasks.end(key)
            forget(key.namespace, key.name, ports)
    for key, body in listed.items():
        if ports.registry.upsert(body) or key not in tasks.known():
            tasks.start(key)
    forget_dead(ports)
    await _free_pods(ports, {*listed, *ports.registry.known()})
    ports.agents.forget({pod.metadata.uid for pod in ports.caches.pods.values()})


async def _free_pods(ports: Ports, known: Collection[Key]) -> None:
    served = {key.namespace for key in known}
    for pod in [pod for pod in ports.caches.pods.values() if inert(pod)]:
        namespace = pod.metadata.namespace
        kept = tuple(holder for holder in holders(pod) if Key(namespace, holder) in known)
        # Without any holder it bears what an uninstallation left for a StickyService to go on with.
        if kept != holders(pod) or (not holders(pod) and namespace not in served):
            await _free(pod, kept, ports)


async def _free(pod: Pod, kept: tuple[str, ...], ports: Ports) -> None:
    """Take a pod from holders that are gone; the last one takes all our marks with it.

    A pod that drains goes with its last holder: its controller wants it no more, or has forgotten it; not one that
    somebody took out of the Service.
    """
    gone = not kept
    if gone and goes_with_its_holders(pod):
        await _delete(pod, ports)
        return
    marks: Mapping[str, Mapping[str, str | None]] = (
        inert(pod) if gone else {"annotations": {names.ANNOTATION_HELD_BY: ",".join(kept)}}
    )
    patch = PodPatch(
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        resource_version=pod.metadata.resource_version,
        labels=marks.get("labels", {}),
        annotations=marks.get("annotations", {}),
    )
    try:
        ports.caches.pods.upsert(await ports.kube.patch_pod(patch))
    except (Changed, NotFound):
        return
    except (Refused, Unreachable) as error:
        log.warning("pod %s/%s can't be freed: %s", pod.metadata.namespace, pod.metadata.name, error)


async def _delete(pod: Pod, ports: Ports) -> None:
    meta = pod.metadata
    if pod.leaving:
        return
    place = {
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
    }
    try:
        await ports.kube.delete({"apiVersion": "v1", "kind": "Pod", "metadata": place})
    except (Changed, NotFound):
        return
    except (Refused, Unreachable) as error:
        log.warning("pod %s/%s can't be deleted: %s", meta.namespace, meta.name, error)
