"""Drains by hand: the request is written on the pods, the operator's answer is read from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
import msgspec

from stickyrouting.cli import pods
from stickyrouting.cli.cluster import Body, Cluster
from stickyrouting.cli.cordoning import check_kept
from stickyrouting.cli.failure import Exit, Failure
from stickyrouting.cli.options import Patience
from stickyrouting.cli.waiting import Waiting, keep_asking, unaccepted
from stickyrouting.model import names
from stickyrouting.model.duration import format_duration, parse_duration
from stickyrouting.model.objects import Pod
from stickyrouting.model.plan import Drain
from stickyrouting.planner.drain import DrainReason, drain_of
from stickyrouting.planner.moment import rfc3339

_LONGEST_HOURS = 576
_PLAIN = "true"
"""What stands in the request for a drain with the timeout of the StickyService, else the timeout itself."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which pods (by name, by node or by StickyService), until when at the latest ("": as the StickyService says),
    whether they stay after all, and how long to wait for the operator in seconds.
    """

    wanted: Sequence[str]
    node: str | None
    service: str | None
    undo: bool
    deadline: str
    namespace: str | None
    patience: Patience
    timeout: float


def parse_order(given: Mapping[str, Any], namespace: str | None) -> Order:
    """Return what the options ask for; raises a usage error."""
    order = Order(
        wanted=given["pods"],
        node=given["node"],
        service=given["service"],
        undo=given["action"] == "undo",
        deadline=given["deadline"] or "",
        namespace=namespace,
        patience=given["patience"],
        timeout=given["wait_timeout"],
    )
    if sum(bool(way) for way in (order.wanted, order.node, order.service)) != 1:
        raise click.UsageError("give the names of pods, or --node NODE, or --all NAME: one of the three")
    if order.undo and order.deadline:
        raise click.UsageError("give --undo or --timeout, not both")
    if order.deadline and not _is_timeout(order.deadline):
        raise click.UsageError(
            f"--timeout {order.deadline!r}: write a duration from 0s to {_LONGEST_HOURS}h, such as 30m or 1h30m"
        )
    return order


def _is_timeout(text: str) -> bool:
    try:
        return parse_duration(text).milliseconds <= _LONGEST_HOURS * 3_600_000
    except ValueError:
        return False


async def carry_out(cluster: Cluster, order: Order) -> None:
    """Write the requests, and tell what becomes of each on a line of its own."""
    found = await _select(cluster, order)
    if not found:
        click.echo(_nobody(order), err=True)
    asked = [pod for pod in found if await _ask(cluster, pod, order)]
    if order.patience is Patience.GO:
        return
    for pod in asked:
        await _wait(cluster, pod, order)


async def _select(cluster: Cluster, order: Order) -> list[Body]:
    if order.wanted:
        found = await pods.named(cluster, order.wanted)
        check_kept(found)
        if not order.undo:
            _check_held(found)
        return found
    every = (
        await pods.on_node(cluster, order.node, order.namespace)
        if order.node
        else await pods.of_service(cluster, order.service or "")
    )
    staying = [pod for pod in every if not pod["metadata"].get("deletionTimestamp")]
    return [pod for pod in staying if not order.undo or pods.note(pod, names.ANNOTATION_DRAIN)]


def _check_held(found: Sequence[Body]) -> None:
    for pod in found:
        if not pods.is_labelled(pod, names.LABEL_HOLD):
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            raise Failure(
                Exit.REFUSED,
                f"pod {name} would not be kept until its sessions have ended: StickyService"
                f" {' and '.join(pods.holders(pod))} says drain.hold: Disabled. Set it to Enabled, or delete the pod:"
                f" kubectl delete pod {name} -n {namespace}",
            )


def _nobody(order: Order) -> str:
    which = "was told to leave" if order.undo else "is held"
    where = f"on node {order.node}" if order.node else f"of StickyService {order.service}"
    hint = "" if order.undo or order.node else ": its Service has none, or it says drain.hold: Disabled"
    return f"no pod {where} {which}{hint}"


async def _ask(cluster: Cluster, pod: Body, order: Order) -> bool:
    """Write the request; return whether there is an answer to wait for, and tell what there is to say at once."""
    name = pod["metadata"]["name"]
    if order.undo and not pods.note(pod, names.ANNOTATION_DRAIN):
        click.echo(f"{name}  was not told to leave{_drains_on(pod)}")
        return False
    now_ms = _now_ms(cluster)
    written = await pods.annotate(cluster, pod, _undoing(pod) if order.undo else _asking(pod, order, now_ms))
    if written is None:
        click.echo(f"{name}  has gone")
        return False
    if order.patience is Patience.GO:
        latest = _latest(written, order, now_ms)
        click.echo(f"{name}  {'told to stay' if order.undo else f'told to leave{latest}'}")
    return True


def _asking(pod: Body, order: Order, now_ms: int) -> dict[str, str | None]:
    standing = pods.note(pod, names.ANNOTATION_DRAIN)
    timeout = _timeout(pod, order.deadline, now_ms) if order.deadline else ""
    notes: dict[str, str | None] = {names.ANNOTATION_DRAIN: timeout or standing or _PLAIN}
    if timeout:
        notes[names.ANNOTATION_DRAIN_TIMEOUT] = timeout
    return notes


def _timeout(pod: Body, given: str, now_ms: int) -> str:
    """Return the timeout that ends when what is given has passed from now on: it counts from the drain's beginning."""
    drain = _drain(pod, now_ms)
    if drain is None:
        return given
    length = now_ms - drain.since_ms + parse_duration(given).milliseconds
    try:
        return format_duration(max(0, -(-length // 1000) * 1000))
    except ValueError:
        name, place = pod["metadata"]["name"], f"-n {pod['metadata']['namespace']}"
        raise Failure(
            Exit.REFUSED,
            f"pod {name} drains since {pods.note(pod, names.ANNOTATION_DRAINING_SINCE)}, says its annotation"
            f" {names.ANNOTATION_DRAINING_SINCE}: too long ago to count a timeout from. Set it to the true time"
            f" (kubectl annotate pod {name} {place} --overwrite), or delete the pod: kubectl delete pod {name} {place}",
        ) from None


def _latest(pod: Body, order: Order, now_ms: int) -> str:
    """Return what the deadline is that was asked for, nothing before the pod has begun to drain."""
    drain = _drain(pod, now_ms) if order.deadline else None
    return f", at {rfc3339(drain.deadline_ms)} at the latest" if drain else ""


def _now_ms(cluster: Cluster) -> int:
    """Return the API server's time, or up to a second later: what is known of it may be as much too early."""
    return cluster.clock.epoch_ms() + 1000


def _drain(pod: Body, now_ms: int) -> Drain | None:
    """Return the drain of a pod as the operator reads it; of its deadline, what the pod itself says."""
    return drain_of(msgspec.convert(pod, Pod), 0, now_ms)


def _undoing(pod: Body) -> dict[str, str | None]:
    """Return what takes a request back: a timeout goes with the request that brought it."""
    notes: dict[str, str | None] = {names.ANNOTATION_DRAIN: None}
    if pods.note(pod, names.ANNOTATION_DRAIN) == pods.note(pod, names.ANNOTATION_DRAIN_TIMEOUT):
        notes[names.ANNOTATION_DRAIN_TIMEOUT] = None
    return notes


async def _wait(cluster: Cluster, pod: Body, order: Order) -> None:
    meta = pod["metadata"]

    async def ask() -> str:
        now = await pods.find(cluster, meta["namespace"], meta["name"])
        if now is None or now["metadata"]["uid"] != meta["uid"] or now["metadata"].get("deletionTimestamp"):
            return "has no sessions left and goes"
        latest = _latest(now, order, _now_ms(cluster))
        answer = _stays(now) if order.undo else _leaves(now, latest)
        if not answer:
            raise Waiting(f"the operator to take up the request for pod {meta['name']}")
        return answer

    try:
        told = await keep_asking(ask, order.timeout)
    except Failure as failure:
        if failure.code is Exit.TIMEOUT:
            raise Failure(failure.code, f"{failure.message} ({await _obstacle(cluster, pod)})") from failure
        raise
    click.echo(f"{meta['name']}  {told}")


def _leaves(pod: Body, latest: str) -> str:
    reason = pods.note(pod, names.ANNOTATION_DRAINING)
    if not reason:
        return ""
    meta = pod["metadata"]
    why = "" if reason == DrainReason.ASKED else f" already ({reason})"
    return (
        f"drains{why}: it goes when its last session has ended{latest}, see"
        f" kubectl sticky explain {meta['name']} -n {meta['namespace']}"
    )


def _stays(pod: Body) -> str:
    reason = pods.note(pod, names.ANNOTATION_DRAINING)
    if reason == DrainReason.ASKED:
        return ""
    return f"was told to leave no more{_drains_on(pod)}" if reason else "stays and takes new sessions"


def _drains_on(pod: Body) -> str:
    reason = pods.note(pod, names.ANNOTATION_DRAINING)
    return f", and drains on ({reason}) as its controller does not want it" if reason else ""


async def _obstacle(cluster: Cluster, pod: Body) -> str:
    """Return why the operator does not act on a pod, or a guess."""
    held_by = pods.holders(pod)
    if not held_by or pod["metadata"]["namespace"] != cluster.namespace:
        return unaccepted({})
    return unaccepted(await cluster.get(held_by[0]))
