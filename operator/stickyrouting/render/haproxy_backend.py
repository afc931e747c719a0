"""The backends of haproxy.cfg: how a request reaches its server, what a response binds, and the servers.

Law: a response binds only what its request read (compare and set), so that a move made meanwhile wins; a session
that the proxy knows only from its cookie is bound by no worker before that worker's table is complete.
"""

import ipaddress
from string import Template

from stickyrouting.model.desired import Algorithm, Desired, Endpoint, HealthCheck
from stickyrouting.model.errors import InvalidDesired
from stickyrouting.render import haproxy_names as names
from stickyrouting.render.haproxy_cookie import render_response_tls, set_cookie
from stickyrouting.render.haproxy_lost import (
    check_options,
    render_failed_over,
    render_faith,
    render_reborn,
    render_unserved,
    unless_retried,
)
from stickyrouting.render.haproxy_settings import ProxySettings
from stickyrouting.render.haproxy_state import (
    render_end,
    render_hearing,
    render_telling,
    render_telling_nothing,
    unless_over,
)
from stickyrouting.render.maps import MapName

CHECK_HOST = "localhost"
_BALANCE = {
    Algorithm.LEAST_SESSIONS: "roundrobin",
    Algorithm.ROUND_ROBIN: "roundrobin",
    Algorithm.LEAST_CONNECTIONS: "leastconn",
    Algorithm.RANDOM: "random(2)",
}
_MAC = f"var(txn.npl),hmac(sha256,txn.sign),ub64enc,bytes(0,{names.MAC_LENGTH})"
_COOKIE_VALUE = f"%[var(txn.npl)].%[{_MAC}].%[var(txn.kid)]"
Weights = tuple[tuple[int, int], ...]

_APP = Template("""\
backend $app
$unserved$balance$faith$check\
  # In flight. Here every id is one of ours: a hit's own or the one that was just made; and here it costs no condition.
  http-request track-sc1 var(txn.sid) table $live
$telling\
  # By number through a table: use-server walks the list of servers before HAProxy 3.3. The condition that the fast path
  # fails stands first: its server is in the table, which is filled by the first answer of each server.
  use-server s%[var(txn.want)] if { var(txn.slow) -m found } { var(txn.want) -m int gt 0 } \
!{ var(txn.want),in_table($ids) }
  stick match var(txn.want) table $ids
  stick store-response srv_id table $ids \
if { var(txn.slow) -m found } !{ srv_id,in_table($ids) } { srv_id,map_str($id2hint) -m found }

  acl new var(txn.new) -m bool
  acl ready str($ready),table_gpt0($control) eq 1
$hearing\
  http-response allow if !{ var(txn.slow) -m found } { srv_id,sub(txn.want) eq 0 }$unless_retried$unless_over
$end$reborn\
  http-response allow if !new !ready
  http-response set-var(txn.kid) str($signing),map_str($state)
  http-response set-var(txn.sign) var(txn.kid),map_str($keys)
  # Without a key to sign with, nothing can be promised.
  http-response allow if !{ var(txn.sign) -m found }
  http-response set-var(txn.tid) var(txn.want) if !{ var(txn.slow) -m found }
  http-response set-var(txn.used) srv_id
  http-response set-var(txn.cur) var(txn.sid),table_gpt0($sessions)
  # It ended while the request was in flight: no cookie names it again.
  http-response allow if { var(txn.cur) -m int $ended }
  http-response set-var(txn.wr) bool(true) if { var(txn.cur),sub(txn.tid) eq 0 } !{ var(txn.used),sub(txn.cur) eq 0 }
  # The birth was on another proxy, which told of it while this request, its client's first return, was in flight.
  http-response set-var(txn.wr) bool(true) if !new { var(txn.cur),xor($newborn),sub(txn.used) eq 0 }
  acl wr var(txn.wr) -m bool
  http-response track-sc0 var(txn.sid) table $sessions if wr
  # A newborn is marked until its client comes back with the cookie: a robot's entry never counts as a session.
  http-response sc-set-gpt0(0) srv_id,or($newborn) if wr new
  http-response sc-set-gpt0(0) srv_id if wr !new
$failed_over\
  http-response set-var(txn.cur) var(txn.used) if wr
  # The entry went while the request was in flight.
  http-response set-var(txn.cur) var(txn.used) if { var(txn.cur) -m int 0 }
  http-response set-var-fmt(txn.npl) %[var(txn.sid)].%[var(txn.cur),and($mask),map_str($id2hint,-)].%[date]
$tls\
  http-response add-header Set-Cookie "$cookie"
  # No shared cache may keep the cookie. What the application said is replaced, unless it is at least as strict.
  acl confined res.hdr(Cache-Control) -m str -i private no-store
  http-response set-header Cache-Control "private, no-cache" if !confined { res.hdr(Cache-Control) -m str -i no-cache }
  http-response set-header Cache-Control private if !confined

$servers""")

_FALLBACK = Template("""\

# The Service's own address, for requests that no listed server can take. A backend of its own, not a backup server:
# nbsrv would count that one as up, and the rules of the other backend would bind sessions to it.
backend $fallback
$unserved\
  http-request track-sc1 var(txn.sid) table $live
$silence$hearing$end\
  server $fallback $address
""")


def render_app(desired: Desired, weights: Weights, settings: ProxySettings) -> str:
    """Return the backend of the application's servers; raises :class:`InvalidDesired` without a server's weight."""
    return _APP.substitute(
        app=names.APP,
        sessions=names.SESSIONS,
        control=names.CONTROL,
        live=names.LIVE,
        ids=names.IDS,
        ready=names.READY_KEY,
        signing=names.SIGNING_KEY,
        newborn=names.NEWBORN,
        ended=names.ENDED,
        mask=names.SERVER_ID_MASK,
        tls=render_response_tls(desired),
        cookie=set_cookie(desired, _COOKIE_VALUE),
        keys=settings.map_path(MapName.KEYS),
        state=settings.map_path(MapName.STATE),
        id2hint=settings.map_path(MapName.ID2HINT),
        balance=_balance(desired.placement.algorithm),
        check=_http_check(desired.health_check),
        unserved=render_unserved(),
        faith=render_faith(desired),
        failed_over=render_failed_over(),
        telling=render_telling(desired, settings),
        hearing=render_hearing(desired),
        unless_retried=unless_retried(desired),
        unless_over=unless_over(desired),
        reborn=render_reborn(desired, settings),
        end=render_end(desired),
        servers=_servers(desired, dict(weights)),
    )


def render_fallback(desired: Desired) -> str:
    """Return the backend of requests without a binding; nothing if the desired state names no fallback."""
    if desired.fallback is None:
        return ""
    place = host_port(desired.fallback.address, desired.fallback.port)
    return _FALLBACK.substitute(
        fallback=names.FALLBACK,
        unserved=render_unserved(),
        live=names.LIVE,
        silence=render_telling_nothing(desired),
        hearing=render_hearing(desired),
        end=render_end(desired),
        address=place,
    )


def host_port(address: str, port: int) -> str:
    """Return an address as HAProxy reads it: IPv6 in brackets."""
    return f"[{address}]:{port}" if ipaddress.ip_address(address).version == 6 else f"{address}:{port}"


def _balance(algorithm: Algorithm) -> str:
    """Return what HAProxy does with births that no slot claims (manual, "balance" and "hash-type").

    A new session has no key of its own to hash; its client's address is what comes back.
    """
    if algorithm is Algorithm.CONSISTENT_HASH:
        return "  balance hash src\n  hash-type consistent\n"
    return f"  balance {_BALANCE[algorithm]}\n"


def _http_check(check: HealthCheck) -> str:
    """Without a path the check is a TCP connect, which needs no line of its own.

    With one, an answer of any status proves that the pod is there (L7OKC): it takes no births while the status is not a
    good one, and keeps its sessions. Who does not answer is down after as many checks as ever.
    """
    if check.path is None:
        return ""
    uri = check.path.replace("'", "'\\''")
    return (
        "  option httpchk\n"
        f"  http-check send meth GET uri '{uri}' ver HTTP/1.1 hdr Host {CHECK_HOST}\n"
        "  http-check expect error-status L7OKC status 200-399\n"
    )


def _servers(desired: Desired, weights: dict[int, int]) -> str:
    return "".join(_server(endpoint, weights, desired.health_check) for endpoint in desired.endpoints)


def _server(endpoint: Endpoint, weights: dict[int, int], check: HealthCheck) -> str:
    if endpoint.id not in weights:
        raise InvalidDesired(f"endpoint {endpoint.id} ({endpoint.name}): no weight was given for it")
    place = host_port(endpoint.address, endpoint.port)
    name, weight = names.server_name(endpoint.id), weights[endpoint.id]
    return f"  server {name} {place} id {endpoint.id} weight {weight} {check_options(check)}\n"
