"""What HAProxy's workers have counted becomes counters: each event once, whatever workers come and go."""

import pytest
from prometheus_client import CollectorRegistry

from stickyrouting.agent.tallies import UNSERVED, Tallies
from stickyrouting.metrics import agent as names
from stickyrouting.metrics.agent import AGENT
from stickyrouting.metrics.table import Metrics
from stickyrouting.render.haproxy_lost import Tally


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(AGENT, CollectorRegistry())


def counted(metrics: Metrics) -> dict[str, float]:
    """Return the counters that are not 0, by metric and label."""
    found = {}
    for name in (names.FAILED_OVER, names.REJECTED, names.INVALID_COOKIES):
        for metric in metrics.registry.collect():
            for sample in metric.samples:
                if sample.name == name and sample.value:
                    found[f"{name} {next(iter(sample.labels.values()))}"] = sample.value
    return found


def test_each_word_has_its_series_from_the_start(metrics: Metrics) -> None:
    Tallies(metrics)
    series = {
        (sample.name, *sample.labels.values())
        for metric in metrics.registry.collect()
        for sample in metric.samples
        if sample.name in {names.FAILED_OVER, names.REJECTED, names.INVALID_COOKIES}
    }
    assert series == {
        *((name, cause) for name in (names.FAILED_OVER, names.REJECTED) for cause in ("gone", "unreachable")),
        *((names.INVALID_COOKIES, reason) for reason in ("bad_mac", "unknown_key", "expired", "malformed")),
    }


def test_only_what_is_new_is_added(metrics: Metrics) -> None:
    tallies = Tallies(metrics)
    for count in (3, 3, 5):
        tallies.look({7: {Tally.BAD_MAC: count}})
    assert counted(metrics) == {f"{names.INVALID_COOKIES} bad_mac": 5}


def test_workers_are_added_up_and_one_that_ended_takes_nothing_back(metrics: Metrics) -> None:
    tallies = Tallies(metrics)
    tallies.look({7: {Tally.REJECTED_GONE: 3}})
    tallies.look({8: {}, 7: {Tally.REJECTED_GONE: 4}})
    tallies.look({8: {Tally.REJECTED_GONE: 1}})
    assert counted(metrics) == {f"{names.REJECTED} gone": 5}


def test_a_process_that_got_the_number_of_another_begins_at_nothing(metrics: Metrics) -> None:
    tallies = Tallies(metrics)
    tallies.look({7: {Tally.FAILED_OVER_GONE: 10}})
    tallies.look({7: {Tally.FAILED_OVER_GONE: 2}})
    tallies.look({})
    tallies.look({7: {Tally.FAILED_OVER_GONE: 3}})
    assert counted(metrics) == {f"{names.FAILED_OVER} gone": 15}


def test_what_haproxy_could_not_serve_counts_as_rejected_beside_what_rules_refused(metrics: Metrics) -> None:
    Tallies(metrics).look({7: {Tally.REJECTED_UNREACHABLE: 1, UNSERVED: 2}})
    assert counted(metrics) == {f"{names.REJECTED} unreachable": 3}
