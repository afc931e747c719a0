"""TLS towards clients: how the traffic port listens, and with which versions and ciphers.

Law: nothing of it stands in the file of a proxy whose clients speak plain HTTP. One certificate for all names: a client
that names another one, or none, gets it too.
Sources: HAProxy configuration manual, sections 3.1 (ssl-default-bind-*) and 5.1 (alpn, crt); RFC 9325 sections 3.1 and
4.2; RFC 9113 section 9.2 (what HTTP/2 asks of TLS 1.2).
"""

from typing import Final

from stickyrouting.model.desired import Desired
from stickyrouting.render.haproxy_settings import ProxySettings

_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
"""Of TLS 1.2: those with forward secrecy and authenticated encryption; all of TLS 1.3 have both."""
_SUITES: Final = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")


def render_tls_defaults(desired: Desired) -> str:
    """Return the lines of section ``global`` on versions and ciphers; nothing for plain HTTP."""
    if desired.tls is None:
        return ""
    return (
        f"  ssl-default-bind-ciphers {':'.join(_CIPHERS)}\n"
        f"  ssl-default-bind-ciphersuites {':'.join(_SUITES)}\n"
        "  ssl-default-bind-options ssl-min-ver TLSv1.2\n"
    )


def render_binds(desired: Desired, settings: ProxySettings) -> str:
    """Return the bind lines of the traffic frontend, without the last line's end."""
    options = f" ssl crt {settings.certificate} alpn h2,http/1.1" if desired.tls else ""
    return "\n".join(f"  bind {address}{options}" for address in settings.traffic)
