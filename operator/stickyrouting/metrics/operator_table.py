"""The operator's metrics."""

from stickyrouting.metrics.table import Kind, Metric

LEADER = "sticky_operator_leader"
OBJECTS = "sticky_operator_stickyservices"
LOOPS = "sticky_operator_loops_total"
LOOP_DURATION = "sticky_operator_loop_seconds"
CALLS = "sticky_operator_api_calls_total"
SESSIONS = "sticky_operator_sessions"
PROVISIONAL = "sticky_operator_provisional_sessions"
CONNECTIONS = "sticky_operator_connections"
COUNTED = "sticky_operator_counts_usable"
OLDEST = "sticky_operator_oldest_report_timestamp_seconds"
_SERVICE = ("namespace", "stickyservice")

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
    Metric(
        SESSIONS,
        Kind.GAUGE,
        "Sessions on the endpoints of a StickyService; no series while the counts can't be used.",
        _SERVICE,
    ),
    Metric(
        PROVISIONAL,
        Kind.GAUGE,
        "Sessions of the last 60 s whose client has not come back yet; no series while the counts can't be used.",
        _SERVICE,
    ),
    Metric(
        CONNECTIONS,
        Kind.GAUGE,
        "Requests and WebSockets in flight to the endpoints; no series while the counts can't be used.",
        _SERVICE,
    ),
    Metric(COUNTED, Kind.GAUGE, "1 if all proxies agree on the counts and told them within 15 s.", _SERVICE),
    Metric(
        OLDEST,
        Kind.GAUGE,
        "When the oldest of the proxies' last reports was read; no series if a proxy never reported.",
        _SERVICE,
    ),
)
