"""Cookies and lives of sessions that a StickyService may ask for, or may not: part of the table in spec_cases.py."""

from typing import Any

from contract.case import Mistyped, Refused

HOST_ONLY = (
    "remove domain and set path / beside it, or choose a name without the prefix __Host-: browsers drop such a"
    " cookie otherwise"
)
DROPPED = "browsers drop such a cookie without the attribute Secure"
PREFIX_SECURE = (
    f"set Auto or Always, or choose a name without the prefix __Host-, __Secure- or __Http-: {DROPPED}"
)
SAME_SITE_SECURE = f"set Auto or Always, or another sameSite than None: {DROPPED}"
PARTITIONED_SECURE = f"set Auto or Always, or partitioned Disabled: {DROPPED}"
COOKIE_PATH = "begin the path with / and use characters of a URL path other than ; only, such as /shop"
COOKIE_DOMAIN = (
    "write a DNS name with at least one dot, without port or leading dot, such as example.com, or leave the field"
    " out: the cookie then belongs to the request's host alone"
)
KEY_ROTATION = "write a duration from 1h to 8760h, such as 720h"
KEYS_LAST = (
    "set it to session.idleTimeout or more: a key must be understood as long as a cookie that it signed"
    " may live"
)
IDLE = "write a duration from 1s to 168h in whole seconds, such as 90s, 30m or 24h"
ABSOLUTE = "write a duration from 1s to 576h in whole seconds, such as 30m, 12h or 168h"
ABSOLUTE_LONGER = "set it to idleTimeout or more: no session can be idle for longer than it may live"
STATE_HEADER = "use letters, digits and - only, with a letter first, such as X-Sticky-Session"
OWN_HEADER = (
    "choose a name of your own, such as X-Sticky-Session: this one belongs to HTTP itself or to the proxies"
)
COOKIE = "spec.affinity.cookie"
COOKIE_CHARACTERS = "use letters, digits and ! & * + - . ^ _ ` | ~ only"

TAKEN: tuple[tuple[str, Any], ...] = (
    ("spec.affinity.cookie", {"name": "JSESSION_ID.v1"}),
    (COOKIE, {}),
    (COOKIE, {"name": "__Host-sid"}),
    (
        COOKIE,
        {"name": "__Host-sid", "path": "/", "secure": "Always", "partitioned": "Enabled", "sameSite": "None"},
    ),
    (COOKIE, {"name": "__secure-sid", "domain": "example.com", "path": "/shop"}),
    (COOKIE, {"secure": "Never", "sameSite": "Strict", "lifetimeType": "Permanent"}),
    (f"{COOKIE}.path", "/a/b.c~d_e-f!$&'()*+,=:@%20"),
    (f"{COOKIE}.domain", "a-1.Example.com"),
    (f"{COOKIE}.domain", "xn--bcher-kva.example"),
    (f"{COOKIE}.keyRotation", "1h"),
    (f"{COOKIE}.keyRotation", "8760h"),
    ("spec.session", {}),
    ("spec.session", {"idleTimeout": "1s", "absoluteTimeout": "1s"}),
    ("spec.session", {"idleTimeout": "168h", "absoluteTimeout": "576h"}),
    *(
        ("spec.session", {"onLost": "Reject", "rejectStatus": status, "rejectCookie": "Keep"})
        for status in (404, 409, 410, 503)
    ),
    ("spec.session.retry", "Idempotent"),
    ("spec.session.stateHeader", "X-Sticky-Session"),
    ("spec.session.stateHeader", "Session-2"),
)

REFUSED: tuple[Refused, ...] = (
    Refused("spec.affinity.cookie.name", "my cookie", COOKIE_CHARACTERS),
    Refused("spec.affinity.cookie.name", "a;b", COOKIE_CHARACTERS),
    Refused("spec.affinity.cookie.name", "", COOKIE_CHARACTERS),
    Refused(COOKIE, {"name": "__Host-sid", "domain": "example.com"}, HOST_ONLY, f"{COOKIE}.name"),
    Refused(COOKIE, {"name": "__host-sid", "path": "/shop"}, HOST_ONLY, f"{COOKIE}.name"),
    Refused(COOKIE, {"name": "__Host-sid", "secure": "Never"}, PREFIX_SECURE, f"{COOKIE}.secure"),
    Refused(COOKIE, {"name": "__secure-sid", "secure": "Never"}, PREFIX_SECURE, f"{COOKIE}.secure"),
    Refused(COOKIE, {"name": "__Http-sid", "secure": "Never"}, PREFIX_SECURE, f"{COOKIE}.secure"),
    Refused(COOKIE, {"sameSite": "None", "secure": "Never"}, SAME_SITE_SECURE, f"{COOKIE}.secure"),
    Refused(COOKIE, {"partitioned": "Enabled", "secure": "Never"}, PARTITIONED_SECURE, f"{COOKIE}.secure"),
    *(
        Refused(f"{COOKIE}.path", path, COOKIE_PATH)
        for path in ("", "shop", "/a;b", "/a b", "/a\nb", '/"', "/\u00e9")
    ),
    *(
        Refused(f"{COOKIE}.domain", domain, COOKIE_DOMAIN)
        for domain in (
            "",
            ".example.com",
            "localhost",
            "198.18.1.2",
            "example.com:80",
            "a_b.com",
            "a..com",
            "b.com;",
        )
    ),
    Refused(f"{COOKIE}.keyRotation", "59m", KEY_ROTATION),
    Refused(f"{COOKIE}.keyRotation", "8761h", KEY_ROTATION),
    Refused(
        "spec",
        {
            "service": {"name": "shop"},
            "affinity": {"type": "Cookie", "cookie": {"keyRotation": "2h"}},
            "session": {"idleTimeout": "2h1s"},
        },
        KEYS_LAST,
        f"{COOKIE}.keyRotation",
    ),
    Refused("spec.session.idleTimeout", "0s", IDLE),
    Refused("spec.session.idleTimeout", "1500ms", IDLE),
    Refused(
        "spec.session", {"idleTimeout": "168h1s", "absoluteTimeout": "169h"}, IDLE, "spec.session.idleTimeout"
    ),
    Refused("spec.session.absoluteTimeout", "577h", ABSOLUTE),
    Refused(
        "spec.session",
        {"idleTimeout": "1s", "absoluteTimeout": "1500ms"},
        ABSOLUTE,
        "spec.session.absoluteTimeout",
    ),
    Refused("spec.session.absoluteTimeout", "29m59s", ABSOLUTE_LONGER),
    *(
        Refused("spec.session.stateHeader", name, STATE_HEADER)
        for name in ("", "X Sticky", "X_Sticky", "8-bit", "X:", "X-\u00e9")
    ),
    *(
        Refused("spec.session.stateHeader", name, OWN_HEADER)
        for name in (
            "Connection",
            "upgrade",
            "TE",
            "Host",
            "Cookie",
            "Set-Cookie",
            "X-Forwarded-For",
            "content-type",
        )
    ),
)

MISTYPED: tuple[Mistyped, ...] = (
    Mistyped("spec.affinity.cookie.name", "c" * 65, "Too long", "length <= 64"),
    Mistyped(f"{COOKIE}.path", "/" + "a" * 1024, "Too long", "length <= 1024"),
    Mistyped(f"{COOKIE}.domain", "a." * 127, "Too long", "length <= 253"),
    Mistyped(f"{COOKIE}.secure", "Yes", 'supported values: "Auto"', "Invalid enum value 'Yes'"),
    Mistyped(f"{COOKIE}.sameSite", "lax", 'supported values: "Lax"', "Invalid enum value 'lax'"),
    Mistyped(f"{COOKIE}.partitioned", True, "must be of type string", "Expected str, got bool"),
    Mistyped(
        f"{COOKIE}.lifetimeType", "Forever", 'supported values: "Session"', "Invalid enum value 'Forever'"
    ),
    Mistyped(f"{COOKIE}.keyRotation", "30d", KEY_ROTATION, "'30d' is no duration; write one such as 500ms"),
    Mistyped("spec.session.idleTimeout", "1d", IDLE, "'1d' is no duration; write one such as 500ms"),
    Mistyped("spec.session.absoluteTimeout", 60, "must be of type string", "expected a duration in quotes"),
    Mistyped("spec.session.onLost", "Retry", 'supported values: "Rebind"', "Invalid enum value 'Retry'"),
    Mistyped("spec.session.rejectStatus", 500, 'supported values: "404"', "Invalid enum value 500"),
    Mistyped("spec.session.rejectCookie", "Drop", 'supported values: "Remove"', "Invalid enum value 'Drop'"),
    Mistyped("spec.session.retry", "All", 'supported values: "Safe"', "Invalid enum value 'All'"),
    Mistyped("spec.session.stateHeader", "X" * 65, "Too long", "length <= 64"),
)
