"""The plan of one loop: verdicts first, then what may be written, in the order in which it must be."""

from stickyrouting.model.errors import InvalidSpec
from stickyrouting.model.observed import Observed
from stickyrouting.model.plan import Plan, Reason, no
from stickyrouting.model.spec import StickySpec
from stickyrouting.planner import admission, service
from stickyrouting.planner.desired import next_desired
from stickyrouting.planner.endpoints import plan_endpoints
from stickyrouting.planner.ends import ends_status
from stickyrouting.planner.rotation import next_keys


def plan(spec: StickySpec, observed: Observed, now_ms: int) -> Plan:
    """Return what to do now. A verdict that does not hold leaves the last good configuration in force."""
    accepted = admission.accepted(observed)
    resolved, target = service.resolve(observed.service, spec.service.name, spec.service.port)
    rotation = next_keys(spec, observed, now_ms)
    if target is None or not accepted.holds:
        listed = observed.desired.endpoints if observed.desired else ()
        return Plan(accepted, resolved, endpoints=listed, rotation=rotation)
    found = plan_endpoints(observed, target, now_ms // 1000)
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
    )


def refuse(error: InvalidSpec) -> Plan:
    """Return the plan for a spec that can't be honoured: say so, touch nothing."""
    unknown = no(Reason.INVALID_SPEC, "not looked at: the spec is invalid")
    return Plan(no(Reason.INVALID_SPEC, str(error)), unknown)
