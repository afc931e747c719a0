"""What a person reads in a minute: what is wrong first, then sessions, pods, proxies; and JSON for programs."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from stickyrouting.cli import showing


def ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


READY = condition("Ready", "True", "Ready", "sessions are kept")


def sticky(name: str = "shop", generation: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "demo",
            "name": name,
            "generation": generation,
            "creationTimestamp": ago(days=3, hours=1),
        },
        "spec": {"service": {"name": "shop"}},
        "status": status,
    }


def good(name: str = "shop") -> dict[str, Any]:
    return sticky(
        name,
        observedGeneration=1,
        cookieName="STICKY-1a2b3c4d",
        conditions=[condition("Accepted", "True", "Accepted", "all well"), READY],
        sessions=12345,
        imbalance="7%",
        readyEndpoints=1,
        drainingEndpoints=1,
        proxies={"desired": 2, "ready": 2, "programmed": 2},
        endpoints=[
            {"name": "shop-a", "id": 5, "state": "Draining", "sessions": 345, "connections": 3},
            {"name": "shop-b", "id": 6, "state": "Ready", "sessions": 12000, "connections": 0},
        ],
        keys={"epoch": 2, "phase": "Settled", "began": ago(days=5, hours=1)},
        ends=[
            {"session": "0123456789abcdef", "state": "Ended", "askedAt": ago(minutes=5)},
            {
                "session": "fedcba9876543210",
                "state": "Unanswered",
                "askedAt": ago(minutes=9),
                "message": "ask again",
            },
        ],
    )


def text_of(body: dict[str, Any]) -> str:
    return click.unstyle(showing.one(body, "text"))


def test_one_that_is_well() -> None:
    assert (
        text_of(good())
        == """\
shop in namespace demo: Service shop, cookie STICKY-1a2b3c4d
  Ready     yes: sessions are kept
  Sessions  12,345, imbalance 7%
  Pods      1 take new sessions, 1 draining
  Proxies   2/2 ready
  Key       epoch 2 for 5d, settled

POD      STATE      SESSIONS   IN FLIGHT
shop-a   Draining   345        3
shop-b   Ready      12,000     0

ENDED ON REQUEST   STATE        ASKED
0123456789abcdef   Ended        5m ago
fedcba9876543210   Unanswered   9m ago   ask again"""
    )


def test_one_that_is_not_says_why_and_says_it_once() -> None:
    why = (
        "1 of 2 proxies serve the current endpoint list; shop-sticky-5d4f8c9b7-x2x9q does not answer: refused"
    )
    body = sticky(
        generation=3,
        observedGeneration=2,
        conditions=[
            condition("Programmed", "False", "ProxiesBehind", why),
            condition("Ready", "False", "NotProgrammed", why),
            condition("Counted", "False", "Stale", "sessions are not counted"),
        ],
        readyEndpoints=2,
        proxies={"desired": 2, "ready": 1},
    )
    assert (
        text_of(body)
        == """\
shop in namespace demo: Service shop
  Ready     no, NotProgrammed: 1 of 2 proxies serve the current endpoint list;
            shop-sticky-5d4f8c9b7-x2x9q does not answer: refused
  Behind    the operator has not seen the newest spec yet
  Counted   Stale: sessions are not counted
  Sessions  not counted now
  Pods      2 take new sessions, 0 draining
  Proxies   1/2 ready"""
    )


def test_one_that_no_operator_looks_after_says_what_to_check() -> None:
    assert text_of(sticky()).splitlines()[1:] == [
        "  Ready     no word from the operator yet: does it run, and does it watch this namespace?"
    ]


def test_draining_pods_are_shown_with_why_since_when_and_how_long_they_may_yet() -> None:
    body = good()
    drains = condition("Draining", "True", "Draining", "1 pod drains, 345 sessions left")
    first, *others = body["status"]["endpoints"]
    soon = (datetime.now(UTC) + timedelta(minutes=20, seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    since = {"reason": "ScaledDown", "drainingSince": ago(minutes=9), "deadline": soon}
    body["status"]["endpoints"] = [{**first, **since}, *others]
    body["status"]["conditions"].append(drains)
    lines = text_of(body).splitlines()
    assert "  Draining  Draining: 1 pod drains, 345 sessions left" in lines
    start = lines.index("POD      STATE      SESSIONS   IN FLIGHT   REASON       SINCE    LEFT")
    assert lines[start + 1] == "shop-a   Draining   345        3           ScaledDown   9m ago   20m"
    assert lines[start + 2] == "shop-b   Ready      12,000     0"


def test_that_nothing_drains_is_no_trouble() -> None:
    body = good()
    body["status"]["conditions"].append(condition("Draining", "False", "NotDraining", "no pod drains"))
    assert "no pod drains" not in text_of(body)


def test_a_list_has_a_line_for_each() -> None:
    broken = sticky("bank", conditions=[condition("Ready", "False", "NoEndpoints", "none")])
    text = click.unstyle(showing.many([good(), broken, sticky("new")], "text"))
    assert (
        text
        == """\
NAMESPACE   NAME   READY             SESSIONS   PODS   DRAINING   IMBALANCE   PROXIES   AGE
demo        shop   yes               12,345     1      1          7%          2/2       3d
demo        bank   no, NoEndpoints   -          -      -          -           -/-       3d
demo        new    not known yet     -          -      -          -           -/-       3d"""
    )


def test_columns_line_up_with_colors_too() -> None:
    head, row = showing.many([good()], "text").splitlines()
    assert "\x1b[32myes\x1b[0m" in row
    assert click.unstyle(row).index("12,345") == head.index("SESSIONS")


def test_json_is_the_status_as_the_api_has_it() -> None:
    found = json.loads(showing.one(good(), "json"))
    assert (found["namespace"], found["name"], found["service"]) == ("demo", "shop", {"name": "shop"})
    assert found["status"]["sessions"] == 12345
    assert [one["name"] for one in json.loads(showing.many([good(), good("bank")], "json"))] == [
        "shop",
        "bank",
    ]
    assert json.loads(showing.many([], "json")) == []


def test_ages_are_written_as_kubectl_writes_them() -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    since = {"2026-11-21T11:59:01Z": "59s", "2026-11-21T11:58:00Z": "2m", "2026-11-20T11:00:00Z": "25h"}
    assert {moment: showing.age(moment, now) for moment in since} == since
    assert (showing.age("2026-11-19T11:00:00Z", now), showing.age(None, now)) == ("2d", "-")
