"""Configurations and arithmetic of the comparison of proxies."""

import json

from bench.ratio import Server, median_ratio, pair_ratios, render_native, render_plain
from bench.rivals import NGINX_HASH, render_envoy, render_nginx

SERVERS = [Server(1, "127.0.7.1", 9700), Server(2, "127.0.7.2", 9700)]


def test_the_ratio_is_the_median_pair_by_pair() -> None:
    assert pair_ratios([90.0, 40.0, 95.0], [100.0, 50.0, 100.0]) == [0.9, 0.8, 0.95]
    assert median_ratio([90.0, 40.0, 95.0], [100.0, 50.0, 100.0]) == 0.9


def test_the_native_configuration_names_each_server_in_its_cookie() -> None:
    assert render_native(18101, SERVERS).endswith(
        "backend app\n  balance roundrobin\n  cookie SRV insert indirect nocache\n"
        "  server s1 127.0.7.1:9700 check cookie s1\n  server s2 127.0.7.2:9700 check cookie s2\n"
    )


def test_the_plain_configuration_differs_from_the_native_one_in_the_cookie_alone() -> None:
    native = render_native(18101, SERVERS)
    for word in ("  cookie SRV insert indirect nocache\n", " cookie s1", " cookie s2"):
        native = native.replace(word, "")
    assert render_plain(18101, SERVERS) == native


def test_nginx_has_one_process_and_keeps_connections_on_both_sides() -> None:
    text = render_nginx("/f", 18102, SERVERS, NGINX_HASH)
    assert "daemon off;\nmaster_process off;\n" in text
    assert (
        "  upstream app {\n    hash $cookie_STICKY consistent;\n    server 127.0.7.1:9700;\n"
        "    server 127.0.7.2:9700;\n    keepalive 256;\n" in text
    )
    assert 'proxy_http_version 1.1;\n      proxy_set_header Connection "";\n' in text


def test_envoy_keeps_sessions_by_a_cookie_and_knows_all_servers() -> None:
    config = json.loads(render_envoy(18103, SERVERS))["static_resources"]
    (chain,) = config["listeners"][0]["filter_chains"]
    session, router = chain["filters"][0]["typed_config"]["http_filters"]
    assert session["typed_config"]["session_state"]["typed_config"]["cookie"]["name"] == "STICKY"
    assert router["name"] == "envoy.filters.http.router"
    (group,) = config["clusters"][0]["load_assignment"]["endpoints"]
    places = [each["endpoint"]["address"]["socket_address"] for each in group["lb_endpoints"]]
    assert [(place["address"], place["port_value"]) for place in places] == [
        ("127.0.7.1", 9700),
        ("127.0.7.2", 9700),
    ]
