"""The agent's metrics. HAProxy exports its own numbers itself; they are not repeated here."""

from stickyrouting.metrics.table import Kind, Metric

VERSION = "sticky_agent_desired_version"
GENERATION = "sticky_agent_key_generation"
ENDPOINTS = "sticky_agent_endpoints"
SESSIONS = "sticky_agent_sessions"
NEWBORN = "sticky_agent_newborn_sessions"
CHANGES = "sticky_agent_session_changes_total"
REFILLED = "sticky_agent_haproxy_refilled"
READY = "sticky_agent_haproxy_ready"
WORKERS = "sticky_agent_haproxy_workers"
COMMANDS = "sticky_agent_runtime_commands_total"
RELOADS = "sticky_agent_reloads_total"
REFILLS = "sticky_agent_refills_total"
FAILURES = "sticky_agent_reconcile_failures_total"
DURATION = "sticky_agent_reconcile_seconds"
INVALID = "sticky_agent_invalid_input_total"

AGENT: tuple[Metric, ...] = (
    Metric(VERSION, Kind.GAUGE, "Version of the desired state that is in force in every worker of HAProxy."),
    Metric(GENERATION, Kind.GAUGE, "Generation of the key slot whose key signs cookies."),
    Metric(ENDPOINTS, Kind.GAUGE, "Endpoints in the desired state, by state.", ("state",)),
    Metric(SESSIONS, Kind.GAUGE, "Sessions that this proxy knows whose client came back with its cookie."),
    Metric(NEWBORN, Kind.GAUGE, "Sessions that this proxy knows whose client has not come back yet."),
    Metric(CHANGES, Kind.COUNTER, "Changes of sessions heard from HAProxy, by kind.", ("change",)),
    Metric(REFILLED, Kind.GAUGE, "1 if HAProxy's session table is complete."),
    Metric(READY, Kind.GAUGE, "1 if the proxy is ready for traffic."),
    Metric(WORKERS, Kind.GAUGE, "Running workers of HAProxy, those that a reload left behind included."),
    Metric(COMMANDS, Kind.COUNTER, "Runtime commands sent to HAProxy's workers to change something."),
    Metric(RELOADS, Kind.COUNTER, "Reloads of HAProxy, by reason.", ("reason",)),
    Metric(REFILLS, Kind.COUNTER, "Times that HAProxy asked for the session table and was taught it."),
    Metric(FAILURES, Kind.COUNTER, "Runs of the agent's loop that failed and were repeated."),
    Metric(DURATION, Kind.HISTOGRAM, "Duration of a run of the agent's loop that changed something."),
    Metric(
        INVALID,
        Kind.COUNTER,
        "Inputs that could not be used and left the last good one in force.",
        ("input",),
    ),
)
