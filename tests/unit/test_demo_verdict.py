"""Which promises a run of the demo kept."""

from apps.verifier.session import Answer, Session
from apps.verifier.tally import Sample, Tally, make_result
from demo.cost import Memory
from demo.counts import Counts, differences
from demo.settings import Settings
from demo.troubles import PHASES as TROUBLES
from demo.verdict import IN_FLIGHT, KILLED, PHASES, Held, Measured, judge, make_report

LEAST = 15_000
WANTED = Settings(sessions=500, least=LEAST, total=100_000)


def make_tallies() -> list[Tally]:
    tallies = []
    for number, name in enumerate(PHASES):
        tally = Tally(name, float(number), ended=number + 1.0, requests=LEAST, births=100)
        tally.verified = LEAST
        tally.sessions = set(range(600))
        tally.lost = 7 if name == KILLED else 0
        tallies.append(tally)
    return tallies


def make_sessions() -> list[Session]:
    home = Answer("shop-a", "i1", "198.18.80.2:8080", 2, 2)
    return [Session(number, home, answers=2) for number in range(600)]


def make_measured() -> Measured:
    return Measured(
        counts=Counts({"shop-a": 600}, {"shop-sticky-1": 600, "shop-sticky-2": 600}),
        counted_after=2.0,
        miscounted=[],
        failed_over=7,
        ready_to_first=[0.2, 0.4, 0.9],
        gone_to_last=[0.1, 0.3],
        last_to_release=[1.2, 1.8],
        scale_to_content=[0.8],
        operator_memory=[Memory("operator-1", 90.0, 95.0)],
        agent_memory=[Memory("shop-sticky-1", 41.0, 44.0), Memory("shop-sticky-2", 42.0, 44.0)],
        operator_cpu={"operator-1": 0.3},
        agent_cpu={"shop-sticky-1": 0.4},
        idle_writes=[],
        change_writes=["patch configmaps shop-sticky"],
    )


def broken(tallies: list[Tally], measured: Measured) -> list[tuple[str, str, str]]:
    checks = judge(make_result(tallies, make_sessions(), now=10.0), measured, WANTED)
    return [(check.what, check.bound, check.seen) for check in checks if check.held is Held.NO]


def test_a_good_run_keeps_every_promise() -> None:
    assert broken(make_tallies(), make_measured()) == []


def test_the_phases_that_are_judged_are_the_phases_that_are_run() -> None:
    assert tuple(name for name, _ in TROUBLES) == PHASES


def test_one_violation_breaks_a_promise() -> None:
    tallies = make_tallies()
    tallies[3].violated(Sample(1.0, 4, "misrouted", ""))
    assert broken(tallies, make_measured()) == [("violations", "0", "1")]


def test_one_error_and_one_lost_session_each_break_a_promise() -> None:
    tallies = make_tallies()
    tallies[3].failed(Sample(1.0, 4, "timeout", ""))
    tallies[3].strayed_rightly(Sample(1.0, 5, "lost", ""))
    assert broken(tallies, make_measured()) == [
        ("errors, but of requests that a killed pod had", "0", "1"),
        ("sessions lost, but of a killed pod", "0", "1"),
        ("sessions failed over", "8", "7 counted"),
    ]


def test_a_killed_pod_may_fail_the_requests_that_it_had_and_no_more() -> None:
    tallies = make_tallies()
    for number in range(IN_FLIGHT):
        tallies[PHASES.index(KILLED)].failed(Sample(1.0, number, "disconnected", ""))
    assert broken(tallies, make_measured()) == []
    tallies[PHASES.index(KILLED)].failed(Sample(1.0, 99, "disconnected", ""))
    assert [what for what, _, _ in broken(tallies, make_measured())] == [
        "errors, but of requests that a killed pod had"
    ]


def test_failovers_that_nobody_saw_or_none_at_all_break_a_promise() -> None:
    measured = make_measured()
    measured.failed_over = 8
    assert broken(make_tallies(), measured) == [("sessions failed over", "7", "8 counted")]
    tallies = make_tallies()
    tallies[PHASES.index(KILLED)].lost = 0
    measured.failed_over = 0
    assert broken(tallies, measured) == [("sessions failed over", "0", "0 counted")]


def test_a_proxy_cookie_that_named_another_session_breaks_a_promise() -> None:
    tallies = make_tallies()
    tallies[2].reissued = 1
    assert broken(tallies, make_measured()) == [("proxy cookies that named another session", "0", "1")]


def test_a_phase_that_is_missing_or_short_breaks_a_promise() -> None:
    tallies = make_tallies()
    missing = PHASES.index("operator-killed")
    del tallies[missing : missing + 2], tallies[-2:]
    tallies[1].verified = 14_000
    assert broken(tallies, make_measured()) == [
        ("verified requests", "≥ 100,000", "89,000"),
        ("verified in phase steady", "≥ 15,000", "14,000"),
        ("verified in phase operator-killed", "≥ 15,000", "0"),
        ("verified in phase pods-unready", "≥ 15,000", "0"),
        ("verified in phase scaled-down", "≥ 15,000", "0"),
        ("verified in phase rolled-out", "≥ 15,000", "0"),
    ]


def test_a_slow_pod_a_fat_agent_and_a_busy_operator_each_break_a_promise() -> None:
    measured = make_measured()
    measured.ready_to_first.append(1.4)
    measured.last_to_release.append(2.4)
    measured.scale_to_content[0] = 3.2
    measured.agent_memory.append(Memory("shop-sticky-3", 61.5, 62.0))
    measured.operator_cpu["operator-2"] = 1.2
    assert broken(make_tallies(), measured) == [
        ("pod ready → first new session, p95", "< 1 s", "1.40 s (4 pods)"),
        ("last session's end → pod goes, p95", "< 2 s", "2.40 s (3 pods)"),
        ("scale command → Deployment satisfied", "< 3 s", "3.20 s (1 scale-down)"),
        ("agent memory", "≤ 55 MiB", "61.5 MiB"),
        ("operator CPU while idle", "≤ 1 %", "1.2 %"),
    ]


def test_a_pod_that_no_session_reached_breaks_a_promise() -> None:
    measured = make_measured()
    measured.ready_to_first.append(None)
    assert broken(make_tallies(), measured) == [
        ("pod ready → first new session, p95", "< 1 s", "3 of 4 pods reached")
    ]


def test_what_was_not_measured_is_not_kept() -> None:
    assert [what for what, _, seen in broken(make_tallies(), Measured())] == [
        "sessions counted",
        "sessions failed over",
        "pod ready → first new session, p95",
        "pod going → last new session, p95",
        "last session's end → pod goes, p95",
        "scale command → Deployment satisfied",
        "operator memory",
        "agent memory",
        "operator CPU while idle",
        "agent CPU while idle",
    ]


def test_sessions_that_are_counted_wrongly_break_a_promise() -> None:
    measured = make_measured()
    measured.counts = Counts({"shop-a": 600}, {"shop-sticky-1": 600, "shop-sticky-2": 599})
    measured.miscounted = differences(measured.counts, {"shop-a": 600})
    assert broken(make_tallies(), measured) == [
        ("sessions counted", "600", "proxy shop-sticky-2: 599 of 600")
    ]


def test_too_many_writes_break_a_promise_where_an_audit_log_tells() -> None:
    measured = make_measured()
    measured.idle_writes = ["patch configmaps shop-sticky"]
    measured.change_writes = ["patch pods a", "patch configmaps b", "patch configmaps b"]
    assert broken(make_tallies(), measured) == [
        ("API writes while idle", "0", "1"),
        ("API writes of one endpoint change", "≤ 2 writes", "3 writes"),
    ]


def test_what_did_not_happen_in_time_breaks_the_run() -> None:
    measured = make_measured()
    measured.failures.append("waited 120 s for all proxies to be replaced")
    assert broken(make_tallies(), measured) == [
        ("waited 120 s for all proxies to be replaced", "in time", "did not happen")
    ]


def test_the_report_names_the_figures_of_the_readme() -> None:
    measured = make_measured()
    result = make_result(make_tallies(), make_sessions(), now=10.0)
    report = make_report(result, measured, judge(result, measured, WANTED))
    names = ("requests", "sessions", "errors", "violations", "kept")
    assert [report[name] for name in names] == [150_000, 600, 0, 0, True]
    assert report["pod_ready_to_first_request_p95_seconds"] == 0.9
    assert report["pod_gone_to_no_request_p95_seconds"] == 0.3
    assert len(report["phases"]) == len(PHASES)
