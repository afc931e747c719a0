"""One loop of one StickyService: observe, plan, execute, write the status. Level-triggered and idempotent."""

import functools
from collections.abc import Callable, Iterator
from enum import Enum

from stickyrouting.apply.agents import DRAIN_SECONDS, REFRESH_SECONDS, RELEASE_SECONDS, Wanted
from stickyrouting.apply.ends import clear_asked, tell_ends
from stickyrouting.apply.execute import execute, move
from stickyrouting.apply.live import look_live
from stickyrouting.apply.observe import observe
from stickyrouting.apply.ports import Ports, Told
from stickyrouting.apply.registry import Raw, identity_of
from stickyrouting.apply.rotation import settle
from stickyrouting.apply.status import as_said, previous_conditions, tell_transitions, write_status
from stickyrouting.model.desired import Desired
from stickyrouting.model.errors import InvalidSpec
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Key, Observed
from stickyrouting.model.plan import Outcome, Plan
from stickyrouting.model.spec import StickySpec, parse_spec, readable_spec
from stickyrouting.planner import loop
from stickyrouting.planner.conditions import is_current, live_proxies
from stickyrouting.planner.counts import count
from stickyrouting.planner.rotation import slot_keys
from stickyrouting.planner.status import make_status

NEAR_MS = 30_000
"""Before a deadline nobody may come by to wake a loop: longer than the interval of idle ones."""


class Next(Enum):
    """When the next loop is due if nothing wakes it: soon (something is in the making), in a second (a deadline is
    near, or a pod waits for others), later, or never.
    """

    SOON = "soon"
    NEAR = "near"
    RETRY = "retry"
    IDLE = "idle"
    GONE = "gone"


async def reconcile(key: Key, ports: Ports, wake: Callable[[], None]) -> Next:
    """Run one loop; errors of the API while the status is written are raised as :class:`StickyError`."""
    body = ports.registry.get(key)
    if body is None or body["metadata"].get("deletionTimestamp"):
        return Next.GONE
    body = as_said(body, ports)
    observed = observe(body, ports)
    now = ports.clock.epoch_ms()
    plan, outcome = await _act(body, observed, ports, now)
    desired = outcome.desired or observed.desired
    version = desired.version if desired else 0
    ends = desired.ends if desired else ()
    ports.agents.refresh(key, _asked(observed), Wanted(version, ends, _pace(plan)), wake)
    _tell_counts(observed, desired, ports)
    await _tell(key, observed, (plan, outcome), ports)
    if not await clear_asked(key, desired, ports) or outcome.failure or outcome.unmoved or outcome.foreign:
        return Next.RETRY
    unfinished = outcome.unbound or ends or _rotates(plan) or _behind(observed, version)
    unfinished = unfinished or _overtaken(observed, ports)
    if unfinished:
        return Next.SOON
    near = plan.kept_back or any(d.deadline_ms - now < NEAR_MS for d in plan.drains.values())
    return Next.NEAR if near else Next.IDLE


async def _act(body: Raw, observed: Observed, ports: Ports, now: int) -> tuple[Plan, Outcome]:
    spec, decide = _judged(body)
    plan = decide(spec, observed, now)
    if not (plan.leaves or plan.stays or plan.releases):
        _reserve(plan, observed, ports)
        outcome = await execute(plan, spec, observed, ports, {})
        return await settle(plan, observed, ports), outcome
    # One at a time: two that see the same surplus would each let another pod leave.
    async with ports.memory.turns[observed.identity.key.namespace]:
        observed = await look_live(observe(body, ports), ports)
        plan = decide(spec, observed, now)
        _reserve(plan, observed, ports)
        staying = await move(plan, observed.identity.key.namespace, ports)
    outcome = await execute(plan, spec, observed, ports, staying)
    return await settle(plan, observed, ports), outcome


def _judged(body: Raw) -> tuple[StickySpec, Callable[[StickySpec, Observed, int], Plan]]:
    """Return the spec and who decides on it; of one that can't be honoured, what can be read of it."""
    try:
        return parse_spec(body), loop.plan
    except InvalidSpec as error:
        return readable_spec(body), functools.partial(loop.refuse, error)


def _reserve(plan: Plan, observed: Observed, ports: Ports) -> None:
    """Remember the ids just planned before anything is awaited: another loop must not plan them again."""
    namespace = observed.identity.key.namespace
    planned = [bind.server_id for bind in plan.binds] + list(plan.record.book.values() if plan.record else ())
    highest = max([ports.memory.highest_ids.get(namespace, 0), *planned])
    ports.memory.highest_ids[namespace] = highest


def _tell_counts(observed: Observed, desired: Desired | None, ports: Ports) -> None:
    counts = count(observed)
    sums = counts.total(desired.endpoints if desired else ()) if counts.verdict.holds else None
    moment = None if counts.oldest is None else ports.clock.epoch_ms() / 1000 - counts.oldest
    ports.tell_counts(observed.identity.key, Told(sums, moment))


async def _tell(key: Key, observed: Observed, done: tuple[Plan, Outcome], ports: Ports) -> None:
    body = ports.registry.get(key)
    if body is None or body["metadata"]["uid"] != observed.identity.uid:
        return
    body = as_said(body, ports)
    plan, outcome = done
    if body.get("status") and ports.agents.awaited(p.pod for p in live_proxies(observed)):
        return  # Right after a start nothing is known of the proxies; what stands was judged from more.
    before = previous_conditions(body)
    status = make_status(observed, plan, outcome, before, ports.clock.epoch_ms())
    if await write_status(body, status, observed, ports):
        await tell_transitions(observed.identity, before, status.conditions, ports)
        await tell_ends(observed, status.ends, ports)


def _asked(observed: Observed) -> Iterator[Pod]:
    """Yield the proxies that are asked: while pods drain, those that are ending have a say as well."""
    return (p.pod for p in observed.proxies if not p.pod.ended)


def _pace(plan: Plan) -> float:
    """Return how often the proxies are asked, in seconds: a pod shall go soon after its last session."""
    if plan.vacant:
        return RELEASE_SECONDS
    return DRAIN_SECONDS if plan.drains else REFRESH_SECONDS


def _rotates(plan: Plan) -> bool:
    """True if this loop recorded a step of a rotation, which the next one acts on."""
    if plan.rotation is None:
        return False
    before, after = slot_keys(plan.rotation.before), slot_keys(plan.rotation.after)
    return (before.sign, before.accept) != (after.sign, after.accept)


def _overtaken(observed: Observed, ports: Ports) -> bool:
    """True if a newer spec came to be known during this loop, perhaps by the answer to our own status write."""
    body = ports.registry.get(observed.identity.key)
    return body is not None and identity_of(body) != observed.identity


def _behind(observed: Observed, version: int) -> bool:
    """True while a proxy is still to be asked again soon: it is silent, behind, or its HAProxy does not serve."""
    return any(not is_current(p, version) for p in live_proxies(observed))
