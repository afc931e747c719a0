"""The agent's metrics. HAProxy exports its own numbers itself; they are not repeated here."""

from stickyrouting.metrics.table import Kind, Metric

VERSION = "sticky_agent_desired_version"
GENERATION = "sticky_agent_key_generation"
ENDPOINTS = "sticky_agent_endpoints"
SESSIONS = "sticky_agent_sessions"
PROVISIONAL = "sticky_agent_provisional_sessions"
CHANGES = "sticky_agent_session_changes_total"
ENDS = "sticky_agent_session_ends_total"
LIFESPAN = "sticky_agent_session_lifespan_seconds"
DISPUTED = "sticky_agent_counts_disputed"
REFILLED = "sticky_agent_haproxy_refilled"
READY = "sticky_agent_haproxy_ready"
WORKERS = "sticky_agent_haproxy_workers"
COMMANDS = "sticky_agent_runtime_commands_total"
PLACEMENTS = "sticky_agent_placement_commands_total"
SLOTS = "sticky_agent_birth_slots"
FULL = "sticky_agent_full"
WAITING = "sticky_agent_waiting_births"
REFUSED = "sticky_agent_refused_births_total"
FAILED_OVER = "sticky_agent_failed_over_sessions_total"
REJECTED = "sticky_agent_rejected_requests_total"
OVERDUE = "sticky_agent_overdue_sessions_total"
CLOSED = "sticky_agent_closed_connections_total"
UNREACHED = "sticky_agent_unreached_servers"
INVALID_COOKIES = "sticky_agent_invalid_cookies_total"
RELOADS = "sticky_agent_reloads_total"
REFILLS = "sticky_agent_refills_total"
FAILURES = "sticky_agent_reconcile_failures_total"
DURATION = "sticky_agent_reconcile_seconds"
TLS_EXPIRES = "sticky_agent_tls_certificate_expiry_timestamp_seconds"
INVALID = "sticky_agent_invalid_input_total"
MESH_MEMBERS = "sticky_agent_mesh_members"
MESH_IN_STEP = "sticky_agent_mesh_in_step"
MESH_JOINED = "sticky_agent_mesh_joined"
MESH_UNSENT = "sticky_agent_mesh_unsent_bytes"
MESH_ENTRIES = "sticky_agent_mesh_entries_total"
MESH_LOST = "sticky_agent_mesh_links_lost_total"
MESH_REFUSED = "sticky_agent_mesh_refused_total"

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
LIFESPANS = (
    *(1.0, 5.0, 15.0, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 4 * _HOUR, 8 * _HOUR, 12 * _HOUR, _DAY),
)
"""Bounds of how long sessions live, in seconds."""

AGENT: tuple[Metric, ...] = (
    Metric(VERSION, Kind.GAUGE, "Version of the desired state that is in force in every worker of HAProxy."),
    Metric(GENERATION, Kind.GAUGE, "Generation of the key slot whose key signs cookies."),
    Metric(ENDPOINTS, Kind.GAUGE, "Endpoints in the desired state, by state.", ("state",)),
    Metric(SESSIONS, Kind.GAUGE, "Live sessions on all proxies, as this agent's map has them."),
    Metric(
        PROVISIONAL, Kind.GAUGE, "Births of the last minute whose client has not come back with its cookie."
    ),
    Metric(CHANGES, Kind.COUNTER, "Changes of sessions on this proxy, by kind.", ("change",)),
    Metric(
        ENDS,
        Kind.COUNTER,
        "Sessions that ended, by reason, each counted by one proxy: add up the proxies. One whose last two uses were on"
        " two proxies within milliseconds, and that then ends idle, may be counted by both.",
        ("reason",),
    ),
    Metric(
        LIFESPAN,
        Kind.HISTOGRAM,
        "Life of each session that was counted as ended, from birth to end, by reason; idle ones with their idle time.",
        ("reason",),
        LIFESPANS,
    ),
    Metric(DISPUTED, Kind.GAUGE, "1 if the counts of this agent are disputed and used for nothing."),
    Metric(REFILLED, Kind.GAUGE, "1 if HAProxy's session table is complete."),
    Metric(READY, Kind.GAUGE, "1 if the proxy is ready for traffic."),
    Metric(WORKERS, Kind.GAUGE, "Running workers of HAProxy, those that a reload left behind included."),
    Metric(COMMANDS, Kind.COUNTER, "Runtime commands sent to HAProxy's workers to change something."),
    Metric(PLACEMENTS, Kind.COUNTER, "Runtime commands sent to HAProxy's workers as sessions came and went."),
    Metric(
        SLOTS, Kind.GAUGE, "Slots from which births draw their pod, by the state of its endpoint.", ("state",)
    ),
    Metric(FULL, Kind.GAUGE, "1 while every pod has as many sessions as it may have."),
    Metric(WAITING, Kind.GAUGE, "Births that wait for a place."),
    Metric(REFUSED, Kind.COUNTER, "Births refused at once because as many as may wait were waiting."),
    Metric(
        FAILED_OVER,
        Kind.COUNTER,
        "Sessions that a request bound to another pod: theirs was gone, or could not be reached.",
        ("cause",),
    ),
    Metric(
        REJECTED,
        Kind.COUNTER,
        "Requests of sessions that no pod was given: theirs was gone (spec.session.onLost), or none could be reached"
        " (503).",
        ("cause",),
    ),
    Metric(
        OVERDUE,
        Kind.COUNTER,
        "What became of sessions that were left on a pod at its drain's deadline (spec.drain.onTimeout): sessions moved"
        " to another pod, requests rejected. None of them counts as failed over.",
        ("answer",),
    ),
    Metric(
        CLOSED,
        Kind.COUNTER,
        "WebSockets and other long connections closed because the deadline of their pod's drain has passed.",
    ),
    Metric(
        UNREACHED,
        Kind.GAUGE,
        "Servers that take no connection of this proxy, by how it fails; HAProxy's own metrics count the attempts.",
        ("how",),
    ),
    Metric(INVALID_COOKIES, Kind.COUNTER, "Cookies that were worth nothing, by what was wrong.", ("reason",)),
    Metric(RELOADS, Kind.COUNTER, "Reloads of HAProxy, by reason.", ("reason",)),
    Metric(REFILLS, Kind.COUNTER, "Times that HAProxy asked for the session table and was taught it."),
    Metric(FAILURES, Kind.COUNTER, "Runs of the agent's loop that failed and were repeated."),
    Metric(DURATION, Kind.HISTOGRAM, "Duration of a run of the agent's loop that changed something."),
    Metric(
        TLS_EXPIRES,
        Kind.GAUGE,
        "When the certificate for clients ends that is in service (spec.proxy.tls), in epoch seconds; 0 without TLS.",
    ),
    Metric(
        INVALID,
        Kind.COUNTER,
        "Inputs that could not be used and left the last good one in force.",
        ("input",),
    ),
    Metric(MESH_MEMBERS, Kind.GAUGE, "Other agents that this one knows."),
    Metric(
        MESH_IN_STEP,
        Kind.GAUGE,
        "Other agents that this one is linked with, both having heard all of the other.",
    ),
    Metric(MESH_JOINED, Kind.GAUGE, "1 once this agent has heard all that the others knew when it started."),
    Metric(MESH_UNSENT, Kind.GAUGE, "Bytes that wait to be sent to other agents."),
    Metric(
        MESH_ENTRIES,
        Kind.COUNTER,
        "Entries of the affinity map sent to other agents (once for each) or received, and those that no message can"
        " hold.",
        ("direction",),
    ),
    Metric(MESH_LOST, Kind.COUNTER, "Links with other agents that were lost, by reason.", ("reason",)),
    Metric(
        MESH_REFUSED,
        Kind.COUNTER,
        "Connections with others that did not become a link, by reason.",
        ("reason",),
    ),
)
