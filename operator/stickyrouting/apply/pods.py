"""Writes on the application's pods: ids and holders, marks of a drain, leaving a ReplicaSet, the one DELETE.

Law: each on the version that was read, none repeated here: the next loop sees what became of it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from stickyrouting.apply.ports import Ports
from stickyrouting.apply.status import post_on
from stickyrouting.kube.client import PodPatch
from stickyrouting.kube.events import EventType
from stickyrouting.model import names
from stickyrouting.model.errors import Changed, NotFound, Refused, Unreachable
from stickyrouting.model.plan import BindPod, DeadlinePassed, LeavePod, Parting, ReleasePod, StayPod
from stickyrouting.model.spec_fields import Hold
from stickyrouting.planner.cleaning import ANNOTATIONS, LABELS
from stickyrouting.planner.moment import rfc3339

T = TypeVar("T", BindPod, LeavePod, StayPod, ReleasePod)
log = logging.getLogger(__name__)


async def bind(pods: Iterable[BindPod], namespace: str, ports: Ports) -> dict[str, str]:
    """Give pods their ids; return those that could not be bound, each with the server's objection ("" if it may
    pass).
    """
    return await _each(pods, namespace, lambda pod: _bind(pod, namespace, ports))


async def leave(pods: Iterable[LeavePod], namespace: str, ports: Ports) -> dict[str, str]:
    """Mark and detach pods; return those that could not be, each with the server's objection ("" if it may pass)."""
    return await _each(pods, namespace, lambda pod: _leave(pod, namespace, ports))


async def stay(pods: Iterable[StayPod], namespace: str, ports: Ports) -> dict[str, str]:
    """Take marks of drains from pods; return those that could not be written, as above."""
    return await _each(pods, namespace, lambda pod: _stay(pod, namespace, ports))


async def release(pods: Iterable[ReleasePod], namespace: str, ports: Ports) -> dict[str, str]:
    """Let pods go; return those that could not be let go, each with the server's objection ("" if it may pass)."""
    return await _each(pods, namespace, lambda pod: _release(pod, namespace, ports))


async def _each(pods: Iterable[T], namespace: str, write: Callable[[T], Awaitable[None]]) -> dict[str, str]:
    wanted = tuple(pods)
    results = await asyncio.gather(*(_try(pod, namespace, write) for pod in wanted))
    return {pod.pod_name: why for pod, why in zip(wanted, results, strict=True) if why is not None}


async def _try(pod: T, namespace: str, write: Callable[[T], Awaitable[None]]) -> str | None:
    try:
        await write(pod)
    except (Changed, NotFound):
        return ""
    except Unreachable as error:
        log.warning("pod %s/%s is not written yet: %s", namespace, pod.pod_name, error)
        return ""
    except Refused as error:
        return str(error)
    return None


async def _bind(pod: BindPod, namespace: str, ports: Ports) -> None:
    patch = PodPatch(
        namespace=namespace,
        name=pod.pod_name,
        resource_version=pod.resource_version,
        labels={names.LABEL_HOLD: "true" if pod.hold is Hold.ENABLED else None},
        annotations={
            names.ANNOTATION_SERVER_ID: f"{pod.server_id}/{pod.restarts}",
            names.ANNOTATION_HELD_BY: ",".join(pod.held_by),
        },
    )
    ports.caches.pods.upsert(await ports.kube.patch_pod(patch))


async def _leave(pod: LeavePod, namespace: str, ports: Ports) -> None:
    labels: dict[str, str | None] = {}
    annotations: dict[str, str | None] = {}
    if pod.reason:
        annotations[names.ANNOTATION_DRAINING] = pod.reason
        annotations[names.ANNOTATION_DRAINING_SINCE] = rfc3339(ports.clock.epoch_ms())
    if pod.at_once:
        annotations[names.ANNOTATION_DRAIN_DEADLINE] = rfc3339(ports.clock.epoch_ms())
    detach = pod.detach
    if detach is not None:
        labels = {**dict.fromkeys(detach.labels), names.LABEL_DETACHED: "true"}
        annotations[names.ANNOTATION_DETACHED_FROM] = f"{detach.set_name}/{detach.set_uid}"
        annotations[names.ANNOTATION_DETACHED_LABELS] = ",".join(f"{k}={v}" for k, v in detach.labels.items())
    patch = PodPatch(
        namespace, pod.pod_name, pod.resource_version, labels, annotations, detach.owners if detach else None
    )
    ports.caches.pods.upsert(await ports.kube.patch_pod(patch))
    log.info("pod %s/%s drains: %s", namespace, pod.pod_name, pod.reason or _what(pod))
    if pod.reason:
        await _tell(pod, namespace, (EventType.NORMAL, "Draining", f"{pod.reason}: {pod.note}"), ports)


def _what(pod: LeavePod) -> str:
    return "its wait ends, for too many drain" if pod.at_once else "leaves its ReplicaSet"


async def _stay(pod: StayPod, namespace: str, ports: Ports) -> None:
    labels: dict[str, str | None] = {**pod.labels, names.LABEL_DETACHED: None} if pod.owners else {}
    patch = PodPatch(
        namespace,
        pod.pod_name,
        pod.resource_version,
        labels,
        dict.fromkeys(names.DRAIN_ANNOTATIONS),
        pod.owners or None,
    )
    ports.caches.pods.upsert(await ports.kube.patch_pod(patch))
    log.info("pod %s/%s stays", namespace, pod.pod_name)


async def _release(pod: ReleasePod, namespace: str, ports: Ports) -> None:
    if pod.held_by:
        patch = PodPatch(
            namespace,
            pod.pod_name,
            pod.resource_version,
            annotations={names.ANNOTATION_HELD_BY: ",".join(pod.held_by)},
        )
        ports.caches.pods.upsert(await ports.kube.patch_pod(patch))
        return
    if pod.parting is Parting.LEFT_ALONE:
        await _leave_alone(pod, namespace, ports)
        return
    meta = {
        "namespace": namespace,
        "name": pod.pod_name,
        "uid": pod.pod_uid,
        "resourceVersion": pod.resource_version,
    }
    await ports.kube.delete({"apiVersion": "v1", "kind": "Pod", "metadata": meta})
    log.info("pod %s/%s is released: %s", namespace, pod.pod_name, pod.why)
    await _tell(pod, namespace, (EventType.NORMAL, "Released", pod.why), ports)


async def _leave_alone(pod: ReleasePod, namespace: str, ports: Ports) -> None:
    """Take all our marks from a pod that somebody else has a use for."""
    labels, annotations = dict.fromkeys(LABELS), dict.fromkeys(ANNOTATIONS)
    patch = PodPatch(namespace, pod.pod_name, pod.resource_version, labels, annotations)
    ports.caches.pods.upsert(await ports.kube.patch_pod(patch))
    log.info("pod %s/%s is let go, and left as it is: %s", namespace, pod.pod_name, pod.why)
    await _tell(pod, namespace, (EventType.NORMAL, "Released", f"{pod.why}; it is left as it is"), ports)


async def tell_deadlines(passed: Iterable[DeadlinePassed], namespace: str, ports: Ports) -> None:
    """Tell people of deadlines that the proxies have just been told of."""
    for pod in passed:
        log.warning("pod %s/%s: its deadline has passed: %s", namespace, pod.pod_name, pod.note)
        await _tell(pod, namespace, (EventType.WARNING, "DeadlinePassed", pod.note), ports)


async def _tell(
    pod: LeavePod | ReleasePod | DeadlinePassed,
    namespace: str,
    told: tuple[EventType, str, str],
    ports: Ports,
) -> None:
    metadata = {"namespace": namespace, "name": pod.pod_name, "uid": pod.pod_uid}
    await post_on(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}, told, ports.clock.moment(), ports
    )
