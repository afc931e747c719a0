"""Which proxy leads to an API server: the kubeconfig's, the environment's, or none."""

import re

import pytest

from stickyrouting.cli.failure import Exit, Failure
from stickyrouting.cli.proxies import proxy_of

PROXY = "http://proxy:3128"


def through(server: str, **environ: str) -> bool:
    """Whether the way to a server leads through the proxy of the environment."""
    found = proxy_of({"server": server}, {"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY, **environ})
    assert found in (None, PROXY)
    return found is not None


@pytest.mark.parametrize(
    ("server", "excepted", "is_through"),
    [
        ("https://10.1.2.3:6443", "", True),
        ("https://10.1.2.3:6443", "10.0.0.0/8", False),
        ("https://10.1.2.3:6443", "192.168.0.0/16, 10.1.0.0/16", False),
        ("https://10.1.2.3:6443", "10.2.0.0/16", True),
        ("https://10.1.2.3:6443", "10.1.2.9/8", False),
        ("https://[fd00::7]:6443", "fd00::/8", False),
        ("https://[fd00::7]:6443", "10.0.0.0/8", True),
        ("https://10.1.2.3:6443", "10.1.2.3", False),
        ("https://10.1.2.3:6443", "10.1.2.3:6443", False),
        ("https://10.1.2.3:6443", "10.1.2.3:443", True),
        ("https://10.1.2.3", "10.1.2.3:443", False),
        ("https://[fd00::7]:6443", "fd00:0::7", False),
        ("https://[fd00::7]:6443", "[fd00::7]:6443", False),
        ("https://api.example.com", "example.com", False),
        ("https://API.example.com", "Example.COM", False),
        ("https://example.com", "example.com", False),
        ("https://badexample.com", "example.com", True),
        ("https://api.example.com", ".example.com", False),
        ("https://example.com", ".example.com", True),
        ("https://api.example.com", "*.example.com", False),
        ("https://api.example.com", "example.com:443", False),
        ("https://api.example.com:6443", "example.com:443", True),
        ("https://api.example.com", "*", False),
        ("https://api.example.com", "10.0.0.0/8", True),
        ("https://api.example.com", "10.0.0.0/99,,/ , x", True),
        ("https://localhost:6443", "", False),
        ("https://127.8.9.1:6443", "", False),
        ("https://[::1]:6443", "", False),
        ("http://10.1.2.3", "", True),
        ("http://10.1.2.3", "10.1.2.3:80", False),
    ],
)
def test_no_proxy_excepts_networks_addresses_names_and_ports(
    server: str, excepted: str, is_through: bool
) -> None:
    assert through(server, NO_PROXY=excepted) is is_through
    assert through(server, no_proxy=excepted) is is_through


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "ann:word@proxy"}, "http://ann:word@proxy"),
        ({"HTTPS_PROXY": "https://proxy"}, "https://proxy"),
        ({"HTTPS_PROXY": "http://one", "https_proxy": "http://two"}, "http://one"),
        ({"HTTP_PROXY": "http://one", "ALL_PROXY": "http://two"}, None),
        ({"HTTPS_PROXY": ""}, None),
    ],
)
def test_the_environment_names_a_proxy_with_a_scheme_or_without(
    environ: dict[str, str], proxy: str | None
) -> None:
    assert proxy_of({"server": "https://10.1.2.3"}, environ) == proxy


def test_what_the_kubeconfig_says_comes_first_and_excepts_nothing() -> None:
    cluster = {"server": "https://10.1.2.3", "proxy-url": "http://own:1"}
    assert proxy_of(cluster, {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}) == "http://own:1"


@pytest.mark.parametrize(
    ("cluster", "environ", "message"),
    [
        ({"proxy-url": "own:1"}, {}, "proxy-url of the kubeconfig begins with no scheme: write http://"),
        (
            {"proxy-url": "socks5://ann:secret@own:1"},
            {},
            "proxy-url of the kubeconfig: socks5://own is not supported",
        ),
        (
            {},
            {"HTTPS_PROXY": "socks5://ann:secret@own:1"},
            "HTTPS_PROXY: socks5://own is not supported: use an HTTP",
        ),
        ({}, {"HTTPS_PROXY": "http://ann:secret@own:x"}, "HTTPS_PROXY is no URL: write http://NAME:PORT"),
        ({}, {"HTTPS_PROXY": "http://"}, "HTTPS_PROXY: http:// is not supported"),
    ],
)
def test_a_proxy_that_can_not_be_used_is_named_without_its_password(
    cluster: dict[str, str], environ: dict[str, str], message: str
) -> None:
    with pytest.raises(Failure, match=re.escape(message)) as failure:
        proxy_of({"server": "https://10.1.2.3", **cluster}, environ)
    assert (failure.value.code, "secret" in failure.value.message) == (Exit.NO_CLUSTER, False)
