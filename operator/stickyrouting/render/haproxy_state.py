"""What the application is told of a session, and how it ends one: with a state header only, and at no cost without.

Law: the value is an Item of structured fields (RFC 8941, section 3.3): a token, then parameters in this order.

- ``new;session="NAME"``: the session begins with this request.
- ``active;session="NAME";server=s17;pod="POD"``: it goes on; ``POD`` is where it is bound.
- ``moved;session="NAME";from="POD";reason=failed-over``: another pod had it before; without ``from`` if nobody knows;
  with ``reason=drained`` if that pod has drained until its deadline.

``NAME`` is what :mod:`stickyrouting.model.session_name` makes of its id. HAProxy chooses another server after these
rules have run if the one that was meant can't be reached. So the header ``<name>-Server`` names the server that was
really used, at the moment when it is: a request that is ``active`` where ``server`` is another one has failed over from
``pod``. A move is told to the first request on each proxy, and requests in parallel may all be the first.

The reason: a proxy moves sessions only because their pod fails, or because its deadline has passed, which is the end of
a pod: of a session that comes from there nothing else is told. Whoever moves sessions for other reasons has to leave,
beside the new binding, the reason of that very move in a map by session, which these rules then ask, with
``failed-over`` as the default; a pod's state does not tell why if it goes on changing.

An answer ends the session with the token ``end``, whatever its status; HEAD, 304 and 101 included. HAProxy shows
neither interim answers (1xx but 101) nor trailers to any rule: what an application writes there is neither heeded nor
removed.
"""

from string import Template

from stickyrouting.model.desired import Desired
from stickyrouting.render import haproxy_names as names
from stickyrouting.render.haproxy_cookie import removal_cookie, render_response_tls
from stickyrouting.render.haproxy_settings import ProxySettings
from stickyrouting.render.maps import HINT_PREFIX, MapName

_FAILED_OVER = "failed-over"
_DRAINED = "drained"

_TRACE = Template("""\
  # Told to the application. Whose pod was another one: it is gone, or the binding is marked because another proxy
  # changed it and the cookie has yet to say so. Nobody has checked the signature of a known session's cookie so far.
  http-request set-var(txn.from) var(txn.tid),and($mask),map_str($pods) if lost gone
  http-request set-var(txn.was) bool(true) if gone !lost
  acl marked var(txn.tid) -m int gt $mask
  acl same var(txn.ck),field(2,.),map_str_int($hint2id),sub(txn.want) eq 0
  http-request set-var(txn.mac) var(txn.ck),field(4,.) if live !lost marked !same
  http-request set-var(txn.key) var(txn.ck),field(5,.),map_str($keys) if live !lost marked !same
  http-request set-var(txn.was) \
var(txn.ck),field(1,.,3),hmac(sha256,txn.key),ub64enc,bytes(0,$mac),secure_memcmp(txn.mac) \
if live !lost marked !same { var(txn.key) -m found } { var(txn.mac) -m found }
  acl was var(txn.was) -m bool
  http-request set-var-fmt(txn.hint) $prefix%[var(txn.ck),field(2,.)] if was
  http-request set-var(txn.from) var(txn.hint),map_str($pods) if was
  http-request set-var-fmt(txn.from) ";from=\\"%[var(txn.from)]\\"" if { var(txn.from) -m found }
  http-request set-var-fmt(txn.told) "new;session=\\"$name\\"" if new
  http-request set-var(txn.overdue) var(txn.hint),map_str($overdue) if was !overdue
  http-request set-var(txn.why) str($failed_over) if gone or was
  http-request set-var(txn.why) str($drained) if overdue
  http-request set-var-fmt(txn.told) "moved;session=\\"$name\\"%[var(txn.from)];reason=%[var(txn.why)]" if gone or was
""")

_TELL = Template("""\
  # Nobody else may say this to the application, also not to one for which "_" in a name is "-" (RFC 3875, 4.1.18).
  http-request del-header $alike -m reg if { req.hdr_names -m sub _ }
  http-send-name-header $header-Server
  acl told var(txn.told) -m found
  http-request set-header $header %[var(txn.told)] if told
  http-request set-header $header "active;session=\\"$name\\";server=s%[var(txn.want)];\
pod=\\"%[var(txn.want),map_str($pods)]\\"" if !told
""")

_TELL_NOTHING = Template("""\
  http-request del-header $alike -m reg
""")

_HEAR = Template("""\
  http-response set-var(txn.over) bool(true) if { res.hdr($header),field(1,;) -m str -i end }
  http-response del-header $header
  acl over var(txn.over) -m bool
""")

_END = Template("""\
  # The application ends the session: its id is worth nothing from here on, on all proxies. One that was just made has
  # not been given to anybody.
  http-response track-sc0 var(txn.sid) table $sessions if over !{ var(txn.new) -m bool }
  http-response sc-set-gpt0(0) int($ended) if over !{ var(txn.new) -m bool }
  http-response track-sc2 var(txn.sid) table $over if over !{ var(txn.new) -m bool }
  http-response sc-set-gpt0(2) int(1) if over !{ var(txn.new) -m bool }
$tls\
  http-response add-header Set-Cookie "$removal" if over
  http-response set-header Cache-Control no-store if over
  http-response allow if over
""")

_NAME = "%[var(txn.sid),sha2(256),bytes(0,8),hex,lower]"


def render_trace(desired: Desired, settings: ProxySettings) -> str:
    """Return the request rules for who comes from another pod; they stand before a session without a pod draws one."""
    if desired.state_header is None:
        return ""
    return _TRACE.substitute(
        name=_NAME,
        failed_over=_FAILED_OVER,
        drained=_DRAINED,
        overdue=settings.map_path(MapName.OVERDUE),
        mask=names.SERVER_ID_MASK,
        prefix=HINT_PREFIX,
        pods=settings.map_path(MapName.PODS),
        hint2id=settings.map_path(MapName.HINT2ID),
        keys=settings.map_path(MapName.KEYS),
        mac=names.MAC_LENGTH,
    )


def render_telling(desired: Desired, settings: ProxySettings) -> str:
    """Return the backend's rules that tell the application of its session."""
    if desired.state_header is None:
        return ""
    return _TELL.substitute(
        header=desired.state_header,
        alike=_alike(desired.state_header),
        name=_NAME,
        pods=settings.map_path(MapName.PODS),
    )


def render_telling_nothing(desired: Desired) -> str:
    """Return the rule of a backend whose requests belong to no session."""
    return (
        "" if desired.state_header is None else _TELL_NOTHING.substitute(alike=_alike(desired.state_header))
    )


def render_hearing(desired: Desired) -> str:
    """Return the response rules by which the application's word is heard and kept from the client."""
    return "" if desired.state_header is None else _HEAR.substitute(header=desired.state_header)


def unless_over(desired: Desired) -> str:
    """Return the condition under which an answer may pass as it is."""
    return "" if desired.state_header is None else " !over"


def render_end(desired: Desired) -> str:
    """Return the response rules that end the session if the application said so."""
    if desired.state_header is None:
        return ""
    return _END.substitute(
        sessions=names.SESSIONS,
        over=names.OVER,
        ended=names.ENDED,
        tls=render_response_tls(desired),
        removal=removal_cookie(desired),
    )


def _alike(header: str) -> str:
    """Return a pattern of the header's name, and of that of the server really used, in all their spellings."""
    name = header.lower().replace("-", "[-_]")
    return f"^{name}([-_]server)?$"
