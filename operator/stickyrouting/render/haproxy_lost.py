"""Lost sessions in haproxy.cfg: who is lost, who is refused, what is sent again; and cookies that are worth nothing.

Law: a session is lost when its pod is no longer listed, or when no connection to the pod can be made and the proxy's
own check says so too. A bound session is tried on its own pod until then, and nothing is sent a second time but to whom
nothing was sent, or what may be repeated and shall be (RFC 9110, section 9.2.2). What happened is tallied once.
"""

from enum import StrEnum
from string import Template

from stickyrouting.model.desired import Desired, HealthCheck, OnLost, RejectCookie, RejectStatus, Retry
from stickyrouting.render import haproxy_names as names
from stickyrouting.render.haproxy_cookie import removal_cookie
from stickyrouting.render.haproxy_settings import ProxySettings
from stickyrouting.render.maps import MapName

RETRY_AFTER_SECONDS = 5
HURRY_MS = 1_000
"""A check that has failed, or whose pod refused a request, is repeated at least this often."""
TURN_MS = 1_000
"""HAProxy's pause before it tries a server again that refused (manual, "retries"), unless it connects in less."""
MIN_RETRIES, MAX_RETRIES = 3, 99
ONLY_IF_DOWN = MAX_RETRIES + 1
"""As the interval of redispatches: no retry is the hundredth, so that only a server that is down is left."""


class Tally(StrEnum):
    """What rules count: the keys of a stick table, whose ``gpc0`` is the number."""

    BAD_MAC = "cookie.bad-mac"
    UNKNOWN_KEY = "cookie.unknown-key"
    EXPIRED = "cookie.expired"
    MALFORMED = "cookie.malformed"
    FAILED_OVER_GONE = "failed-over.gone"
    FAILED_OVER_UNREACHABLE = "failed-over.unreachable"
    REJECTED_GONE = "rejected.gone"
    REJECTED_UNREACHABLE = "rejected.unreachable"


_TABLE = Template("""\
# What only a rule can count. Of this worker alone, for as long as it lives: the agent adds up what the workers say.
# A section of peers that has none: a worker that is told to stop empties the tables of its backends.
peers $section
  disabled
  table $table type string len $length size $size nopurge store gpc0
""")

_UNAVAILABLE = Template("""\
  # Nobody could take the request: no binding changes, the client may come back.
  http-error status 503 content-type text/plain string "No server can take this request now.\\n" \
hdr Retry-After $retry hdr Cache-Control no-store
""")

_JUDGE = Template("""\
  # Its pod is no longer listed, and nobody's newer word says where else it is.
  http-request set-var(txn.gone) bool(true) if lost !{ var(txn.want) -m found } or ok !{ var(txn.want) -m found }
  acl gone var(txn.gone) -m bool
  # A cookie that is worth nothing, and why: the last line that fits. Who is over age right now is counted as an end.
  http-request set-var(txn.void) bool(true) if ck !known !ok
  acl void var(txn.void) -m bool
  http-request set-var(txn.tally) str($malformed) if void
  http-request set-var(txn.tally) str($unknown_key) if void formed
  http-request set-var(txn.tally) str($bad_mac) if void formed { var(txn.key) -m found }
  http-request set-var(txn.tally) str($expired) if void { var(txn.ts) -m found } or ended
""")

_TELL_APART = Template("""\
  # Only a worker whose table is complete knows who is lost, and nobody is while no pod is there to start afresh on.
  http-request set-var(txn.later) bool(true) if gone !{ str($ready),table_gpt0($control) eq 1 }
  http-request set-var(txn.later) bool(true) if gone { nbsrv($app) eq 0 } !{ str($spare),map_str($births) -m found }
  acl later var(txn.later) -m bool
  http-request set-var(txn.tally) str($rejected_gone) if gone
  http-request set-var(txn.tally) str($rejected_unreachable) if later
""")

_COUNT = Template("""\
  http-$phase track-sc2 var(txn.$name) table $tally if { var(txn.$name) -m found }
  http-$phase sc-inc-gpc0(2) if { var(txn.$name) -m found }
""")

_REFUSE = Template("""\
  http-request return status 503 hdr Retry-After $retry hdr Cache-Control no-store if later
  http-request return status $status content-type text/plain string "The server that held this session is gone.\\n" \
hdr Cache-Control no-store$headers if gone
""")

_FREE = """\
  # Whoever has no pod to be faithful to.
  http-request set-var(txn.free) bool(true) if !{ var(txn.want) -m found } or new
"""

_REBIND = Template("""\
  # On its own pod until the check says that it is down; the next retry is elsewhere.
  retries $retries
  option redispatch $never
""")

_FAITHFUL = """\
  # Its own pod or none, even if a check says that it is down. Whoever has none yet is tried on another at once.
  retries 3
  option redispatch 1
  force-persist unless { var(txn.free) -m found }
"""

_REPEAT = {
    Retry.SAFE: "  retry-on conn-failure\n",
    Retry.IDEMPOTENT: """\
  retry-on conn-failure empty-response
  http-request disable-l7-retry unless { method GET HEAD OPTIONS TRACE PUT DELETE }
""",
}

_FAILED_OVER = Template("""\
  # Bound to another pod than it had, and not because the agent said so.
  acl gone var(txn.gone) -m bool
  http-response set-var(txn.moved) str($failed_over_gone) if wr !new gone
  http-response set-var(txn.moved) str($failed_over_unreachable) if wr !new !gone !{ var(txn.free) -m found } \
!{ var(txn.used),sub(txn.want) eq 0 }
""")


def check_options(check: HealthCheck) -> str:
    """Return a server's check options (HAProxy manual 5.2): the same in the file and at runtime.

    A connection that fails hurries the check, so that a long interval does not keep a lost session waiting.
    """
    hurry = min(check.interval_ms, HURRY_MS)
    return (
        f"check inter {check.interval_ms}ms fastinter {hurry}ms fall {check.fall} rise {check.rise}"
        " observe layer4 error-limit 1 on-error fastinter"
    )


def render_tallies() -> str:
    """Return the stick table of what rules count."""
    section, _, table = names.TALLY.partition("/")
    return _TABLE.substitute(
        section=section, table=table, length=names.SESSION_ID_LENGTH, size=names.TALLY_SIZE
    )


def render_unavailable() -> str:
    """Return what HAProxy itself answers when it has no server for a request."""
    return _UNAVAILABLE.substitute(retry=RETRY_AFTER_SECONDS)


def render_judgement(desired: Desired, settings: ProxySettings) -> str:
    """Return the request rules for who is lost and whose cookie is void; under Reject these get their answer here.

    They stand where ``ok``, ``lost`` and ``formed`` are known and before a new session begins.
    """
    words = {tally.name.lower(): tally.value for tally in Tally}
    judge = _JUDGE.substitute(words)
    if desired.lost.action is OnLost.REBIND:
        return judge + _count("request", "tally")
    apart = _TELL_APART.substitute(
        words,
        ready=names.READY_KEY,
        control=names.CONTROL,
        app=names.APP,
        spare=names.SPARE_KEY,
        births=settings.map_path(MapName.BIRTHS),
    )
    return judge + apart + _count("request", "tally") + _refusal(desired)


def render_free() -> str:
    """Return the request rule that notes who may be served by any pod; it stands after a new session's begin."""
    return _FREE


def render_faith(desired: Desired) -> str:
    """Return how often, and where, the backend tries again."""
    repeat = _REPEAT[desired.lost.retry]
    if desired.lost.action is OnLost.REJECT:
        return _FAITHFUL + repeat
    return _REBIND.substitute(retries=retries_until_down(desired), never=ONLY_IF_DOWN) + repeat


def render_failed_over() -> str:
    """Return the response rules that count who failed over; ``wr`` and ``used`` are set, ``cur`` is not changed yet."""
    words = {tally.name.lower(): tally.value for tally in Tally}
    return _FAILED_OVER.substitute(words) + _count("response", "moved")


def retries_until_down(desired: Desired) -> int:
    """Return how many retries outlast the check's verdict on a pod that refuses."""
    check, pause = desired.health_check, min(TURN_MS, desired.timeouts.connect)
    verdict = check.fall * min(check.interval_ms, HURRY_MS)
    return max(MIN_RETRIES, min(MAX_RETRIES, -(-verdict // pause) + 2))


def _refusal(desired: Desired) -> str:
    lost, headers = desired.lost, ""
    if lost.cookie is RejectCookie.REMOVE:
        headers += f' hdr Set-Cookie "{removal_cookie(desired)}"'
        if lost.status is RejectStatus.UNAVAILABLE:
            headers += f" hdr Retry-After {RETRY_AFTER_SECONDS}"
    return _REFUSE.substitute(retry=RETRY_AFTER_SECONDS, status=lost.status.value, headers=headers)


def _count(phase: str, name: str) -> str:
    return _COUNT.substitute(phase=phase, name=name, tally=names.TALLY)
