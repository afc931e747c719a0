"""The next desired state: its content, and the law of its version."""

from typing import Any

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
    Partitioned,
    Placement,
    RejectCookie,
    RejectStatus,
    Retry,
    SameSite,
    Secure,
    Timeouts,
    decode_desired,
    encode_desired,
)
from stickyrouting.model.plan import Target
from stickyrouting.model.report import HaproxyState
from stickyrouting.planner.desired import next_desired, without
from stickyrouting.planner.earlier import HEARD_SECONDS
from unit.builders import NOW_MS, make_desired, make_observed, make_pod, make_proxy, make_spec

TARGET = Target(
    port=80, port_name="http", fallback_ip="198.18.192.9", ip_families=("IPv4",), ip_family_policy=None
)
A = Endpoint(1, "a", "198.18.81.1", 8080, EndpointState.READY)
B = Endpoint(2, "b", "198.18.81.2", 8080, EndpointState.READY)


def desired_after(last: Desired | None, *endpoints: Endpoint, now_ms: int = NOW_MS, **spec: Any) -> Desired:
    return next_desired(make_spec(**spec), make_observed(desired=last), TARGET, endpoints, now_ms)


def test_a_plain_spec_gives_the_constants() -> None:
    assert desired_after(None, A) == Desired(
        version=NOW_MS,
        namespace="demo",
        name="shop",
        cookie_name="STICKY-4a8aa0d0",
        idle_seconds=1800,
        absolute_seconds=43200,
        termination_grace_seconds=3600,
        fallback=Address("198.18.192.9", 80),
        timeouts=Timeouts(connect=2_000, client=60_000, server=60_000, tunnel=3_600_000, queue=5_000),
        health_check=HealthCheck(path=None, interval_ms=1_000, fall=3, rise=1),
        endpoints=(A,),
        highest_id=1,
        fresh=True,
    )


STARTING, READY = (
    msgspec.structs.replace(make_proxy("p", version=1, state=state), pod=make_pod("p", ready=ready))
    for state, ready in ((HaproxyState.STARTING, "False"), (HaproxyState.READY, "False"))
)
FRESH = make_desired(fresh=True)


@pytest.mark.parametrize(
    ("seen", "fresh"),
    [
        ({"desired": FRESH}, True),
        ({"desired": FRESH, "proxies": (make_proxy("p", ready="False"),)}, True),
        ({"desired": FRESH, "proxies": (STARTING,)}, True),
        ({"desired": FRESH, "proxies": (STARTING, READY)}, False),
        ({"desired": FRESH, "proxies": (make_proxy("p"),)}, False),
        ({"desired": FRESH, "vanished": (READY,)}, False),
        ({"desired": make_desired()}, False),
        # A list that was lost is no first one.
        ({"held": (make_pod("a", record="1/0"),)}, False),
        ({"book": {"198.18.81.1:80": 1}}, False),
        ({"proxies": (STARTING,)}, False),
    ],
)
def test_the_list_is_the_first_of_all_until_a_proxy_can_have_served(
    seen: dict[str, Any], fresh: bool
) -> None:
    assert next_desired(make_spec(), make_observed(**seen), TARGET, (A,), NOW_MS).fresh is fresh


def test_an_older_list_says_that_proxies_have_served() -> None:
    old = encode_desired(FRESH).replace(b',"fresh":true', b"")
    assert decode_desired(old).fresh is False


def test_what_the_spec_says_is_handed_on_in_milliseconds() -> None:
    proxy = {
        "terminationGracePeriod": "90s",
        "timeouts": {"connect": "1s", "client": "2s", "server": "3s", "tunnel": "4h", "queue": "500ms"},
        "healthCheck": {"path": "/up", "interval": "250ms", "fall": 5, "rise": 2},
    }
    found = desired_after(None, proxy=proxy, affinity={"type": "Cookie", "cookie": {"name": "SHOP"}})
    assert (found.cookie_name, found.termination_grace_seconds) == ("SHOP", 90)
    assert found.timeouts == Timeouts(1_000, 2_000, 3_000, 14_400_000, 500)
    assert found.health_check == HealthCheck("/up", 250, 5, 2)


def test_placement_is_handed_on_as_the_spec_says() -> None:
    placement = {"algorithm": "RoundRobin", "slowStart": "1m30s"}
    found = desired_after(None, placement=placement, session={"maxPerPod": 500, "onFull": "Overflow"})
    assert found.placement == Placement(Algorithm.ROUND_ROBIN, 90_000, 500, OnFull.OVERFLOW)
    assert desired_after(None).placement == Placement(Algorithm.LEAST_SESSIONS, 0, None, OnFull.QUEUE)


def test_the_life_of_a_session_is_handed_on_as_the_spec_says() -> None:
    session = {
        "idleTimeout": "5m",
        "absoluteTimeout": "1h",
        "onLost": "Reject",
        "rejectStatus": 404,
        "rejectCookie": "Keep",
        "retry": "Idempotent",
        "stateHeader": "X-State",
    }
    found = desired_after(None, session=session)
    assert (found.idle_seconds, found.absolute_seconds, found.state_header) == (300, 3600, "X-State")
    assert found.lost == Lost(OnLost.REJECT, RejectStatus.NOT_FOUND, RejectCookie.KEEP, Retry.IDEMPOTENT)
    plain = desired_after(None)
    assert (plain.lost, plain.state_header) == (Lost(), None)


def test_the_attributes_of_the_cookie_are_handed_on_as_the_spec_says() -> None:
    cookie = {
        "path": "/shop",
        "domain": "example.com",
        "secure": "Always",
        "sameSite": "None",
        "partitioned": "Enabled",
        "lifetimeType": "Permanent",
    }
    found = desired_after(None, affinity={"type": "Cookie", "cookie": cookie})
    assert found.cookie == Cookie(
        "/shop",
        "example.com",
        Secure.ALWAYS,
        SameSite.NONE,
        Partitioned.ENABLED,
        CookieLifetime.PERMANENT,
    )
    assert desired_after(None).cookie == Cookie()


def test_longer_times_leave_behind_what_ended_under_the_shorter_ones() -> None:
    last = desired_after(None, A)
    longer = desired_after(last, A, session={"idleTimeout": "1h", "absoluteTimeout": "24h"})
    assert longer.earlier == Earlier(1800, NOW_MS // 1000 + HEARD_SECONDS, NOW_MS // 1000 - 43_199)
    assert last.earlier == Earlier()


def test_a_changed_weight_is_a_change_and_a_moment_that_nobody_asked_for_is_none() -> None:
    last = desired_after(None, A)
    assert desired_after(last, msgspec.structs.replace(A, weight=50)).version == NOW_MS + 1
    assert desired_after(last, msgspec.structs.replace(A, ready_since_ms=NOW_MS)) is last


def test_the_moment_of_readiness_is_handed_on_while_slow_start_is_on() -> None:
    since = msgspec.structs.replace(A, ready_since_ms=NOW_MS)
    assert desired_after(None, since, placement={"slowStart": "30s"}).endpoints == (since,)


def test_a_list_of_an_older_operator_is_not_written_anew_for_its_new_fields() -> None:
    last = desired_after(None, A)
    old = msgspec.json.decode(encode_desired(last))
    del (
        old["placement"],
        old["cookie"],
        old["lost"],
        old["stateHeader"],
        old["earlier"],
        old["endpoints"][0]["weight"],
        old["endpoints"][0]["readySinceMs"],
    )
    read = decode_desired(msgspec.json.encode(old))
    assert desired_after(read, A, now_ms=NOW_MS + 5) is read


def test_a_headless_service_gives_no_fallback() -> None:
    headless = msgspec.structs.replace(TARGET, fallback_ip="")
    assert next_desired(make_spec(), make_observed(), headless, (), NOW_MS).fallback is None


def test_unchanged_content_is_the_last_one_itself() -> None:
    last = desired_after(None, A)
    assert desired_after(last, A, now_ms=NOW_MS + 60_000) is last


def test_a_change_gets_the_present_moment_as_its_version() -> None:
    last = desired_after(None, A)
    assert desired_after(last, A, B, now_ms=NOW_MS + 5).version == NOW_MS + 5


def test_two_changes_in_one_millisecond_get_two_versions() -> None:
    last = desired_after(None, A)
    assert desired_after(last, B).version == NOW_MS + 1


def test_a_clock_that_jumped_back_does_not_take_the_version_with_it() -> None:
    last = desired_after(None, A)
    assert desired_after(last, B, now_ms=NOW_MS - 3_600_000).version == NOW_MS + 1


def test_a_deleted_configmap_is_rewritten_above_what_proxies_report() -> None:
    proxies = (make_proxy("p", version=NOW_MS + 9_000), make_proxy("q"))
    found = next_desired(make_spec(), make_observed(proxies=proxies), TARGET, (A,), NOW_MS)
    assert found.version == NOW_MS + 9_001


def test_pods_without_their_id_are_left_out() -> None:
    last = desired_after(None, A)
    assert (
        without(desired_after(last, B, now_ms=NOW_MS + 5), ("b",), make_observed(desired=last)).endpoints
        == ()
    )


def test_nothing_new_is_written_while_the_only_news_is_a_pod_without_its_id() -> None:
    last = desired_after(None, A)
    observed = make_observed(desired=last)
    assert without(desired_after(last, A, B, now_ms=NOW_MS + 5), ("b",), observed) is last


def test_without_a_last_one_the_version_stands() -> None:
    found = without(make_desired(version=7, endpoints=(A, B), highest_id=2), ("b",), make_observed())
    assert found == make_desired(version=7, endpoints=(A,), highest_id=1)


def test_the_highest_id_that_was_ever_listed_is_remembered_in_the_list() -> None:
    both = desired_after(None, A, B)
    assert both.highest_id == 2
    assert desired_after(desired_after(both, A)).highest_id == 2


@pytest.mark.parametrize(
    "last", [None, make_desired(highest_id=0)], ids=["deleted by hand", "of an older operator"]
)
def test_where_no_list_tells_the_highest_id_it_is_that_of_the_namespace(last: Desired | None) -> None:
    observed = make_observed(desired=last, highest_id=41)
    found = next_desired(make_spec(), observed, TARGET, (A,), NOW_MS)
    assert (found.highest_id, found.endpoints) == (41, (A,))
    later = next_desired(make_spec(), make_observed(desired=found, highest_id=99), TARGET, (A,), NOW_MS)
    assert later is found


def test_the_highest_id_of_the_namespace_stays_in_force_where_no_list_tells_one() -> None:
    observed = make_observed(highest_id=12)
    wanted = make_desired(version=7, endpoints=(A,), highest_id=12)
    assert without(wanted, (), observed).highest_id == 12
