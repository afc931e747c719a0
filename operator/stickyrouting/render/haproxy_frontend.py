"""The frontend of haproxy.cfg: which session a request belongs to, and where it shall go.

Law: the table first, then the signed hint, then a new session; a client's own id is never adopted.
Sources: HAProxy configuration manual, sections 4.2 (http-request), 7.3 (samples and converters).
"""

from string import Template

from stickyrouting.model.desired import Desired
from stickyrouting.render import haproxy_names as names
from stickyrouting.render.haproxy_settings import ProxySettings
from stickyrouting.render.maps import MapName, Serving

MAX_TOUCH_MS = 60_000
IDLE_SHARE = 4

_FRONTEND = Template("""\
frontend $traffic
$binds
  # A proxy that stops lets go of its clients, except where the connection is a WebSocket now.
  http-after-response set-header Connection close if { str($stopping),map_str($state) $yes } !{ status 101 }
  http-request set-header X-Forwarded-For %[src]
  http-request del-header X-Sticky- -m beg

  # Fast path: the first $length characters are an id that was issued here and needs no touch. Whoever names an id of
  # the table can only have it from its cookie, so no signature is checked.
  http-request set-var(txn.sid) $cookie,bytes(0,$length)
  http-request set-var(txn.want) var(txn.sid),table_gpt0($sessions)
  acl hit var(txn.want) -m int gt 0
  http-request track-sc1 var(txn.sid) table $live if hit
  http-request allow if { var(txn.want) -m int 1:$mask } { var(txn.sid),table_expire($sessions) ge $fresh_ms }

  # Slow path: touch, marks, table miss, new session.
  # An acl is evaluated anew at each use: those below read variables that no longer change.
  http-request set-var(txn.slow) bool(true)
  http-request set-var(txn.tid) int(0)
  http-request set-var(txn.tid) var(txn.want) if hit
  http-request unset-var(txn.want)
  acl known var(txn.tid) -m int gt 0
  acl ended var(txn.tid) -m int $ended
  acl unbound var(txn.tid) -m int $unbind
  http-request set-var(txn.ck) $cookie
  acl ck var(txn.ck) -m found
  http-request set-var(txn.born) var(txn.sid),bytes(0,10) if ck
  acl aged date,sub(txn.born) ge $absolute
  http-request set-var(txn.live) bool(true) if known !aged !ended
  acl live var(txn.live) -m bool
  # Over its maximum age: the id ends everywhere (no rule can delete an entry).
  http-request track-sc2 var(txn.sid) table $sessions if known aged !ended
  http-request sc-set-gpt0(2) int($ended) if known aged !ended
  http-request set-var(txn.want) var(txn.tid),and($mask) if live !unbound
  http-request track-sc0 var(txn.sid) table $sessions if live

  # Not in the table: the hint, if its signature is right and the cookie not older than an idle session may be.
  http-request set-var(txn.mac) var(txn.ck),field(4,.) if ck !known
  http-request set-var(txn.key) var(txn.ck),field(5,.),map_str($keys) if ck !known
  http-request set-var(txn.ok) \
var(txn.ck),field(1,.,3),hmac(sha256,txn.key),ub64enc,bytes(0,$mac),secure_memcmp(txn.mac) \
if ck !known { var(txn.key) -m found } { var(txn.ck),field(1,.) -m len $length }
  http-request set-var(txn.ts) var(txn.ck),field(3,.) if { var(txn.ok) -m bool }
  http-request set-var(txn.ok) bool(false) if { var(txn.ok) -m bool } { date,sub(txn.ts) ge $idle }
  http-request set-var(txn.ok) bool(false) if { var(txn.ok) -m bool } aged
  acl ok var(txn.ok) -m bool
  http-request set-var(txn.want) var(txn.ck),field(2,.),map_str_int($hint2id) if ok

  # Neither: a new session. uuid() alone comes from a generator that can be predicted, so it goes through a keyed hash.
  http-request set-var(txn.new) bool(true) if !live !ok
  acl new var(txn.new) -m bool
  http-request set-var(txn.kid) str($signing),map_str($state) if new
  http-request set-var(txn.sign) var(txn.kid),map_str($keys) if new
  http-request set-var(txn.rnd) uuid(),hmac(sha256,txn.sign),ub64enc,bytes(0,22) if new
  http-request set-var-fmt(txn.sid) %[date]%[var(txn.rnd)] if new
  http-request set-var(txn.tid) int(0) if new
  http-request track-sc1 var(txn.sid) table $live

$fallback  default_backend $app
""")

_USE_FALLBACK = Template("""\
  # A request that belongs to no pod of the list, while none of the list takes new sessions. A session whose pod is
  # down is not among them: it gets 503 and keeps its pod.
  use_backend $fallback if { nbsrv($app) eq 0 } !{ var(txn.want),map_str($id2hint) -m found }
""")


def render_frontend(desired: Desired, settings: ProxySettings) -> str:
    """Return the traffic frontend; all request rules are in it."""
    idle_ms = desired.idle_seconds * 1_000
    return _FRONTEND.substitute(
        traffic=names.TRAFFIC,
        app=names.APP,
        sessions=names.SESSIONS,
        live=names.LIVE,
        stopping=names.STOPPING_KEY,
        signing=names.SIGNING_KEY,
        yes=Serving.STOPPING.value,
        length=names.SESSION_ID_LENGTH,
        mac=names.MAC_LENGTH,
        mask=names.SERVER_ID_MASK,
        ended=names.ENDED,
        unbind=names.UNBIND,
        binds="\n".join(f"  bind {address}" for address in settings.traffic),
        cookie=f"'req.cook({desired.cookie_name})'",
        idle=desired.idle_seconds,
        absolute=desired.absolute_seconds,
        fresh_ms=idle_ms - min(MAX_TOUCH_MS, idle_ms // IDLE_SHARE),
        keys=settings.map_path(MapName.KEYS),
        state=settings.map_path(MapName.STATE),
        hint2id=settings.map_path(MapName.HINT2ID),
        fallback=_use_fallback(desired, settings),
    )


def _use_fallback(desired: Desired, settings: ProxySettings) -> str:
    if desired.fallback is None:
        return ""
    return _USE_FALLBACK.substitute(
        fallback=names.FALLBACK, app=names.APP, id2hint=settings.map_path(MapName.ID2HINT)
    )
