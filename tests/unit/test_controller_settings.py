"""The operator's settings, and what kopf is told."""

import pytest

from stickyrouting.controller.settings import InvalidSettings, Settings, kopf_settings, read_settings
from stickyrouting.model.protection import EvictionMode

ENVIRONMENT = {
    "POD_NAME": "sticky-0",
    "POD_NAMESPACE": "sticky-system",
    "STICKY_PROXY_IMAGE": "proxy:1",
    "STICKY_RELEASE": "sticky",
}


def test_the_environment_of_the_chart_is_enough() -> None:
    found = read_settings(ENVIRONMENT)
    assert found == Settings("sticky-0", "sticky-system", "proxy:1", "sticky", (), 8080, "INFO")
    assert (found.lease_name, found.authority_name) == ("sticky", "sticky-ca")


def test_namespaces_are_a_comma_list_each_once() -> None:
    assert read_settings({**ENVIRONMENT, "STICKY_NAMESPACES": " b, a,,b "}).namespaces == ("a", "b")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("POD_NAME", "the pod's name"),
        ("POD_NAMESPACE", "the pod's namespace"),
        ("STICKY_PROXY_IMAGE", "the image of the proxies"),
        ("STICKY_RELEASE", "the name of the installation"),
    ],
)
def test_a_variable_that_is_missing_or_empty_is_named(name: str, what: str) -> None:
    without = {key: value for key, value in ENVIRONMENT.items() if key != name}
    for environment in (without, {**without, name: ""}):
        with pytest.raises(InvalidSettings) as raised:
            read_settings(environment)
        assert (
            str(raised.value) == f"environment variable {name} is not set; set it to {what} (the chart does)"
        )


@pytest.mark.parametrize("port", ["http", "-1", "65536", ""])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(InvalidSettings) as raised:
        read_settings({**ENVIRONMENT, "STICKY_PORT": port})
    assert str(raised.value) == f"environment variable STICKY_PORT is {port!r}; set it to a port number"


def test_kopf_only_watches() -> None:
    found = kopf_settings()
    assert (found.posting.enabled, found.scanning.disabled, found.peering.standalone) == (False, True, True)
    assert (found.watching.chunk_size, found.watching.inactivity_timeout) == (500, 70)


def test_a_log_level_that_does_not_exist_is_refused() -> None:
    assert read_settings({**ENVIRONMENT, "STICKY_LOG_LEVEL": "debug"}).log_level == "DEBUG"
    with pytest.raises(InvalidSettings) as raised:
        read_settings({**ENVIRONMENT, "STICKY_LOG_LEVEL": "loud"})
    assert str(raised.value) == (
        "environment variable STICKY_LOG_LEVEL is 'LOUD'; set it to one of DEBUG, INFO, WARNING, ERROR"
    )


def test_what_keeps_pods_from_being_evicted_is_one_of_three_and_nothing_unless_told() -> None:
    assert read_settings(ENVIRONMENT).evictions is EvictionMode.OFF
    found = read_settings({**ENVIRONMENT, "STICKY_EVICTIONS": "Webhook"})
    assert found.evictions is EvictionMode.WEBHOOK
    assert (found.webhook_service, found.webhook_name) == (
        "sticky-evictions",
        "sticky-evictions-sticky-system",
    )
    with pytest.raises(InvalidSettings) as raised:
        read_settings({**ENVIRONMENT, "STICKY_EVICTIONS": "webhook"})
    assert str(raised.value) == (
        "environment variable STICKY_EVICTIONS is 'webhook'; set it to one of Webhook, Budget, Off"
    )


def test_a_port_of_the_webhook_that_is_none_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidSettings) as raised:
        read_settings({**ENVIRONMENT, "STICKY_WEBHOOK_PORT": "tls"})
    assert str(raised.value) == "environment variable STICKY_WEBHOOK_PORT is 'tls'; set it to a port number"
