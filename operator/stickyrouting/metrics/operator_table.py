"""The operator's metrics."""

from stickyrouting.metrics.table import Kind, Metric

LEADER = "sticky_operator_leader"
OBJECTS = "sticky_operator_stickyservices"
LOOPS = "sticky_operator_loops_total"
LOOP_DURATION = "sticky_operator_loop_seconds"
CALLS = "sticky_operator_api_calls_total"

OPERATOR: tuple[Metric, ...] = (
    Metric(LEADER, Kind.GAUGE, "1 on the replica that acts."),
    Metric(OBJECTS, Kind.GAUGE, "StickyServices that are looked after."),
    Metric(LOOPS, Kind.COUNTER, "Loops that were run, by when the next is due.", ("next",)),
    Metric(LOOP_DURATION, Kind.HISTOGRAM, "Duration of a loop."),
    Metric(
        CALLS,
        Kind.COUNTER,
        "Calls of the API server, by verb, resource and outcome.",
        ("verb", "resource", "outcome"),
    ),
)
