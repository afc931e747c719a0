"""Why pods are still there, from what stands on them and in the status of the StickyServices that hold them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from stickyrouting.cli import pods
from stickyrouting.cli.cluster import Body, Cluster
from stickyrouting.cli.cordoning import check_kept
from stickyrouting.cli.failure import Exit, Failure
from stickyrouting.cli.showing import age, line, time_left
from stickyrouting.model import names
from stickyrouting.planner.drain import DrainReason
from stickyrouting.planner.status import NODE_CORDONED

_WHY = {
    DrainReason.SCALED_DOWN: "there are more pods than its controller wants",
    DrainReason.ROLLED_OUT: "a newer revision takes its place",
    DrainReason.TAKEN_OUT: "the Service selects it no more",
    DrainReason.ASKED: "somebody asks for it (kubectl sticky drain, or annotation stickyrouting.io/drain)",
    DrainReason.EVICTED: (
        "somebody tried to evict it (kubectl drain, an autoscaler); it stays once nobody has tried for 15m and its node"
        " is in use"
    ),
    DrainReason.NODE_EMPTIED: "an autoscaler empties its node; it stays once its node is in use again",
}
_Entry = Mapping[str, Any]


async def explain(cluster: Cluster, name: str) -> str:
    """Return what there is to say of a pod, or of all draining pods of a StickyService; raises Failure."""
    plain = name.removeprefix("pods/").removeprefix("pod/")
    pod = await pods.find(cluster, cluster.namespace, plain)
    if pod is not None:
        check_kept([pod])
        return await _of_pod(cluster, pod)
    if plain != name:
        raise await pods.missing(cluster, plain)
    body = await _service(cluster, name)
    drains = [p for p in await pods.of_service(cluster, name) if pods.note(p, names.ANNOTATION_DRAINING)]
    parts = [await _of_pod(cluster, one) for one in drains]
    return "\n\n".join(parts) or f"no pod of StickyService {name} drains{_said(body)}"


async def _service(cluster: Cluster, name: str) -> Body:
    """Return a StickyService; of a name that neither a pod has, both is told."""
    try:
        return await cluster.get(name)
    except Failure as failure:
        if failure.code is Exit.NOT_FOUND and name in failure.message:
            missing = await pods.missing(cluster, name)
            raise Failure(Exit.NOT_FOUND, f"{failure.message}. And {missing.message}") from failure
        raise


async def _of_pod(cluster: Cluster, pod: Body) -> str:
    held_by = {name: await _holder(cluster, name) for name in pods.holders(pod)}
    found = [body for body in held_by.values() if body is not None]
    entries = {body["metadata"]["name"]: _entry(body, pod) for body in found}
    return "\n".join(_lines(pod, entries, tuple(held_by), datetime.now(UTC)))


async def _holder(cluster: Cluster, name: str) -> Body | None:
    """Return a StickyService, None if it is gone: the sweep frees its pods."""
    try:
        return await cluster.get(name)
    except Failure as failure:
        if failure.code is Exit.NOT_FOUND:
            return None
        raise


def _entry(body: Body, pod: Body) -> _Entry:
    """Return what the status of a StickyService says of a pod, nothing if it does not list it."""
    listed: Sequence[_Entry] = (body.get("status") or {}).get("endpoints") or ()
    return next((entry for entry in listed if entry["name"] == pod["metadata"]["name"]), {})


def _lines(pod: Body, entries: Mapping[str, _Entry], held_by: Sequence[str], now: datetime) -> Iterator[str]:
    meta = pod["metadata"]
    reason = pods.note(pod, names.ANNOTATION_DRAINING)
    title = click.style(meta["name"], bold=True)
    if not reason:
        yield f"{title} in namespace {meta['namespace']} does not drain{_cordoned(pod, entries)}"
        yield from _left(entries)
        yield line("Held by", _holders(entries, held_by))
        return
    why = _WHY.get(DrainReason(reason), "") if reason in set(DrainReason) else ""
    yield f"{title} in namespace {meta['namespace']} drains: {reason}{f', {why}' if why else ''}"
    yield from _times(pod, entries, now)
    yield from _left(entries)
    waits = _waits(entries, meta["namespace"], now)
    yield from (line("Waits for", wait, "yellow") for wait in waits)
    yield line("Held by", _holders(entries, held_by))
    if origin := pods.note(pod, names.ANNOTATION_DETACHED_FROM):
        owner: _Entry = next((o for o in meta.get("ownerReferences") or () if o.get("controller")), {})
        heir = f"; it goes with {owner['kind']} {owner['name']}" if owner else ""
        yield line("Taken out", f"of ReplicaSet {origin.partition('/')[0]}, which does without it{heir}")
    yield "  To free it"
    yield from (f"    {command}" for command in _commands(pod, held_by))


def _times(pod: Body, entries: Mapping[str, _Entry], now: datetime) -> Iterator[str]:
    since = pods.note(pod, names.ANNOTATION_DRAINING_SINCE)
    yield line("Since", f"{since} ({age(since, now)} ago)")
    latest = _deadline(entries)
    if not latest:
        yield line("Deadline", "not told in the status of the StickyService yet")
    elif _is_past(latest, now):
        yield line("Deadline", f"{latest} (passed): what is still open there is closed, then it {_goes(pod)}")
    else:
        left = time_left(latest, now)
        yield line("Deadline", f"{latest} (in {left}): it {_goes(pod, ' then')}, whatever sessions are left")


def _deadline(entries: Mapping[str, _Entry]) -> str:
    return max((entry.get("deadline", "") for entry in entries.values()), default="")


def _is_past(moment: str, now: datetime) -> bool:
    try:
        return datetime.fromisoformat(moment) <= now
    except (ValueError, TypeError):
        return False


def _goes(pod: Body, when: str = "") -> str:
    """Return what becomes of a pod in the end: one taken out of the Service is deleted only without a controller."""
    taken_out = pods.note(pod, names.ANNOTATION_DRAINING) == DrainReason.TAKEN_OUT
    if taken_out and not pods.is_labelled(pod, names.LABEL_DETACHED):
        return f"is let go{when} and not deleted"
    return f"goes{when}"


def _left(entries: Mapping[str, _Entry]) -> Iterator[str]:
    counted = [entry for entry in entries.values() if "sessions" in entry]
    if not counted:
        yield line("Sessions", "not known now: kubectl sticky status NAME says why")
        return
    sessions, open_ = (sum(entry.get(what, 0) for entry in counted) for what in ("sessions", "connections"))
    yield line(
        "Sessions", f"{sessions:,}, {open_:,} requests or connections in flight (at most a minute old)"
    )


def _waits(entries: Mapping[str, _Entry], namespace: str, now: datetime) -> Iterator[str]:
    found = [wait for entry in entries.values() for wait in entry.get("waitingFor") or ()]
    yield from found
    if _is_past(_deadline(entries), now):
        if not found:
            yield "its connections to be closed, until 10m after its deadline at the latest"
    elif any(entry.get("sessions") for entry in entries.values()):
        yield "the end of its sessions"
    elif not found and (dark := [name for name, entry in entries.items() if entry.get("sessions") is None]):
        yield f"what is not known now: {_look(dark, namespace)}"
    elif entries and not found:
        yield "the operator: it goes in a moment"


def _look(unknown: Sequence[str], namespace: str) -> str:
    """Return where to look for what the operator knows."""
    return " and ".join(f"kubectl sticky status {name} -n {namespace}" for name in unknown)


def _holders(entries: Mapping[str, _Entry], held_by: Sequence[str]) -> str:
    known = ", ".join(
        f"StickyService {name}" if name in entries else f"StickyService {name}, which is gone"
        for name in held_by
    )
    return f"{known}; it goes when all of them let it go" if len(held_by) > 1 else known


def _cordoned(pod: Body, entries: Mapping[str, _Entry]) -> str:
    if pods.note(pod, names.ANNOTATION_CORDON):
        return f"; it takes no new sessions (kubectl sticky uncordon {pod['metadata']['name']})"
    if any(entry.get("reason") == NODE_CORDONED for entry in entries.values()):
        return f"; it takes no new sessions, as its node is cordoned (kubectl uncordon {pod['spec']['nodeName']})"
    return ""


def _commands(pod: Body, held_by: Sequence[str]) -> Iterator[str]:
    name, place = pod["metadata"]["name"], f"-n {pod['metadata']['namespace']}"
    yield f"kubectl delete pod {name} {place}    # now, with the sessions that are left"
    yield (
        f"kubectl annotate pod {name} {place} --overwrite {names.ANNOTATION_DRAIN_TIMEOUT}=5m"
        "    # another deadline, counted from when it began to drain"
    )
    for holder in held_by:
        yield f"kubectl sticky end SESSION --service {holder} {place}    # one session, by its name"
    if pods.note(pod, names.ANNOTATION_DRAIN):
        yield f"kubectl sticky drain {name} {place} --undo    # let it stay after all"


def _said(body: Body) -> str:
    """Return what the operator says of draining pods, if that is more than that there are none."""
    for condition in (body.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Draining" and condition["status"] == "True":
            return f" by the marks on its pods; its condition says: {condition['message']}"
    return ""
