"""Other proxies in the same place: their configurations. Pure."""

import json
from collections.abc import Sequence
from typing import Any

from bench.ratio import Server

API = "type.googleapis.com/envoy.extensions"
NGINX_STICKY = "sticky cookie STICKY path=/"
"""nginx's own session cookie: part of the open version since late 1.29, before that of the commercial one."""
NGINX_HASH = "hash $cookie_STICKY consistent"
"""What older versions have: no session table, so that a change of the servers moves sessions."""


def render_nginx(folder: str, port: int, servers: Sequence[Server], choice: str) -> str:
    """Return nginx.conf: one process, kept-alive connections on both sides, no log."""
    listed = "".join(f"    server {server.address}:{server.port};\n" for server in servers)
    places = "".join(
        f"  {kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr error;\n"
        f"events {{ worker_connections 4096; }}\nhttp {{\n  access_log off;\n{places}"
        f"  keepalive_requests 100000000;\n  upstream app {{\n    {choice};\n{listed}"
        f"    keepalive 256;\n    keepalive_requests 100000000;\n  }}\n"
        f"  server {{\n    listen 127.0.0.1:{port};\n    location / {{\n      proxy_pass http://app;\n"
        '      proxy_http_version 1.1;\n      proxy_set_header Connection "";\n    }\n  }\n}\n'
    )


def render_envoy(port: int, servers: Sequence[Server]) -> str:
    """Return Envoy's bootstrap: its stateful session filter with a cookie of its own (an address, unsigned)."""
    return json.dumps(
        {
            "static_resources": {
                "listeners": [{"address": _address("127.0.0.1", port), "filter_chains": [_chain()]}],
                "clusters": [_cluster(servers)],
            }
        },
        indent=1,
    )


def _chain() -> dict[str, Any]:
    manager = {
        "@type": f"{API}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "fe",
        "generate_request_id": False,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "app",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}],
                }
            ]
        },
        "http_filters": [_session(), _filter("router", f"{API}.filters.http.router.v3.Router")],
    }
    return {"filters": [{"name": "http", "typed_config": manager}]}


def _session() -> dict[str, Any]:
    state = {
        "name": "envoy.http.stateful_session.cookie",
        "typed_config": {
            "@type": f"{API}.http.stateful_session.cookie.v3.CookieBasedSessionState",
            "cookie": {"name": "STICKY", "path": "/", "ttl": "1800s"},
        },
    }
    found = _filter("stateful_session", f"{API}.filters.http.stateful_session.v3.StatefulSession")
    found["typed_config"]["session_state"] = state
    return found


def _filter(name: str, kind: str) -> dict[str, Any]:
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": kind}}


def _cluster(servers: Sequence[Server]) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": _address(server.address, server.port)}} for server in servers]
    return {
        "name": "app",
        "connect_timeout": "2s",
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": endpoints}]},
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
