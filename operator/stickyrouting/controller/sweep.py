"""The sweep: what watches can miss. Once a minute the StickyServices are listed live."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping

from stickyrouting.apply.forgetting import forget, forget_dead
from stickyrouting.apply.ports import Ports
from stickyrouting.apply.registry import Raw, key_of
from stickyrouting.controller.tasks import Tasks
from stickyrouting.kube.client import PodPatch
from stickyrouting.model import names
from stickyrouting.model.errors import Changed, NotFound, Refused, StickyError
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Key
from stickyrouting.planner.endpoints import holders

INTERVAL_SECONDS = 60.0
SETTLE_SECONDS = 1.0
"""Deletions come in groups: one sweep serves them all."""
log = logging.getLogger(__name__)


async def sweep_forever(scope: str | None, ports: Ports, tasks: Tasks, soon: asyncio.Event) -> None:
    """Sweep one namespace, or all (None), each minute and when ``soon`` is set, until cancelled.

    A failed sweep is repeated with the next.
    """
    absences = 0
    while True:
        try:
            absences = await sweep(scope, ports, tasks, absences)
        except StickyError as error:
            log.warning("sweep: %s; trying again in %.0f s", error, INTERVAL_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(INTERVAL_SECONDS):
                await soon.wait()
                await asyncio.sleep(SETTLE_SECONDS)
        soon.clear()


async def sweep(scope: str | None, ports: Ports, tasks: Tasks, absences: int = 0) -> int:
    """End the tasks of StickyServices that are gone, start missing ones, free pods that nobody holds.

    Returns how many sweeps in a row, this one included, found the kind unknown: at the second it is gone with all its
    objects, once may be an API server that starts.
    """
    before = {
        key: ports.registry.get(key) for key in ports.registry.known() if scope in {None, key.namespace}
    }
    bodies = await _list(scope, ports)
    if bodies is None and not absences:
        return 1
    await _settle(before, {key_of(body): body for body in bodies or ()}, ports, tasks)
    return absences + 1 if bodies is None else 0


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
    await _free_pods(ports, lambda key: key in listed or ports.registry.get(key) is not None)
    ports.agents.forget({pod.metadata.uid for pod in ports.caches.pods.values()})


async def _free_pods(ports: Ports, exists: Callable[[Key], bool]) -> None:
    for pod in _held(ports.caches.pods.values()):
        namespace = pod.metadata.namespace
        kept = tuple(holder for holder in holders(pod) if exists(Key(namespace, holder)))
        if kept != holders(pod):
            await _free(pod, kept, ports)


def _held(pods: Iterable[Pod]) -> list[Pod]:
    return [pod for pod in pods if names.ANNOTATION_HELD_BY in pod.metadata.annotations]


async def _free(pod: Pod, kept: tuple[str, ...], ports: Ports) -> None:
    """Take a pod from holders that are gone; the last one takes the label and the server id with it."""
    gone = not kept
    annotations = {names.ANNOTATION_HELD_BY: None if gone else ",".join(kept)}
    patch = PodPatch(
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        resource_version=pod.metadata.resource_version,
        labels={names.LABEL_HOLD: None} if gone else {},
        annotations={**annotations, names.ANNOTATION_SERVER_ID: None} if gone else annotations,
    )
    try:
        ports.caches.pods.upsert(await ports.kube.patch_pod(patch))
    except (Changed, NotFound):
        return
    except Refused as error:
        log.warning("pod %s/%s can't be freed: %s", pod.metadata.namespace, pod.metadata.name, error)
