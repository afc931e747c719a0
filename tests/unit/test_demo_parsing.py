"""What the demo reads: pods, /proc, the audit log, settings, the examples."""

import json

import pytest

from demo.board import Board, make_line
from demo.cost import Memory, parse_cpu, parse_memory, shares
from demo.install import make_shop, make_values
from demo.pods import Health, Pod, PodTimes, parse_pod
from demo.settings import EXAMPLES, Settings, SettingsError, parse_settings
from demo.writes import Write, beside_status, parse_writes

MANIFEST = {
    "metadata": {"name": "shop-sticky-1"},
    "spec": {
        "nodeName": "n1",
        "containers": [{"name": "haproxy"}],
        "initContainers": [{"name": "agent", "restartPolicy": "Always"}, {"name": "once"}],
    },
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}


def test_a_pod_is_parsed_with_its_native_sidecars() -> None:
    assert parse_pod(MANIFEST) == Pod("shop-sticky-1", "n1", Health.READY, ("haproxy", "agent"))


def test_a_pod_that_is_being_deleted_is_ending_even_if_ready() -> None:
    metadata = {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert parse_pod({**MANIFEST, "metadata": metadata}).health is Health.ENDING


def test_a_pod_without_conditions_is_unready() -> None:
    assert parse_pod({"metadata": {"name": "p"}, "spec": {"containers": []}}).health is Health.UNREADY


def test_pod_times_keep_the_first_ready_and_the_first_going() -> None:
    times = PodTimes()
    ending = "a|2026-01-01T00:00:00Z|ScaledDown"
    lines = ("a|||False", "a|||True", "a|||True", "a||ScaledDown|True", f"{ending}|True", f"{ending}|False")
    for now, line in enumerate(lines):
        times.saw(line + "\n", float(now))
    assert (times.ready, times.going, times.ending) == ({"a": 1.0}, {"a": 3.0}, {"a": 4.0})


def test_a_pod_that_drains_is_no_longer_ready() -> None:
    metadata = {"name": "p", "annotations": {"stickyrouting.io/draining": "ScaledDown"}}
    assert parse_pod({**MANIFEST, "metadata": metadata}).health is Health.DRAINING


def test_memory_is_read_in_mib() -> None:
    status = "Name:\tpython3\nVmPeak:\t  200000 kB\nVmHWM:\t   51200 kB\nVmRSS:\t   40960 kB\nThreads:\t1\n"
    assert parse_memory("p", status) == Memory("p", now=40.0, peak=50.0)


def test_cpu_is_user_and_system_time_whatever_the_program_is_called() -> None:
    fields = ["1", "(a) b)", "S", *["0"] * 10, "250", "150", *["0"] * 30]
    assert parse_cpu(" ".join(fields)) == 4.0


def test_cpu_shares_leave_out_pods_that_came_or_went() -> None:
    assert shares({"a": 1.0, "b": 1.0}, {"a": 1.05, "c": 9.0}, seconds=10.0) == {"a": 0.5}


def audit(
    verb: str, resource: str, user: str = "system:serviceaccount:sticky-system:op", **about: str
) -> str:
    return json.dumps(
        {
            "stage": "ResponseComplete",
            "verb": verb,
            "user": {"username": user},
            "objectRef": {"resource": resource, "name": "x", **about},
            "requestReceivedTimestamp": "2026-01-01T00:00:10.500000Z",
        }
    )


def test_writes_of_one_account_are_read_from_the_audit_log() -> None:
    lines = [
        audit("patch", "pods"),
        audit("patch", "stickyservices", subresource="status"),
        audit("get", "pods"),
        audit("patch", "pods", user="system:node:n1"),
        '{"stage":"ResponseComplete","user":"system:serviceaccount:sticky-system:op", cut off',
    ]
    writes = parse_writes(lines, "system:serviceaccount:sticky-system:", since=0.0)
    assert writes == [
        Write(1767225610.5, "patch", "pods", "x"),
        Write(1767225610.5, "patch", "stickyservices/status", "x"),
    ]
    assert [write.resource for write in beside_status(writes)] == ["pods"]


def test_writes_before_the_window_are_left_out() -> None:
    assert parse_writes([audit("patch", "pods")], "system:serviceaccount:", since=1767225611.0) == []


def test_events_and_leases_are_no_endpoint_change() -> None:
    writes = [Write(0.0, "create", "events", "x"), Write(0.0, "update", "leases", "x")]
    assert beside_status(writes) == []


def test_settings_come_from_the_environment() -> None:
    environ = {"DEMO_RATE": "250.5", "DEMO_LEAST": "100", "DEMO_SESSIONS": ""}
    assert parse_settings(environ) == Settings(rate=250.5, least=100)


@pytest.mark.parametrize("text", ["fast", "0", "-1", "nan"])
def test_a_setting_that_is_no_number_above_zero_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="DEMO_RATE"):
        parse_settings({"DEMO_RATE": text})


def test_the_example_shop_gets_the_image_and_the_namespace() -> None:
    manifests = make_shop((EXAMPLES / "shop.yaml").read_text(encoding="utf-8"), "shop:1")
    assert [(m["kind"], m["metadata"]["namespace"]) for m in manifests] == [
        ("Deployment", "demo"),
        ("Service", "demo"),
    ]
    assert manifests[0]["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:1"


def test_the_example_stickyservice_points_at_the_example_shop() -> None:
    shop = make_shop((EXAMPLES / "shop.yaml").read_text(encoding="utf-8"), "shop:1")[1]
    sticky = make_shop((EXAMPLES / "stickyservice.yaml").read_text(encoding="utf-8"), "")[0]
    assert sticky["spec"]["service"] == {"name": "shop", "port": 8080}
    assert (shop["metadata"]["name"], shop["spec"]["ports"][0]["port"]) == ("shop", 8080)


def test_values_split_a_reference_at_its_tag() -> None:
    images = {"operator": "host:5000/a/operator:t1", "proxy": "host:5000/a/proxy:t2", "apps": "x:y"}
    assert make_values(images) == {
        "image": {
            "operator": {"repository": "host:5000/a/operator", "tag": "t1"},
            "proxy": {"repository": "host:5000/a/proxy", "tag": "t2"},
        }
    }


def test_a_board_without_traffic_is_a_line_of_pods() -> None:
    board = Board(shops=[parse_pod(MANIFEST)], proxies=[], operators=[])
    assert make_line(board) == "shop 1/1, proxies 0/0, operators 0/0 ready"
