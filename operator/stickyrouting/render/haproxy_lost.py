"""Lost sessions in haproxy.cfg: who is lost, who is refused, what is sent again; and cookies that are worth nothing.

Law: a session is lost when its pod is no longer listed, or when no connection to the pod can be made and the proxy's
own check says so too. A pod that is not listed yet is not lost: its server's id is above all that this worker knows.
A bound session is tried on its own pod until then, and nothing is sent a second time but to whom nothing was sent, or
what may be repeated and shall be (RFC 9110, section 9.2.2). What happened is tallied once. A pod that has drained until
its deadline is overdue: no longer listed for its sessions, for which the owner may have chosen another answer.
"""

from enum import StrEnum
from string import Template

from stickyrouting.model.desired import Desired, HealthCheck, OnLost, RejectCookie, RejectStatus, Retry
from stickyrouting.render import haproxy_names as names
from stickyrouting.render.haproxy_cookie import removal_cookie, render_response_tls
from stickyrouting.render.haproxy_settings import ProxySettings
from stickyrouting.render.maps import MapName

RETRY_AFTER_SECONDS = 5
SOON_SECONDS = 1
"""When to come back to a proxy that has not been told of the session's pod yet."""
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
    OVERDUE_MOVED = "overdue.moved"
    OVERDUE_REJECTED = "overdue.rejected"


_TABLE = Template("""\
# What only a rule can count. Of this worker alone, for as long as it lives: the agent adds up what the workers say.
# A section of peers that has none: a worker that is told to stop empties the tables of its backends.
peers $section
  disabled
  table $table type string len $length size $size nopurge store gpc0,gpc1
""")

_UNAVAILABLE = Template("""\
  # Nobody could take the request: no binding changes, the client may come back.
  http-error status 503 content-type text/plain string "No server can take this request now.\\n" \
hdr Retry-After $retry hdr Cache-Control $confined
""")

_COUNT_BIRTH = "\"no-store%[sc_inc_gpc1(2),iif('','')]\""
"""A text that adds nothing, but counts that the request was a birth: no rule runs for HAProxy's own answers alone."""
_BIRTH = Template("""\
  # What HAProxy can't serve it counts itself, but not whether that had a session.
  http-request track-sc2 str($birth) table $tally if new
""")

_JUDGE = Template("""\
  # Its pod is no longer listed, and nobody's newer word says where else it is.
  http-request set-var(txn.gone) bool(true) if lost !{ var(txn.want) -m found } or ok !{ var(txn.want) -m found }
  # Or not listed yet: ids only grow, and this one is above all that this worker was told of. By the table's word, which
  # an older cookie does not change, or by a hint: its id is hidden under a keyed hash and proves itself by giving the
  # same hint again.
  acl missed var(txn.gone) -m bool
  http-request set-var(txn.top) str($highest),map_str($id2hint),add(0) if lost or missed
  http-request set-var(txn.newer) bool(true) if lost { var(txn.tid),and($mask),sub(txn.top) gt 0 }
  http-request set-var(txn.hidden) str($hint_key),map_str($keys) if missed ok
  http-request set-var(txn.cover) \
var(txn.ck),field(2,.),bytes(0,$hint),hmac(sha256,txn.hidden),hex,bytes(0,8),hex2i,and($mask) if missed ok
  http-request set-var(txn.id) var(txn.ck),field(2,.),bytes($hint,8),hex2i,xor(txn.cover) if missed ok
  http-request set-var-fmt(txn.word) %[var(txn.id)] if missed ok
  http-request set-var(txn.word) var(txn.word),hmac(sha256,txn.hidden),ub64enc,bytes(0,$hint) if missed ok
  http-request set-var(txn.newer) bool(true) if missed ok { var(txn.id),sub(txn.top) gt 0 } \
{ var(txn.ck),field(2,.),bytes(0,$hint),strcmp(txn.word) eq 0 }
  acl newer var(txn.newer) -m bool
  http-request unset-var(txn.gone) if newer
  acl gone var(txn.gone) -m bool
  # Gone because its deadline has passed.
  http-request set-var(txn.overdue) var(txn.tid),and($mask),map_str($overdue) if gone lost
  http-request set-var(txn.overdue) var(txn.id),map_str($overdue) if gone !lost
  acl overdue var(txn.overdue) -m found
  # A cookie that is worth nothing, and why: the last line that fits. Who is over age right now is counted as an end.
  http-request set-var(txn.void) bool(true) if ck !known !ok
  acl void var(txn.void) -m bool
  http-request set-var(txn.tally) str($malformed) if void
  http-request set-var(txn.tally) str($unknown_key) if void formed
  http-request set-var(txn.tally) str($bad_mac) if void formed { var(txn.key) -m found }
  http-request set-var(txn.tally) str($expired) if void { var(txn.ts) -m found } or ended
  http-request set-var(txn.tally) str($rejected_unreachable) if newer
""")

_NEWER = Template("""\
  # Whoever comes back, to this proxy or another one, meets one that knows the pod. Its binding and cookie stay.
  http-request return status 503 hdr Retry-After $soon hdr Cache-Control no-store hdr Connection close if newer
""")

_TELL_APART = Template("""\
  # Only a worker whose table is complete knows who is lost, and nobody is while no pod is there to start afresh on.
  http-request set-var(txn.later) bool(true) if $who !{ str($ready),table_gpt0($control) eq 1 }
  http-request set-var(txn.later) bool(true) if $who { nbsrv($app) eq 0 } !{ str($spare),map_str($births) -m found }
  acl later var(txn.later) -m bool
  http-request set-var(txn.tally) str($rejected_gone) if $who
  http-request set-var(txn.tally) str($overdue_rejected) if $who overdue
  http-request set-var(txn.tally) str($rejected_unreachable) if later
""")

_COUNT = Template("""\
  http-$phase track-sc2 var(txn.$name) table $tally if { var(txn.$name) -m found }
  http-$phase sc-inc-gpc0(2) if { var(txn.$name) -m found }
""")

_LATER = Template("""\
  http-request return status 503 hdr Retry-After $retry hdr Cache-Control no-store if later
""")
_REFUSE = Template("""\
  http-$phase return status $status content-type text/plain string "The server that held this session is gone.\\n" \
hdr Cache-Control no-store$headers if $who
""")

_REBORN = Template("""\
  # Tried again until its pod took connections, which is listed no more by now: another life of that pod has answered.
  http-response set-var(txn.reborn) str($tally) if !new { txn.conn_retries gt 0 } !{ srv_id,map_str($id2hint) -m found }
  acl reborn var(txn.reborn) -m found
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
  http-response set-var(txn.moved) str($overdue_moved) if { var(txn.moved) -m found } { var(txn.overdue) -m found }
""")

_REFUSED = {
    (OnLost.REJECT, OnLost.REJECT): "gone",
    (OnLost.REJECT, OnLost.REBIND): "gone !overdue",
    (OnLost.REBIND, OnLost.REJECT): "gone overdue",
}
"""Whose requests are refused, by what is chosen for pods that are lost, and for those that are overdue."""


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
    return _UNAVAILABLE.substitute(retry=RETRY_AFTER_SECONDS, confined="no-store")


def render_unserved() -> str:
    """Return the same answer for the backend of the application: there it counts requests without a session."""
    return _UNAVAILABLE.substitute(retry=RETRY_AFTER_SECONDS, confined=_COUNT_BIRTH)


def render_birth() -> str:
    """Return the rule by which that answer knows them; it stands behind ``new`` and the counting of void cookies."""
    return _BIRTH.substitute(birth=names.BIRTH_TALLY, tally=names.TALLY)


def render_judgement(desired: Desired, settings: ProxySettings) -> str:
    """Return the request rules for who is lost and whose cookie is void; under Reject these get their answer here.

    They stand where ``ok``, ``lost`` and ``formed`` are known and before a new session begins.
    """
    words = {tally.name.lower(): tally.value for tally in Tally}
    judge = _JUDGE.substitute(
        words,
        highest=names.HIGHEST_KEY,
        hint_key=names.HINT_KEY,
        hint=names.HINT_LENGTH,
        mask=names.SERVER_ID_MASK,
        id2hint=settings.map_path(MapName.ID2HINT),
        keys=settings.map_path(MapName.KEYS),
        overdue=settings.map_path(MapName.OVERDUE),
    )
    newer = _NEWER.substitute(soon=SOON_SECONDS)
    who = _REFUSED.get((desired.lost.action, desired.lost.overdue))
    if who is None:
        return judge + _count("request", "tally") + newer
    apart = _TELL_APART.substitute(
        words,
        who=who,
        ready=names.READY_KEY,
        control=names.CONTROL,
        app=names.APP,
        spare=names.SPARE_KEY,
        births=settings.map_path(MapName.BIRTHS),
    )
    later = _LATER.substitute(retry=RETRY_AFTER_SECONDS)
    return judge + apart + _count("request", "tally") + newer + later + _refusal(desired, "request", who)


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
    """Return how many retries outlast the check's verdict on a pod that refuses, and on one that does not answer.

    A check waits for a connection as long as a request does, but no longer than its own interval (manual, "timeout
    check"); the next one begins an interval after it failed.
    """
    check, connect = desired.health_check, desired.timeouts.connect
    hurry = min(check.interval_ms, HURRY_MS)
    refused = check.fall * hurry
    silent = check.fall * (hurry + min(check.interval_ms, connect))
    needed = max(-(-refused // min(TURN_MS, connect)), -(-silent // connect))
    return max(MIN_RETRIES, min(MAX_RETRIES, needed + 2))


def unless_retried(desired: Desired) -> str:
    """Return the condition under which nobody else than the session's pod can have answered."""
    return "" if desired.lost.action is OnLost.REBIND else " { txn.conn_retries eq 0 }"


def render_reborn(desired: Desired, settings: ProxySettings) -> str:
    """Return the response rules that refuse what a restarted pod answered as if it still held the session."""
    if desired.lost.action is OnLost.REBIND:
        return ""
    id2hint = settings.map_path(MapName.ID2HINT)
    return (
        _REBORN.substitute(tally=Tally.REJECTED_GONE.value, id2hint=id2hint)
        + _count("response", "reborn")
        + render_response_tls(desired)
        + _refusal(desired, "response", "reborn")
    )


def _refusal(desired: Desired, phase: str, who: str) -> str:
    lost, headers = desired.lost, ""
    if lost.cookie is RejectCookie.REMOVE:
        headers += f' hdr Set-Cookie "{removal_cookie(desired)}"'
        if lost.status is RejectStatus.UNAVAILABLE:
            headers += f" hdr Retry-After {RETRY_AFTER_SECONDS}"
    return _REFUSE.substitute(phase=phase, status=lost.status.value, headers=headers, who=who)


def _count(phase: str, name: str) -> str:
    return _COUNT.substitute(phase=phase, name=name, tally=names.TALLY)
