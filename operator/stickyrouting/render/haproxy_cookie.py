"""The session cookie as browsers get it: the one place that writes its name, attributes and removal.

Law: the cookie is always HttpOnly, and a removal names the same path, domain and attributes as the cookie itself, or
browsers would keep it. The texts are HAProxy formats that stand between double quotes (manual, sections 2.2 and 8.2.6).
Sources: RFC 6265bis sections 4.1 and 5.7, CHIPS (Partitioned).
"""

import re
from string import Template
from typing import Final

from stickyrouting.model.desired import CookieLifetime, Desired, Partitioned, Secure, secure_of
from stickyrouting.render import haproxy_names as names
from stickyrouting.render.haproxy_names import TLS

_IF_TLS: Final = f"%[var({TLS}),iif('; Secure','')]"
_NAMESAKES = Template("""\
  # Browsers send all cookies of a name, whatever their paths and domains, and HAProxy reads the last. If that one is
  # unknown here or has ended, the one before it counts: the last may be another service's, or from before a change.
  http-request set-var(txn.other) bool(true) \
if { var(txn.want) -m int 0 $ended } { 'req.cook_cnt($name)' gt 1 } { $cookie,bytes(0,$length),in_table($sessions) }
  acl other var(txn.other) -m bool
$strip$strip\
  http-request set-var(txn.want) var(txn.sid),table_gpt0($sessions) if other
""")
_STRIP = Template("""\
  http-request replace-header Cookie '^(.*); *$pattern=[^;]*(.*)$$' '\\1\\2' \
if other { var(txn.sid),table_gpt0($sessions) -m int 0 $ended }
  http-request set-var(txn.sid) $cookie,bytes(0,$length) if other
""")


def set_cookie(desired: Desired, value: str) -> str:
    """Return the value of Set-Cookie that gives or renews the cookie; ``value`` is a format as well."""
    age = f"; Max-Age={desired.idle_seconds}" if desired.cookie.lifetime is CookieLifetime.PERMANENT else ""
    return f"{desired.cookie_name}={value}{_place(desired)}{age}{_attributes(desired)}"


def removal_cookie(desired: Desired) -> str:
    """Return the value of Set-Cookie that makes a browser forget the cookie."""
    return f"{desired.cookie_name}={_place(desired)}; Max-Age=0{_attributes(desired)}"


def render_request_tls(desired: Desired) -> str:
    """Return the rule by which a request's cookies know whether they may be Secure; nothing if they needn't."""
    return f"  http-request set-var({TLS}) ssl_fc\n" if _asks_connection(desired) else ""


def render_response_tls(desired: Desired) -> str:
    """Return the same for an answer to a request that came by the fast path, which sets nothing."""
    if not _asks_connection(desired):
        return ""
    return f"  http-response set-var({TLS}) ssl_fc if !{{ var(txn.slow) -m found }}\n"


def cookie_of(desired: Desired) -> str:
    """Return the sample of a request's cookie: the last one of its name."""
    return f"'req.cook({desired.cookie_name})'"


def render_namesakes(desired: Desired) -> str:
    """Return the request rules for several cookies of the name; they stand where ``sid`` and ``want`` are just read."""
    words = {
        "name": desired.cookie_name,
        "cookie": cookie_of(desired),
        "length": names.SESSION_ID_LENGTH,
        "sessions": names.SESSIONS,
        "ended": names.ENDED,
    }
    strip = _STRIP.substitute(words, pattern=re.escape(desired.cookie_name))
    return _NAMESAKES.substitute(words, strip=strip)


def _asks_connection(desired: Desired) -> bool:
    """Behind trusted proxies it is known before all this, of every request, and not from the connection alone."""
    return secure_of(desired) is Secure.AUTO and not desired.trusted_proxies


def _place(desired: Desired) -> str:
    domain = f"; Domain={desired.cookie.domain}" if desired.cookie.domain else ""
    return f"; Path={_literal(desired.cookie.path)}{domain}"


def _attributes(desired: Desired) -> str:
    secure = {Secure.ALWAYS: "; Secure", Secure.AUTO: _IF_TLS, Secure.NEVER: ""}[secure_of(desired)]
    partitioned = "; Partitioned" if desired.cookie.partitioned is Partitioned.ENABLED else ""
    return f"; HttpOnly{secure}; SameSite={desired.cookie.same_site.value}{partitioned}"


def _literal(text: str) -> str:
    """Return a text that says itself in a format between double quotes; it holds no double quote nor backslash."""
    return text.replace("%", "%%").replace("$", "\\$")
