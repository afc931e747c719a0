"""Which proxy leads to an API server: what the kubeconfig says, else the environment, as kubectl reads both.

Source: package golang.org/x/net/http/httpproxy, by whose rules kubectl's client goes: capital names come first, a proxy
without a scheme speaks HTTP, this machine itself is never asked through one.
"""

import ipaddress
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from stickyrouting.cli.failure import Exit, Failure

_PORTS = {"http": 80, "https": 443}


class _Host(NamedTuple):
    """An API server's address; ``ip`` is None if it has a name."""

    name: str
    port: int
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address | None


def proxy_of(cluster: Mapping[str, Any], environ: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy to a kubeconfig's cluster, None if there is none; raises Failure."""
    if told := cluster.get("proxy-url"):
        return _usable(str(told), "proxy-url of the kubeconfig")
    server = urlsplit(str(cluster.get("server")))
    name = f"{server.scheme.upper()}_PROXY"
    found = environ.get(name) or environ.get(name.lower())
    if not found or server.scheme not in _PORTS or _is_direct(_host(server), environ):
        return None
    return _usable(found if "://" in found else f"http://{found}", name)


def _usable(proxy: str, place: str) -> str:
    """Return a proxy that can be used; what is said of one that can't be leaves its password out."""
    parts = _split(proxy, place)
    if not parts.scheme or "://" not in proxy:
        raise Failure(
            Exit.NO_CLUSTER, f"{place} begins with no scheme: write http:// before the proxy's name"
        )
    if parts.scheme not in _PORTS or not parts.hostname:
        what = f"{parts.scheme}://{parts.hostname or ''}"
        raise Failure(Exit.NO_CLUSTER, f"{place}: {what} is not supported: use an HTTP proxy")
    return proxy


def _split(proxy: str, place: str) -> SplitResult:
    try:
        parts = urlsplit(proxy)
        _ = parts.port
    except ValueError as error:
        raise Failure(Exit.NO_CLUSTER, f"{place} is no URL: write http://NAME:PORT") from error
    return parts


def _host(server: SplitResult) -> _Host:
    name = (server.hostname or "").lower()
    try:
        port = server.port
    except ValueError:
        port = None
    return _Host(name, port or _PORTS[server.scheme], _address(name))


def _is_direct(host: _Host, environ: Mapping[str, str]) -> bool:
    if host.name == "localhost" or (host.ip is not None and host.ip.is_loopback):
        return True
    exceptions = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    return any(_excepts(word.strip().lower(), host) for word in exceptions.split(",") if word.strip())


def _excepts(word: str, host: _Host) -> bool:
    """Tell whether an entry of NO_PROXY means a host: ``*``, an address, a network, a name or all names below it."""
    if word == "*":
        return True
    if "/" in word:
        return _is_within(host, word)
    name, port = _name_and_port(word)
    if port and port != str(host.port):
        return False
    address = _address(name)
    if address is not None:
        return host.ip == address
    suffix = name.removeprefix("*")
    if suffix.startswith("."):
        return host.name.endswith(suffix)
    return host.name == suffix or host.name.endswith(f".{suffix}")


def _is_within(host: _Host, network: str) -> bool:
    try:
        return host.ip is not None and host.ip in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _name_and_port(word: str) -> tuple[str, str]:
    if _address(word) is not None:
        return word, ""
    name, colon, port = word.rpartition(":")
    if not colon or word.endswith("]"):
        name, port = word, ""
    return name.removeprefix("[").removesuffix("]"), port


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
