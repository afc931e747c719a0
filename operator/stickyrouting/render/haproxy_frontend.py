"""The frontend of haproxy.cfg: which session a request belongs to, and where it shall go.

Law: the table first, then the signed hint, then a new session; a client's own id is never adopted.
Sources: HAProxy configuration manual, sections 4.2 (http-request), 7.3 (samples and converters).
"""

from string import Template

from stickyrouting.model.desired import Desired, earlier_idle
from stickyrouting.render import haproxy_names as names
from stickyrouting.render.haproxy_cookie import cookie_of, render_namesakes, render_request_tls
from stickyrouting.render.haproxy_forwarded import render_forwarded
from stickyrouting.render.haproxy_lost import (
    RETRY_AFTER_SECONDS,
    render_birth,
    render_free,
    render_judgement,
)
from stickyrouting.render.haproxy_settings import ProxySettings
from stickyrouting.render.haproxy_state import render_trace
from stickyrouting.render.haproxy_tls import render_binds
from stickyrouting.render.maps import Gate, MapName

MAX_TOUCH_MS = 60_000
IDLE_SHARE = 4

_FRONTEND = Template("""\
frontend $traffic
$binds
  # A proxy that stops lets go of its clients, except where the connection is a WebSocket now.
  http-after-response set-header Connection close if { int($key),map_int($stopping) -m found } !{ status 101 }
$forwarded\
  http-request del-header X-Sticky- -m beg

  # Fast path: the first $length characters are an id that was issued here and needs no touch. Whoever names an id of
  # the table can only have it from its cookie, so no signature is checked. Its server is one that has answered and was
  # not forgotten since, as those are that are no longer listed; a mark is no server.
  http-request set-var(txn.sid) $cookie,bytes(0,$length)
  http-request set-var(txn.want) var(txn.sid),table_gpt0($sessions)
  http-request allow if { var(txn.want),in_table($ids) } { var(txn.sid),table_expire($sessions) ge $fresh_ms }

  # Slow path: touch, marks, table miss, new session.
  # An acl is evaluated anew at each use: those below read variables that no longer change.
  http-request set-var(txn.slow) bool(true)
$tls$namesakes\
  http-request set-var(txn.tid) int(0)
  # An entry whose time is over is none, purged or not, unless something of it is in flight.
  acl bound var(txn.want) -m int gt 0
  http-request set-var(txn.tid) var(txn.want) \
if bound { var(txn.sid),table_expire($sessions) gt 0 } or bound { var(txn.sid),table_conn_cur($live) gt 0 }
  http-request unset-var(txn.want)
  acl known var(txn.tid) -m int gt 0
  acl ended var(txn.tid) -m int $ended
  acl unbound var(txn.tid) -m int $unbind
  http-request set-var(txn.ck) $cookie
  acl ck var(txn.ck) -m found
  http-request set-var(txn.born) var(txn.sid),bytes(0,10) if ck
  acl aged date,sub(txn.born) ge $absolute
$oldest\
  http-request set-var(txn.live) bool(true) if known !aged !ended
  acl live var(txn.live) -m bool
  # Over its maximum age: the id ends everywhere (no rule can delete an entry).
  http-request track-sc2 var(txn.sid) table $sessions if known aged !ended
  http-request sc-set-gpt0(2) int($ended) if known aged !ended
  http-request set-var(txn.want) var(txn.tid),and($mask) if live !unbound
  # Its pod is no longer listed. Another proxy may have moved the session already: then its cookie says where.
  http-request set-var(txn.lost) bool(true) if live !unbound !{ var(txn.want),map_str($id2hint) -m found }
  acl lost var(txn.lost) -m bool
  http-request unset-var(txn.want) if lost

  # Not in the table, or lost: the hint, if its signature is right and the cookie not older than an idle session may be.
  http-request set-var(txn.mac) var(txn.ck),field(4,.) if ck !known or ck lost
  acl signed var(txn.mac) -m found
  acl formed var(txn.ck) -m reg '^[^.]{$length}[.][^.]+[.][0-9]{10}[.][^.]{$mac}[.][A-Za-z0-9_-]{1,32}$$'
  http-request set-var(txn.key) var(txn.ck),field(5,.),map_str($keys) if signed
  http-request set-var(txn.ok) \
var(txn.ck),field(1,.,3),hmac(sha256,txn.key),ub64enc,bytes(0,$mac),secure_memcmp(txn.mac) \
if signed { var(txn.key) -m found } formed
  http-request set-var(txn.ts) var(txn.ck),field(3,.) if { var(txn.ok) -m bool }
  http-request set-var(txn.ok) bool(false) if { var(txn.ok) -m bool } { date,sub(txn.ts) ge $idle }
$earlier\
  http-request set-var(txn.ok) bool(false) if { var(txn.ok) -m bool } aged
  acl ok var(txn.ok) -m bool
  http-request set-var(txn.want) var(txn.ck),field(2,.),map_str_int($hint2id) if ok
$judgement\
  http-request track-sc0 var(txn.sid) table $sessions if live

  # Neither: a new session. uuid() alone comes from a generator that can be predicted, so it goes through a keyed hash.
  http-request set-var(txn.new) bool(true) if !live !ok
  acl new var(txn.new) -m bool
  http-request set-var(txn.kid) str($signing),map_str($state) if new
  http-request set-var(txn.sign) var(txn.kid),map_str($keys) if new
  http-request set-var(txn.rnd) uuid(),hmac(sha256,txn.sign),ub64enc,bytes(0,22) if new
  http-request set-var-fmt(txn.sid) %[date]%[var(txn.rnd)] if new
  http-request set-var(txn.tid) int(0) if new
$birth$free$trace
  # All pods (nearly) full: a new session asks the agent for a place, and waits for the answer as long as it may.
  # No rule of HAProxy's own can wait for a weight; a name server's answer it can wait for.
  http-request set-var(txn.gated) str($gated),map_str($births) if new { nbsrv($app) gt 0 }
  acl gated var(txn.gated) -m str $closed
  http-request set-var(txn.ticket) uuid() if gated
  http-request do-resolve(txn.place,$places,ipv4) var(txn.ticket) if gated
  # The answer is an address, and that is the id of the server where the place is; 0 is any, others say: none.
  http-request set-var(txn.want) var(txn.place),add(0) if gated
  http-request return status 503 hdr Retry-After $retry hdr Cache-Control no-store \
if gated !{ var(txn.want) -m int 0:$mask }
  http-request unset-var(txn.want) if gated { var(txn.want) -m int 0 }

  # Whoever has no pod draws one. A slot whose server is down or gone leaves the choice to the algorithm of the backend.
  http-request set-var(txn.want) rand($slots),map_str_int($births) if !{ var(txn.want) -m found } { nbsrv($app) gt 0 }
  # All that take new sessions are down for this proxy: the spare may serve, and use-server asks for no weight.
  http-request set-var(txn.want) str($spare),map_str_int($births) if !{ var(txn.want) -m found } { nbsrv($app) eq 0 }

$fallback  default_backend $app
""")

_USE_FALLBACK = Template("""\
  # A request that belongs to no pod of the list, while none of the list takes new sessions nor is spare. A session
  # whose pod is down is not among them: it gets 503 and keeps its pod.
  use_backend $fallback if { nbsrv($app) eq 0 } !{ var(txn.want),map_str($id2hint) -m found }
""")


_EARLIER = Template("""\
  # The idle time was shorter: whoever was used last under it has ended by it, and stays ended.
  http-request set-var(txn.ok) bool(false) \
if { var(txn.ok) -m bool } { var(txn.ts) -m int lt $until } { date,sub(txn.ts) ge $idle }
""")


def render_frontend(desired: Desired, settings: ProxySettings) -> str:
    """Return the traffic frontend; all request rules are in it."""
    idle_ms = desired.idle_seconds * 1_000
    return _FRONTEND.substitute(
        traffic=names.TRAFFIC,
        app=names.APP,
        sessions=names.SESSIONS,
        ids=names.IDS,
        live=names.LIVE,
        key=names.STOPPING_KEY,
        stopping=settings.map_path(MapName.STOPPING),
        signing=names.SIGNING_KEY,
        gated=names.GATED_KEY,
        closed=Gate.GATED.value,
        spare=names.SPARE_KEY,
        places=names.PLACES,
        slots=names.BIRTH_SLOTS,
        retry=RETRY_AFTER_SECONDS,
        length=names.SESSION_ID_LENGTH,
        mac=names.MAC_LENGTH,
        mask=names.SERVER_ID_MASK,
        ended=names.ENDED,
        unbind=names.UNBIND,
        binds=render_binds(desired, settings),
        forwarded=render_forwarded(desired),
        cookie=cookie_of(desired),
        tls=render_request_tls(desired),
        namesakes=render_namesakes(desired),
        idle=desired.idle_seconds,
        absolute=desired.absolute_seconds,
        oldest=_oldest(desired),
        earlier=_earlier(desired),
        fresh_ms=idle_ms - min(MAX_TOUCH_MS, idle_ms // IDLE_SHARE),
        keys=settings.map_path(MapName.KEYS),
        state=settings.map_path(MapName.STATE),
        hint2id=settings.map_path(MapName.HINT2ID),
        id2hint=settings.map_path(MapName.ID2HINT),
        births=settings.map_path(MapName.BIRTHS),
        judgement=render_judgement(desired, settings),
        birth=render_birth(),
        free=render_free(),
        trace=render_trace(desired, settings),
        fallback=_use_fallback(desired, settings),
    )


def _oldest(desired: Desired) -> str:
    oldest = desired.earlier.oldest
    return f"  acl aged var(txn.born) -m int lt {oldest}\n" if oldest else ""


def _earlier(desired: Desired) -> str:
    found = earlier_idle(desired)
    if found is None:
        return ""
    idle, until = found
    return _EARLIER.substitute(idle=idle, until=until)


def _use_fallback(desired: Desired, settings: ProxySettings) -> str:
    if desired.fallback is None:
        return ""
    return _USE_FALLBACK.substitute(
        fallback=names.FALLBACK, app=names.APP, id2hint=settings.map_path(MapName.ID2HINT)
    )
