"""How long a request waits for the check's word about its pod, and what the configuration says of lost sessions."""

import msgspec
import pytest

from haproxy.harness import make_desired
from stickyrouting.model.desired import HealthCheck, Lost, OnLost, RejectCookie, RejectStatus, Retry, Timeouts
from stickyrouting.render.haproxy_lost import (
    MAX_RETRIES,
    ONLY_IF_DOWN,
    check_options,
    render_faith,
    render_judgement,
    retries_until_down,
)
from stickyrouting.render.haproxy_settings import ProxySettings

REJECT = Lost(OnLost.REJECT)


@pytest.mark.parametrize(
    ("interval_ms", "fall", "connect_ms", "retries"),
    [
        (1_000, 3, 2_000, 5),
        (60_000, 3, 2_000, 7),
        (100, 1, 2_000, 3),
        (500, 3, 500, 8),
        (1_000, 3, 500, 11),
        (1_000, 10, 2_000, 12),
        (1_000, 1_000, 1, MAX_RETRIES),
    ],
)
def test_retries_outlast_the_verdict_of_the_check(
    interval_ms: int, fall: int, connect_ms: int, retries: int
) -> None:
    check, timeouts = HealthCheck(interval_ms=interval_ms, fall=fall), Timeouts(connect=connect_ms)
    assert retries_until_down(make_desired(health_check=check, timeouts=timeouts)) == retries
    assert retries < ONLY_IF_DOWN


def test_a_check_that_runs_seldom_is_hurried_by_a_connection_that_fails() -> None:
    assert check_options(HealthCheck(interval_ms=30_000, fall=2, rise=4)) == (
        "check inter 30000ms fastinter 1000ms fall 2 rise 4 observe layer4 error-limit 1 on-error fastinter"
    )
    assert "inter 200ms fastinter 200ms" in check_options(HealthCheck(interval_ms=200))


@pytest.mark.parametrize("lost", [Lost(), REJECT])
def test_only_what_may_be_repeated_is_sent_again_and_only_if_the_owner_says_so(lost: Lost) -> None:
    safe = render_faith(make_desired(lost=lost))
    assert safe.endswith("  retry-on conn-failure\n")
    idempotent = render_faith(make_desired(lost=msgspec.structs.replace(lost, retry=Retry.IDEMPOTENT)))
    assert idempotent.endswith(
        "  retry-on conn-failure empty-response\n"
        "  http-request disable-l7-retry unless { method GET HEAD OPTIONS TRACE PUT DELETE }\n"
    )


def test_rebind_refuses_nobody_but_asks_who_belongs_to_a_newer_pod_to_come_back() -> None:
    lines = render_judgement(make_desired(), ProxySettings()).splitlines()
    (refusal,) = [line for line in lines if "return" in line]
    assert refusal == (
        "  http-request return status 503 hdr Retry-After 1 hdr Cache-Control no-store hdr Connection close if newer"
    )


@pytest.mark.parametrize(
    ("lost", "who"),
    [
        (Lost(overdue=OnLost.REJECT), "if gone overdue"),
        (Lost(OnLost.REJECT), "if gone !overdue"),
        (Lost(OnLost.REJECT, overdue=OnLost.REJECT), "if gone"),
    ],
)
def test_who_is_refused_is_chosen_apart_for_pods_that_are_lost_and_for_those_that_are_overdue(
    lost: Lost, who: str
) -> None:
    line = render_judgement(make_desired(lost=lost), ProxySettings()).splitlines()[-1]
    assert line.endswith(who)


@pytest.mark.parametrize(
    ("status", "cookie", "said"),
    [
        (RejectStatus.NOT_FOUND, RejectCookie.KEEP, ("status 404", "no-store if gone !overdue")),
        (RejectStatus.CONFLICT, RejectCookie.REMOVE, ("status 409", 'SameSite=Lax" if gone !overdue')),
        (RejectStatus.UNAVAILABLE, RejectCookie.REMOVE, ("status 503", "Retry-After 5 if gone !overdue")),
    ],
)
def test_reject_answers_as_the_owner_says(
    status: RejectStatus, cookie: RejectCookie, said: tuple[str, str]
) -> None:
    desired = make_desired(lost=Lost(OnLost.REJECT, status, cookie))
    line = render_judgement(desired, ProxySettings()).splitlines()[-1]
    for words in said:
        assert words in line
    assert ("Set-Cookie" in line) == (cookie is RejectCookie.REMOVE)
