"""The spec's parser: what it takes, what it refuses, and in which words."""

from typing import Any

import pytest

from contract.spec_cases import MISTYPED, REFUSED, REMOVE, TAKEN, Mistyped, Refused, sticky_service
from stickyrouting.model.desired import (
    Algorithm,
    CookieLifetime,
    OnFull,
    OnLost,
    Partitioned,
    RejectCookie,
    RejectStatus,
    Retry,
    SameSite,
    Secure,
)
from stickyrouting.model.duration import Duration
from stickyrouting.model.errors import InvalidSpec
from stickyrouting.model.spec import (
    AGENT_RESOURCES,
    HAPROXY_RESOURCES,
    parse_spec,
    to_manifest,
)
from stickyrouting.model.spec_fields import AffinityType, Cookie, ServiceType
from stickyrouting.model.spec_rules import RULES


def test_the_smallest_spec_has_every_default_of_the_schema() -> None:
    spec = parse_spec(sticky_service())
    assert (spec.service.name, spec.service.port) == ("shop", 8080)
    assert spec.affinity.type is AffinityType.COOKIE
    assert spec.affinity.cookie.name is None
    assert (spec.session.max_per_pod, spec.session.on_full) == (None, OnFull.QUEUE)
    assert spec.placement.algorithm is Algorithm.LEAST_SESSIONS
    assert spec.placement.slow_start == Duration(0)
    assert spec.proxy.replicas is None
    assert spec.proxy.resources is None
    assert spec.proxy.termination_grace_period == Duration(3_600_000)
    assert spec.proxy.service.type is ServiceType.CLUSTER_IP
    assert spec.proxy.timeouts.connect == Duration(2_000)
    assert spec.proxy.timeouts.tunnel == Duration(3_600_000)
    assert spec.proxy.health_check.interval == Duration(1_000)


def test_sessions_live_thirty_minutes_idle_and_twelve_hours_at_most_unless_the_spec_says_otherwise() -> None:
    session = parse_spec(sticky_service()).session
    assert (session.idle_timeout.seconds, session.absolute_timeout.seconds) == (1_800, 43_200)


def test_a_cookie_of_which_nothing_is_said_is_the_strictest_that_works_everywhere() -> None:
    assert parse_spec(sticky_service()).affinity.cookie == Cookie(
        name=None,
        path="/",
        domain=None,
        secure=Secure.AUTO,
        same_site=SameSite.LAX,
        partitioned=Partitioned.DISABLED,
        lifetime_type=CookieLifetime.SESSION,
        key_rotation=Duration(720 * 3_600_000),
    )


def test_a_lost_session_is_bound_anew_and_nothing_is_sent_twice_unless_the_spec_says_otherwise() -> None:
    session = parse_spec(sticky_service()).session
    assert (session.on_lost, session.retry) == (OnLost.REBIND, Retry.SAFE)
    assert (session.reject_status, session.reject_cookie) == (RejectStatus.GONE, RejectCookie.REMOVE)
    assert session.state_header is None


def test_containers_without_given_resources_get_requests_and_a_memory_limit_only() -> None:
    assert to_manifest(HAPROXY_RESOURCES) == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"memory": "1Gi"},
    }
    assert to_manifest(AGENT_RESOURCES) == {
        "requests": {"cpu": "50m", "memory": "64Mi"},
        "limits": {"memory": "512Mi"},
    }


def test_placement_becomes_the_pod_fields_that_were_given_and_no_others() -> None:
    placement = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Exists", "tolerationSeconds": 5, "effect": "NoExecute"}],
        "affinity": {"podAntiAffinity": {"unknownToUs": [1]}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 3}
        ],
        "priorityClassName": "high",
    }
    spec = parse_spec(sticky_service("spec.proxy.template.spec", placement))
    assert to_manifest(spec.proxy.template.spec) == placement


def test_durations_of_a_manifest_are_written_as_the_api_writes_them() -> None:
    spec = parse_spec(sticky_service("spec.proxy.timeouts", {"connect": "1500ms"}))
    assert to_manifest(spec.proxy.timeouts) == {"connect": "1s500ms"}


def test_fields_of_a_newer_crd_are_ignored() -> None:
    assert parse_spec(sticky_service("spec.session", {"newer": "5m"})) == parse_spec(sticky_service())


def test_an_object_without_a_spec_is_refused_with_the_missing_field() -> None:
    with pytest.raises(InvalidSpec, match="spec: Object missing required field service"):
        parse_spec({"metadata": {"name": "shop"}})


@pytest.mark.parametrize(("field", "value"), TAKEN, ids=str)
def test_a_valid_field_is_taken(field: str, value: Any) -> None:
    parse_spec(sticky_service(field, value))


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_a_broken_rule_is_refused_with_its_place_and_what_to_do(case: Refused) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        parse_spec(sticky_service(case.field, case.value))
    assert refusal.value.field_path == (case.place or case.field)
    assert refusal.value.message == case.message


@pytest.mark.parametrize("case", MISTYPED, ids=str)
def test_a_value_of_the_wrong_type_or_size_is_refused_with_its_place(case: Mistyped) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        parse_spec(sticky_service(case.field, case.value))
    missing = case.value is REMOVE
    assert refusal.value.field_path.removesuffix("[...]") == (
        case.field.rpartition(".")[0] if missing else case.field
    )
    assert case.model in refusal.value.message


def test_every_rule_has_a_case_that_breaks_it() -> None:
    broken = {(case.place or case.field, case.message) for case in REFUSED}
    assert {(rule.field_path, rule.message) for rule in RULES} == broken
