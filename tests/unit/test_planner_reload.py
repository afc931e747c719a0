"""A reload has a reason exactly when the configuration differs beyond its servers."""

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
    OnFull,
    OnLost,
    Overdue,
    Partitioned,
    Placement,
    RejectCookie,
    RejectStatus,
    Retry,
    SameSite,
    Secure,
    Timeouts,
    Tls,
)
from stickyrouting.planner.reload import REASONS, reload_reasons
from stickyrouting.render.haproxy_cfg import render_config
from stickyrouting.render.haproxy_settings import ProxySettings

DESIRED = Desired(1, "demo", "shop", "STICKY", 1800, 43200, 60)
ENDPOINTS = tuple(
    Endpoint(id_, f"shop-{id_}", "198.18.0.1", 8080, state)
    for id_, state in enumerate((EndpointState.READY, EndpointState.DRAINING), 1)
)

CHANGES: list[tuple[dict[str, object], tuple[str, ...]]] = [
    ({}, ()),
    ({"version": 2}, ()),
    ({"highest_id": 9}, ()),
    ({"endpoints": ENDPOINTS}, ()),
    ({"cookie_name": "OTHER"}, ("cookie name",)),
    ({"idle_seconds": 900}, ("idle time",)),
    ({"absolute_seconds": 900}, ("absolute time",)),
    ({"earlier": Earlier(600, 1_795_000_000)}, ("idle time",)),
    ({"earlier": Earlier(1800, 1_795_000_000)}, ()),
    ({"earlier": Earlier(oldest=1_795_000_000)}, ("absolute time",)),
    ({"termination_grace_seconds": 3600}, ()),
    ({"termination_grace_seconds": 24 * 3600 + 29 * 60}, ()),
    ({"termination_grace_seconds": 24 * 3600 + 29 * 60 + 1}, ("termination grace period",)),
    ({"fallback": Address("198.18.1.1", 80)}, ("fallback",)),
    ({"timeouts": Timeouts(tunnel=1)}, ("timeouts",)),
    ({"health_check": HealthCheck(path="/healthz")}, ("health check",)),
    ({"idle_seconds": 900, "timeouts": Timeouts(queue=1)}, ("idle time", "timeouts")),
    ({"tls": Tls("shop-tls")}, ("TLS",)),
    ({"trusted_proxies": ("10.0.0.0/8",)}, ("trusted proxies",)),
    ({"cookie": Cookie(path="/shop")}, ("cookie attributes",)),
    ({"cookie": Cookie(domain="example.com")}, ("cookie attributes",)),
    ({"cookie": Cookie(secure=Secure.ALWAYS)}, ("cookie attributes",)),
    ({"cookie": Cookie(same_site=SameSite.STRICT)}, ("cookie attributes",)),
    ({"cookie": Cookie(partitioned=Partitioned.ENABLED)}, ("cookie attributes",)),
    ({"cookie": Cookie(lifetime=CookieLifetime.PERMANENT)}, ("cookie attributes",)),
    ({"lost": Lost(OnLost.REJECT)}, ("lost sessions",)),
    ({"lost": Lost(retry=Retry.IDEMPOTENT)}, ("lost sessions",)),
    ({"lost": Lost(status=RejectStatus.CONFLICT, cookie=RejectCookie.KEEP)}, ()),
    ({"lost": Lost(overdue=OnLost.REJECT)}, ("lost sessions",)),
    ({"lost": Lost(status=RejectStatus.CONFLICT, overdue=OnLost.REJECT)}, ("lost sessions",)),
    ({"overdue": (Overdue(7, 1),), "close_rate": 1}, ()),
    ({"fresh": True}, ()),
    ({"state_header": "X-State"}, ("state header",)),
    ({"placement": Placement(Algorithm.ROUND_ROBIN)}, ()),
    ({"placement": Placement(slow_start_ms=9, max_per_pod=9, on_full=OnFull.OVERFLOW)}, ()),
    ({"placement": Placement(Algorithm.RANDOM)}, ("placement algorithm",)),
    ({"placement": Placement(Algorithm.LEAST_CONNECTIONS)}, ("placement algorithm",)),
    ({"placement": Placement(Algorithm.CONSISTENT_HASH)}, ("placement algorithm",)),
]


EMBEDDED = Cookie(same_site=SameSite.NONE)


@pytest.mark.parametrize(("changes", "reasons"), CHANGES)
def test_a_reload_has_a_reason_exactly_when_the_configuration_differs_beyond_its_servers(
    changes: dict[str, object], reasons: tuple[str, ...]
) -> None:
    new = msgspec.structs.replace(DESIRED, **changes)
    assert reload_reasons(DESIRED, new) == reasons
    assert (config(DESIRED) != config(new)) is bool(reasons)


@pytest.mark.parametrize(
    "desired",
    [
        msgspec.structs.replace(DESIRED, cookie=EMBEDDED),
        msgspec.structs.replace(DESIRED, cookie=Cookie(partitioned=Partitioned.ENABLED)),
        *(
            msgspec.structs.replace(DESIRED, cookie_name=f"{prefix}shop")
            for prefix in ("__Host-", "__secure-", "__Http-")
        ),
    ],
)
def test_always_instead_of_auto_is_no_reason_where_browsers_take_the_cookie_in_no_other_way(
    desired: Desired,
) -> None:
    always = msgspec.structs.replace(
        desired, cookie=msgspec.structs.replace(desired.cookie, secure=Secure.ALWAYS)
    )
    assert reload_reasons(desired, always) == ()
    assert config(desired) == config(always)


def test_every_field_that_is_not_for_servers_or_names_gives_a_reason() -> None:
    covered = {field for changes, reasons in CHANGES if reasons for field in changes}
    assert set(Desired.__struct_fields__) - covered == {
        "version",
        "namespace",
        "name",
        "endpoints",
        "highest_id",
        "ends",
        "overdue",
        "close_rate",
        "fresh",
    }


def test_the_guide_lists_every_reason_of_a_reload_and_no_other() -> None:
    guide = (Path(__file__).parents[2] / "deploy" / "helm" / "README.md").read_text()
    table = guide.partition("## What reloads HAProxy")[2].partition("\n## ")[0]
    listed = [line.split("|")[1].strip(" `") for line in table.splitlines() if line.startswith("| `")]
    assert sorted(listed) == sorted(REASONS)


def config(desired: Desired) -> str:
    return render_config(msgspec.structs.replace(desired, endpoints=()), (), ProxySettings())
