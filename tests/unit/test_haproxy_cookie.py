"""The Set-Cookie that gives, renews and removes the session cookie, to the letter."""

from typing import Any

import pytest

from stickyrouting.model.desired import Cookie, CookieLifetime, Desired, Partitioned, SameSite, Secure
from stickyrouting.render.haproxy_cookie import (
    removal_cookie,
    render_request_tls,
    render_response_tls,
    set_cookie,
)

IF_TLS = "%[var(txn.tls),iif('; Secure','')]"
CASES: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    (
        "S",
        {},
        "S=v; Path=/; HttpOnly{tls}; SameSite=Lax",
        "S=; Path=/; Max-Age=0; HttpOnly{tls}; SameSite=Lax",
    ),
    (
        "S",
        {"lifetime": CookieLifetime.PERMANENT, "secure": Secure.NEVER},
        "S=v; Path=/; Max-Age=90; HttpOnly; SameSite=Lax",
        "S=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax",
    ),
    (
        "S",
        {"path": "/a$b%20'c", "domain": "Example.com", "secure": Secure.ALWAYS, "same_site": SameSite.STRICT},
        "S=v; Path=/a\\$b%%20'c; Domain=Example.com; HttpOnly; Secure; SameSite=Strict",
        "S=; Path=/a\\$b%%20'c; Domain=Example.com; Max-Age=0; HttpOnly; Secure; SameSite=Strict",
    ),
    (
        "S",
        {"same_site": SameSite.NONE, "partitioned": Partitioned.ENABLED},
        "S=v; Path=/; HttpOnly; Secure; SameSite=None; Partitioned",
        "S=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=None; Partitioned",
    ),
    (
        "__Host-S",
        {},
        "__Host-S=v; Path=/; HttpOnly; Secure; SameSite=Lax",
        "__Host-S=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax",
    ),
)


def desired_with(name: str, attributes: dict[str, Any]) -> Desired:
    return Desired(1, "demo", "shop", name, 90, 3600, 60, cookie=Cookie(**attributes))


@pytest.mark.parametrize(("name", "attributes", "given", "removed"), CASES)
def test_a_removal_names_the_path_domain_and_attributes_of_the_cookie_itself(
    name: str, attributes: dict[str, Any], given: str, removed: str
) -> None:
    desired = desired_with(name, attributes)
    assert set_cookie(desired, "v") == given.format(tls=IF_TLS)
    assert removal_cookie(desired) == removed.format(tls=IF_TLS)


def test_a_proxy_asks_for_tls_only_if_the_cookie_depends_on_it() -> None:
    auto, always = desired_with("S", {}), desired_with("S", {"secure": Secure.ALWAYS})
    assert render_request_tls(auto) == "  http-request set-var(txn.tls) ssl_fc\n"
    assert render_response_tls(auto) == (
        "  http-response set-var(txn.tls) ssl_fc if !{ var(txn.slow) -m found }\n"
    )
    assert (render_request_tls(always), render_response_tls(always)) == ("", "")
