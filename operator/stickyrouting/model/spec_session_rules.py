"""What the cookie and the life of a session must satisfy: combinations that browsers refuse, and limits of time.

Sources: RFC 6265bis sections 4.1 and 5 (attributes, prefixes, what a user agent drops), RFC 9110 section 5.6.2 (token)
and 7.6.1 (fields of one connection).
"""

import re
from typing import Final

from stickyrouting.model.desired import Partitioned, SameSite, Secure
from stickyrouting.model.duration import Duration
from stickyrouting.model.spec_fields import Cookie, StickySpec
from stickyrouting.model.spec_rule import Rule, matches

_HOUR: Final = 3_600_000
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = rf"({_LABEL}\.)+[A-Za-z]([A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?"
_OWN_FIELDS: Final = (
    r"(?i)(connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|host|via|forwarded|date|age|vary|range|etag"
    r"|location|origin|referer|user-agent|authorization|www-authenticate|authentication-info|cookie|set-cookie|cache-control"
    r"|expires|retry-after|(proxy|content|accept|access-control|if|sec|x-forwarded)-.*|accept|allow|server)"
)


def _prefixed(cookie: Cookie, prefixes: str) -> bool:
    return re.match(f"__({prefixes})-", cookie.name or "", re.IGNORECASE) is not None


def _is_host_only(cookie: Cookie) -> bool:
    return cookie.path == "/" and cookie.domain is None


def _secured(cookie: Cookie, needs_it: object) -> bool:
    """True unless the cookie needs the attribute Secure and never gets it."""
    return cookie.secure is not Secure.NEVER or not needs_it


def _whole(length: Duration, most_hours: int) -> bool:
    return length.milliseconds in range(1_000, most_hours * _HOUR + 1, 1_000)


def _rotation_kept(spec: StickySpec) -> bool:
    """A key is understood for one rotation more: no cookie that it signed may live longer."""
    return spec.affinity.cookie.key_rotation.milliseconds >= spec.session.idle_timeout.milliseconds


_COOKIE_RULES: Final = (
    Rule(
        "spec.affinity.cookie.name",
        "use letters, digits and ! & * + - . ^ _ ` | ~ only",
        lambda _, s: matches(r"[A-Za-z0-9!&*+.^_`|~-]+", s.affinity.cookie.name),
    ),
    Rule(
        "spec.affinity.cookie.name",
        "remove domain and set path / beside it, or choose a name without the prefix __Host-: browsers drop such a"
        " cookie otherwise",
        lambda _, s: not _prefixed(s.affinity.cookie, "host") or _is_host_only(s.affinity.cookie),
    ),
    Rule(
        "spec.affinity.cookie.secure",
        "set Auto or Always, or choose a name without the prefix __Host-, __Secure- or __Http-: browsers drop such a"
        " cookie without the attribute Secure",
        lambda _, s: _secured(s.affinity.cookie, _prefixed(s.affinity.cookie, "host|secure|http")),
    ),
    Rule(
        "spec.affinity.cookie.secure",
        "set Auto or Always, or another sameSite than None: browsers drop such a cookie without the attribute Secure",
        lambda _, s: _secured(s.affinity.cookie, s.affinity.cookie.same_site is SameSite.NONE),
    ),
    Rule(
        "spec.affinity.cookie.secure",
        "set Auto or Always, or partitioned Disabled: browsers drop such a cookie without the attribute Secure",
        lambda _, s: _secured(s.affinity.cookie, s.affinity.cookie.partitioned is Partitioned.ENABLED),
    ),
    Rule(
        "spec.affinity.cookie.path",
        "begin the path with / and use characters of a URL path other than ; only, such as /shop",
        lambda _, s: matches(r"/[A-Za-z0-9._~!$&'()*+,=:@%/-]*", s.affinity.cookie.path),
    ),
    Rule(
        "spec.affinity.cookie.domain",
        "write a DNS name with at least one dot, without port or leading dot, such as example.com, or leave the field"
        " out: the cookie then belongs to the request's host alone",
        lambda _, s: matches(_DOMAIN, s.affinity.cookie.domain),
    ),
    Rule(
        "spec.affinity.cookie.keyRotation",
        "write a duration from 1h to 8760h, such as 720h",
        lambda _, s: _HOUR <= s.affinity.cookie.key_rotation.milliseconds <= 8_760 * _HOUR,
    ),
    Rule(
        "spec.affinity.cookie.keyRotation",
        "set it to session.idleTimeout or more: a key must be understood as long as a cookie that it signed may live",
        lambda _, s: _rotation_kept(s),
    ),
)

_LIFE_RULES: Final = (
    Rule(
        "spec.session.idleTimeout",
        "write a duration from 1s to 168h in whole seconds, such as 90s, 30m or 24h",
        lambda _, s: _whole(s.session.idle_timeout, 168),
    ),
    Rule(
        "spec.session.absoluteTimeout",
        "write a duration from 1s to 576h in whole seconds, such as 30m, 12h or 168h",
        lambda _, s: _whole(s.session.absolute_timeout, 576),
    ),
    Rule(
        "spec.session.absoluteTimeout",
        "set it to idleTimeout or more: no session can be idle for longer than it may live",
        lambda _, s: s.session.absolute_timeout.milliseconds >= s.session.idle_timeout.milliseconds,
    ),
    Rule(
        "spec.session.stateHeader",
        "use letters, digits and - only, with a letter first, such as X-Sticky-Session",
        lambda _, s: matches(r"[A-Za-z][A-Za-z0-9-]*", s.session.state_header),
    ),
    Rule(
        "spec.session.stateHeader",
        "choose a name of your own, such as X-Sticky-Session: this one belongs to HTTP itself or to the proxies",
        lambda _, s: not (s.session.state_header and matches(_OWN_FIELDS, s.session.state_header)),
    ),
)

SESSION_RULES: Final = (*_COOKIE_RULES, *_LIFE_RULES)
