"""Births go to the best state there is; a reload has a reason exactly when the configuration differs."""

import msgspec
import pytest

from stickyrouting.model.desired import Address, Desired, Endpoint, EndpointState, HealthCheck, Timeouts
from stickyrouting.planner.placement import weights
from stickyrouting.planner.reload import reload_reasons
from stickyrouting.render.haproxy_cfg import render_config
from stickyrouting.render.haproxy_settings import ProxySettings

READY, UNREADY, DRAINING = EndpointState.READY, EndpointState.UNREADY, EndpointState.DRAINING
DESIRED = Desired(1, "demo", "shop", "STICKY", 1800, 43200, 60)


def endpoints(*states: EndpointState) -> tuple[Endpoint, ...]:
    return tuple(
        Endpoint(id_, f"shop-{id_}", "198.18.0.1", 8080, state) for id_, state in enumerate(states, 1)
    )


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((), ()),
        ((READY, READY), ((1, 100), (2, 100))),
        ((DRAINING, READY, UNREADY), ((1, 0), (2, 100), (3, 0))),
        ((DRAINING, UNREADY, UNREADY), ((1, 0), (2, 100), (3, 100))),
        ((DRAINING, DRAINING), ((1, 100), (2, 100))),
    ],
)
def test_new_sessions_go_to_ready_endpoints_else_to_unready_else_to_draining_ones(
    states: tuple[EndpointState, ...], expected: tuple[tuple[int, int], ...]
) -> None:
    assert weights(endpoints(*states)) == expected


CHANGES: list[tuple[dict[str, object], tuple[str, ...]]] = [
    ({}, ()),
    ({"version": 2}, ()),
    ({"highest_id": 9}, ()),
    ({"endpoints": endpoints(READY, DRAINING)}, ()),
    ({"cookie_name": "OTHER"}, ("cookie name",)),
    ({"idle_seconds": 900}, ("idle time",)),
    ({"absolute_seconds": 900}, ("absolute time",)),
    ({"termination_grace_seconds": 3600}, ()),
    ({"termination_grace_seconds": 24 * 3600 + 29 * 60}, ()),
    ({"termination_grace_seconds": 24 * 3600 + 29 * 60 + 1}, ("termination grace period",)),
    ({"fallback": Address("198.18.1.1", 80)}, ("fallback",)),
    ({"timeouts": Timeouts(tunnel=1)}, ("timeouts",)),
    ({"health_check": HealthCheck(path="/healthz")}, ("health check",)),
    ({"idle_seconds": 900, "timeouts": Timeouts(queue=1)}, ("idle time", "timeouts")),
]


@pytest.mark.parametrize(("changes", "reasons"), CHANGES)
def test_a_reload_has_a_reason_exactly_when_the_configuration_differs_beyond_its_servers(
    changes: dict[str, object], reasons: tuple[str, ...]
) -> None:
    new = msgspec.structs.replace(DESIRED, **changes)
    assert reload_reasons(DESIRED, new) == reasons
    assert (config(DESIRED) != config(new)) is bool(reasons)


def test_every_field_that_is_not_for_servers_or_names_gives_a_reason() -> None:
    covered = {field for changes, reasons in CHANGES if reasons for field in changes}
    assert set(Desired.__struct_fields__) - covered == {
        "version",
        "namespace",
        "name",
        "endpoints",
        "highest_id",
    }


def config(desired: Desired) -> str:
    return render_config(msgspec.structs.replace(desired, endpoints=()), (), ProxySettings())
