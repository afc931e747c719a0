"""The agent's environment: what is missing or wrong is named with what to do."""

from pathlib import Path

import pytest

from stickyrouting.agent.settings import Directories, InvalidSettings, Ports, parse_settings

POD = {"POD_NAME": "shop-sticky-1", "POD_NAMESPACE": "demo", "STICKY_NAME": "shop"}


def test_a_pod_needs_no_more_than_its_names() -> None:
    settings = parse_settings(POD)
    assert settings.stop_delay == 10.0
    assert settings.ports == Ports(8080, 8404, 8443, 9404, 10000, 10001, 8444)
    assert settings.directories == Directories(
        Path("/run/sticky"), Path("/config"), Path("/keys"), Path("/state"), Path("/tls")
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"STICKY_NAME": ""}, "environment variable STICKY_NAME is missing: set it in the pod template"),
        (
            {"STOP_DELAY_SECONDS": "soon"},
            "environment variable STOP_DELAY_SECONDS is 'soon': give a number of seconds, 0 or more",
        ),
        (
            {"STOP_DELAY_SECONDS": "nan"},
            "environment variable STOP_DELAY_SECONDS is 'nan': give a number of seconds, 0 or more",
        ),
        (
            {"STICKY_AGENT_PORT": "70000"},
            "environment variable STICKY_AGENT_PORT is '70000': give a TCP port, 1 to 65535",
        ),
        (
            {"STICKY_PEERS": "10.0.0.2:8444,fd00::1:8444"},
            "environment variable STICKY_PEERS: 'fd00::1:8444': put an IPv6 address in brackets;"
            " give a comma list of host:port, IPv6 in brackets",
        ),
    ],
)
def test_a_wrong_variable_is_named(changes: dict[str, str], complaint: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        parse_settings({**POD, **changes})
    assert str(caught.value) == complaint
