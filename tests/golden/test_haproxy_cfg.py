"""Desired state to haproxy.cfg: whole files, each accepted by HAProxy itself (tests/haproxy/test_config.py).

``STICKY_UPDATE_GOLDEN=1 pytest tests/golden`` writes the files anew; read the difference before you keep it.
"""

import os
from pathlib import Path

import msgspec
import pytest

from stickyrouting.model.desired import (
    Address,
    Algorithm,
    Cookie,
    CookieLifetime,
    Desired,
    Earlier,
    Endpoint,
    EndpointState,
    HealthCheck,
    Lost,
    OnLost,
    Placement,
    RejectCookie,
    RejectStatus,
    Retry,
    Timeouts,
    Tls,
)
from stickyrouting.model.errors import InvalidDesired
from stickyrouting.planner.placement import Load, Weights, place
from stickyrouting.render.haproxy_cfg import render_config
from stickyrouting.render.haproxy_settings import ProxySettings

FILES = Path(__file__).parent / "haproxy"
MINIMAL = Desired(1, "demo", "shop", "STICKY-0f1e2d3c", 1800, 43200, 60)
EVERYTHING = Desired(
    version=7,
    namespace="demo",
    name="shop",
    cookie_name="a!&*+.^_`|~-Z",
    idle_seconds=120,
    absolute_seconds=3600,
    termination_grace_seconds=2 * 24 * 3600,
    fallback=Address("2001:db8::9", 8080),
    timeouts=Timeouts(connect=1500, client=2500, server=3500, tunnel=4500, queue=5500),
    health_check=HealthCheck("/health$z'&(x);?a=%20&b=*", 750, 4, 2),
    endpoints=(
        Endpoint(1, "shop-a", "198.18.0.1", 8080, EndpointState.READY),
        Endpoint(20, "shop-b", "2001:db8::2", 8081, EndpointState.UNREADY),
        Endpoint(2147483645, "shop-c", "198.18.0.3", 8080, EndpointState.DRAINING),
    ),
    placement=Placement(Algorithm.CONSISTENT_HASH, 30_000, 500),
    cookie=Cookie("/a$b%20'c", "example.com", lifetime=CookieLifetime.PERMANENT),
    earlier=Earlier(60, 1_795_000_300, 1_794_996_400),
)
SETTINGS = ProxySettings(threads=4, maxconn=20_000, table_size=500_000)
TOLD = msgspec.structs.replace(
    MINIMAL,
    fallback=Address("198.18.0.9", 8080),
    endpoints=(Endpoint(7, "shop-a", "198.18.0.1", 8080, EndpointState.READY),),
    state_header="X-Sticky-State",
)
REFUSING = msgspec.structs.replace(
    MINIMAL,
    lost=Lost(OnLost.REJECT, RejectStatus.UNAVAILABLE, RejectCookie.REMOVE, Retry.IDEMPOTENT),
    endpoints=(Endpoint(7, "shop-a", "198.18.0.1", 8080, EndpointState.READY),),
)
ENCRYPTED = msgspec.structs.replace(REFUSING, lost=Lost(), tls=Tls("shop-tls"))
TRUSTING = msgspec.structs.replace(
    ENCRYPTED, trusted_proxies=("10.0.0.0/8", "2001:db8::/32"), state_header="X-Sticky-State"
)
CASES = {
    "minimal": (MINIMAL, ProxySettings()),
    "everything": (EVERYTHING, SETTINGS),
    "told": (TOLD, ProxySettings()),
    "refusing": (REFUSING, ProxySettings()),
    "encrypted": (ENCRYPTED, ProxySettings()),
    "trusting": (TRUSTING, ProxySettings()),
}


def weights(desired: Desired) -> Weights:
    return place(desired.endpoints, desired.placement, Load()).weights


@pytest.mark.parametrize("name", CASES)
def test_a_desired_state_becomes_its_file(name: str) -> None:
    desired, settings = CASES[name]
    text = render_config(desired, weights(desired), settings)
    path = FILES / f"{name}.cfg"
    if os.environ.get("STICKY_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_every_file_has_its_case() -> None:
    assert {path.stem for path in FILES.glob("*.cfg")} == set(CASES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cookie_name": "a b"}, "cookieName 'a b': use letters, digits and ! & * + - . ^ _ ` | ~ only"),
        ({"cookie_name": "a'"}, 'cookieName "a\'": use letters, digits and ! & * + - . ^ _ ` | ~ only'),
        ({"cookie_name": ""}, "cookieName '': use letters, digits and ! & * + - . ^ _ ` | ~ only"),
        ({"cookie_name": "a\n"}, "cookieName 'a\\n': use letters, digits and ! & * + - . ^ _ ` | ~ only"),
        (
            {"cookie": Cookie(path="/a;b")},
            "cookie.path '/a;b': begin with / and use characters of a URL path other than ; only",
        ),
        (
            {"cookie": Cookie(path="a")},
            "cookie.path 'a': begin with / and use characters of a URL path other than ; only",
        ),
        (
            {"cookie": Cookie(domain='a"b.com')},
            "cookie.domain 'a\"b.com': use letters, digits, '-' and '.' only, with a letter or digit first and last",
        ),
        (
            {"cookie": Cookie(domain="")},
            "cookie.domain '': use letters, digits, '-' and '.' only, with a letter or digit first and last",
        ),
        ({"state_header": "a_b"}, "stateHeader 'a_b': use letters, digits and - only, with a letter first"),
        ({"state_header": "X\n"}, "stateHeader 'X\\n': use letters, digits and - only, with a letter first"),
        (
            {"endpoints": (Endpoint(7, 'a"b', "198.18.0.1", 80, EndpointState.READY),)},
            "endpoint 7: name 'a\"b' is not that of a pod, nor an address with its port",
        ),
        ({"idle_seconds": 0}, "idleSeconds 0: use 1 to 2147483"),
        ({"absolute_seconds": 2147484}, "absoluteSeconds 2147484: use 1 to 2147483"),
        ({"termination_grace_seconds": -1}, "terminationGraceSeconds -1: use 0 to 2147423"),
        ({"timeouts": Timeouts(queue=0)}, "timeouts.queue 0: use 1 to 2147483647 milliseconds"),
        (
            {"health_check": HealthCheck("/a b")},
            "healthCheck.path '/a b': begin with / and use characters of a URL path and query only",
        ),
        (
            {"health_check": HealthCheck("a")},
            "healthCheck.path 'a': begin with / and use characters of a URL path and query only",
        ),
        ({"health_check": HealthCheck(fall=0)}, "healthCheck.fall 0: use 1 or more"),
        (
            {"fallback": Address("shop.demo.svc", 80)},
            "fallback: address 'shop.demo.svc' is no IPv4 or IPv6 address",
        ),
        ({"fallback": Address("198.18.0.1", 0)}, "fallback: port 0 is not from 1 to 65535"),
        ({"placement": Placement(max_per_pod=0)}, "placement.maxPerPod 0: use 1 or more, or leave it out"),
        ({"placement": Placement(slow_start_ms=-1)}, "placement.slowStartMs -1: use 0 or more"),
        (
            {"endpoints": (msgspec.structs.replace(EVERYTHING.endpoints[0], weight=1001),)},
            "endpoint 1: weight 1001 is not from 0 to 1000",
        ),
        (
            {"tls": Tls("../keys")},
            "tls.secret '../keys': use lower case letters, digits, '-' and '.', as in a Secret's name",
        ),
        (
            {"trusted_proxies": ("10.0.0.0/8", "10.0.0.0/33")},
            "trustedProxies '10.0.0.0/33': use an IPv4 or IPv6 address, / and the length of its prefix",
        ),
        (
            {"trusted_proxies": ("::/0 or { always_true",)},
            "trustedProxies '::/0 or { always_true': use an IPv4 or IPv6 address, / and the length of its prefix",
        ),
        ({"endpoints": EVERYTHING.endpoints[:1] * 2}, "endpoint 1: is in the list 2 times"),
        (
            {"endpoints": (Endpoint(0, "a", "::1%lo", 70000, EndpointState.READY),)},
            "endpoint 0: use an id from 1 to 2147483645; endpoint 0: address '::1%lo' is no IPv4 or IPv6 address;"
            " endpoint 0: port 70000 is not from 1 to 65535",
        ),
    ],
)
def test_what_haproxy_would_refuse_or_misread_is_refused_with_its_place(
    changes: dict[str, object], message: str
) -> None:
    desired = msgspec.structs.replace(MINIMAL, **changes)
    with pytest.raises(InvalidDesired) as caught:
        render_config(desired, weights(desired), ProxySettings())
    assert str(caught.value) == message


def test_an_endpoint_without_a_weight_is_refused() -> None:
    with pytest.raises(InvalidDesired, match=r"endpoint 20 \(shop-b\): no weight was given for it"):
        render_config(EVERYTHING, ((1, 100),), ProxySettings())
