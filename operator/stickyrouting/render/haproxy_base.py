"""The sections of haproxy.cfg around the traffic: process, defaults, peers, tables, metrics."""

from string import Template

from stickyrouting.model.desired import Desired
from stickyrouting.render import haproxy_names as names
from stickyrouting.render.haproxy_lost import render_tallies, render_unavailable
from stickyrouting.render.haproxy_settings import ProxySettings
from stickyrouting.render.haproxy_tls import render_tls_defaults
from stickyrouting.render.maps import MapName

LIVE_SESSIONS = 200_000
OVER_SECONDS = 60
"""An end is told at once, and again to an agent that was restarted or linked anew meanwhile."""
MIN_HARD_STOP_SECONDS = 24 * 3600 + 30 * 60
"""Workers that a reload left behind keep their WebSockets at least this long."""
HARD_STOP_SPARE_SECONDS = 60
ASK_AGAIN_MS = 1_000
"""How often, about, a birth that waits for a place repeats its question."""

_GLOBAL = Template("""\
global
  nbthread $threads
  maxconn $maxconn
  stats socket $socket mode 600 level admin expose-fd listeners
  stats timeout 1h
  localpeer $local
  hard-stop-after ${hard_stop}s
  server-state-file $server_state
$tls
defaults
  mode http
  timeout connect ${connect}ms
  timeout client ${client}ms
  timeout server ${server}ms
  timeout tunnel ${tunnel}ms
  timeout queue ${queue}ms
  timeout http-request 10s
  timeout http-keep-alive 60s
  # Without it a reload resets a few connections that a client is just about to use again.
  option idle-close-on-response
  retries 3
  retry-on conn-failure
$unavailable\
  load-server-state-from-file global

""")

_TABLES = Template("""\
# Peers can't be added at runtime, so the agent is the only one; the local peer teaches the next worker on a reload.
peers $peers
  bind $peer_bind
  server $local
  server $agent $agent_peer

# gpt0, not "stick on": a server's name in the entry could not be changed at runtime and would beat its id.
backend $sessions
  stick-table type string len $length size $size expire ${idle}s store gpt0 peers $peers
$over\
# The agent's own words: out of every client's reach, of this worker only. Told to stop, it forgets them as it does the
# sessions, and writes no more.
backend $control
  stick-table type string len $length size 1k nopurge store gpt0
# An entry in use never expires, an unused one goes soon: a dump is short.
backend $live
  stick-table type string len $length size $live_size expire 10s store conn_cur
backend $ids
  stick-table type integer size 20k store server_id
$tallies
""")

_OVER = Template("""\
# Ends are told here as well, where nobody else's word of the session can cross them.
backend $over
  stick-table type string len $length size 20k expire ${expire}s store gpt0 peers $peers
""")

_PLACES = Template("""\
# Who asks for a place is asked for by name and waits: what got lost, or went to an agent that ended, is asked again.
resolvers $places
  nameserver $agent $address
  resolve_retries $tries
  timeout retry ${pause}ms
  hold valid 0
  hold other 0
  hold nx 0
  hold refused 0
  hold timeout 0
  hold obsolete 0

""")

_METRICS = Template("""\
frontend $metrics
$binds
  http-request use-service prometheus-exporter if { path /metrics }
  http-request return status 200 if { path /healthz }
  http-request return status 503 if { int($key),map_int($stopping) -m found }
  http-request return status 200 if { path /ready } { str($ready),table_gpt0($control) eq 1 }
  http-request return status 503 if { path /ready }
  http-request return status 404

""")


def render_process(desired: Desired, settings: ProxySettings) -> str:
    """Return the sections ``global`` and ``defaults``."""
    timeouts = desired.timeouts
    return _GLOBAL.substitute(
        threads=settings.threads,
        maxconn=settings.maxconn,
        socket=settings.admin_socket,
        local=names.LOCAL_PEER,
        hard_stop=max(desired.termination_grace_seconds + HARD_STOP_SPARE_SECONDS, MIN_HARD_STOP_SECONDS),
        server_state=settings.server_state,
        connect=timeouts.connect,
        client=timeouts.client,
        server=timeouts.server,
        tunnel=timeouts.tunnel,
        queue=timeouts.queue,
        unavailable=render_unavailable(),
        tls=render_tls_defaults(desired),
    )


def render_tables(desired: Desired, settings: ProxySettings) -> str:
    """Return the peers section and the stick tables, each in a backend of its own."""
    return _TABLES.substitute(
        peers=names.PEERS,
        peer_bind=settings.peer_bind,
        local=names.LOCAL_PEER,
        agent=names.AGENT_PEER,
        agent_peer=settings.agent_peer,
        sessions=names.SESSIONS,
        control=names.CONTROL,
        live=names.LIVE,
        ids=names.IDS,
        length=names.SESSION_ID_LENGTH,
        size=settings.table_size,
        live_size=LIVE_SESSIONS,
        over=_render_over(desired),
        tallies=render_tallies(),
        idle=desired.idle_seconds,
    )


def _render_over(desired: Desired) -> str:
    if desired.state_header is None:
        return ""
    return _OVER.substitute(
        over=names.OVER,
        length=names.SESSION_ID_LENGTH,
        # No longer than the mark of the end itself stands: told later, it would be taken for another one.
        expire=min(OVER_SECONDS, desired.idle_seconds),
        peers=names.PEERS,
    )


def render_places(desired: Desired, settings: ProxySettings) -> str:
    """Return the section of the name server that births wait for, in all as long as the queue's timeout says."""
    wait = desired.timeouts.queue
    tries = max(1, round(wait / ASK_AGAIN_MS))
    return _PLACES.substitute(
        places=names.PLACES,
        agent=names.AGENT_PEER,
        address=settings.places,
        tries=tries,
        pause=max(1, wait // tries),
    )


def render_metrics(settings: ProxySettings) -> str:
    """Return the frontend of HAProxy's metrics and probes; ready is a worker whose table is complete."""
    return _METRICS.substitute(
        metrics=names.METRICS,
        binds="\n".join(f"  bind {address}" for address in settings.metrics),
        key=names.STOPPING_KEY,
        stopping=settings.map_path(MapName.STOPPING),
        ready=names.READY_KEY,
        control=names.CONTROL,
    )
