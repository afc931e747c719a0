"""The plan of one loop: verdicts first, then what may be written, in the order in which it must be."""

import msgspec

from stickyrouting.model.errors import InvalidSpec
from stickyrouting.model.observed import Observed
from stickyrouting.model.plan import Plan, Reason, no
from stickyrouting.model.spec import StickySpec
from stickyrouting.planner import admission, service
from stickyrouting.planner.blocked import with_room
from stickyrouting.planner.desired import next_desired
from stickyrouting.planner.endpoints import Terms, plan_endpoints
from stickyrouting.planner.ends import ends_status
from stickyrouting.planner.moves import plan_moves
from stickyrouting.planner.nodes import blind_spot, resting_pods
from stickyrouting.planner.protected import judge_protected
from stickyrouting.planner.release import (
    draining_pods,
    is_vacant,
    judge_draining,
    passed_deadlines,
    plan_releases,
)
from stickyrouting.planner.revisions import former_pods
from stickyrouting.planner.rotation import next_keys
from stickyrouting.planner.waits import drain_with_waits


def plan(spec: StickySpec, observed: Observed, now_ms: int) -> Plan:
    """Return what to do now. A verdict that does not hold leaves the last good configuration in force."""
    accepted = admission.accepted(observed)
    resolved, target = service.resolve(observed.service, spec.service.name, spec.service.port)
    rotation = next_keys(spec, observed, now_ms)
    leaving = draining_pods(spec, observed, now_ms)
    if target is None or not accepted.holds:
        kept = observed.desired.endpoints if observed.desired else ()
        held = _held_only(Plan(accepted, resolved), spec, observed, now_ms)
        return msgspec.structs.replace(held, endpoints=kept, rotation=rotation)
    moves = plan_moves(spec, observed, now_ms)
    leaving_now = frozenset(leave.pod_uid for leave in moves.leaves)
    terms = Terms(spec.drain.hold, leaving_now, resting_pods(observed), former_pods(observed))
    found = plan_endpoints(observed, target, now_ms // 1000, terms)
    desired = next_desired(spec, observed, target, found.endpoints, now_ms)
    return Plan(
        accepted=accepted,
        resolved=service.with_remark(resolved, found.remark),
        target=target,
        binds=found.binds,
        record=found.record,
        endpoints=found.endpoints,
        desired=desired,
        ends=ends_status(observed, desired.ends, now_ms),
        rotation=rotation,
        leaves=moves.leaves,
        stays=moves.stays,
        releases=plan_releases(leaving, observed, now_ms),
        deadlines=passed_deadlines(leaving, observed, desired),
        drains={one.pod.metadata.name: drain_with_waits(one, observed, now_ms) for one in leaving},
        vacant=any(is_vacant(one) for one in leaving),
        kept_back=any(one.stays for one in leaving),
        draining=service.with_remark(
            with_room(judge_draining(leaving), spec, observed), blind_spot(observed.nodes)
        ),
        protected=judge_protected(spec, observed),
    )


def refuse(error: InvalidSpec, spec: StickySpec, observed: Observed, now_ms: int) -> Plan:
    """Return the plan for a spec that can't be honoured: say so, touch nothing but pods that are held already; ``spec``
    is what can be read of it.
    """
    unknown = no(Reason.INVALID_SPEC, "not looked at: the spec is invalid")
    return _held_only(Plan(no(Reason.INVALID_SPEC, str(error)), unknown), spec, observed, now_ms)


def _held_only(verdicts: Plan, spec: StickySpec, observed: Observed, now_ms: int) -> Plan:
    """Return what is planned where no list may be written: pods that are held leave all the same, with their last
    session or at their deadline, for they have no other way out.
    """
    leaving, moves = draining_pods(spec, observed, now_ms), plan_moves(spec, observed, now_ms)
    return msgspec.structs.replace(
        verdicts,
        leaves=moves.leaves,
        stays=moves.stays,
        releases=plan_releases(leaving, observed, now_ms),
        drains={one.pod.metadata.name: drain_with_waits(one, observed, now_ms) for one in leaving},
        vacant=any(is_vacant(one) for one in leaving),
        kept_back=any(one.stays for one in leaving),
        draining=judge_draining(leaving),
    )
