"""The operator's metrics of sessions: there while they are known, gone with the StickyService."""

from prometheus_client import CollectorRegistry, generate_latest

from stickyrouting.apply.ports import Told
from stickyrouting.controller.gauges import show_counts
from stickyrouting.metrics import operator_table as table
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.observed import Key
from stickyrouting.model.report import EndpointCount

SHOP, CART = Key("demo", "shop"), Key("demo", "cart")
SUMS = EndpointCount(0, 400, 7, 55)


def shown(metrics: Metrics) -> dict[str, float]:
    """Return the series of StickyServices, by metric and name."""
    lines = generate_latest(metrics.registry).decode().splitlines()
    found = (line.partition("{") for line in lines if 'stickyservice="' in line)
    return {
        f"{metric.removeprefix('sticky_operator_')} {rest.split(chr(34))[3]}": float(rest.split()[-1])
        for metric, _, rest in found
    }


def test_the_sums_of_every_stickyservice_are_shown() -> None:
    metrics = Metrics(table.OPERATOR, CollectorRegistry())
    show_counts(metrics, SHOP, Told(SUMS, 1_000.5))
    show_counts(metrics, CART, Told(EndpointCount(0, 0, 0, 0), 1_001.0))
    assert shown(metrics) == {
        "sessions shop": 400,
        "provisional_sessions shop": 7,
        "connections shop": 55,
        "counts_usable shop": 1,
        "oldest_report_timestamp_seconds shop": 1_000.5,
        "sessions cart": 0,
        "provisional_sessions cart": 0,
        "connections cart": 0,
        "counts_usable cart": 1,
        "oldest_report_timestamp_seconds cart": 1_001.0,
    }


def test_counts_that_can_not_be_used_leave_no_number_behind() -> None:
    metrics = Metrics(table.OPERATOR, CollectorRegistry())
    show_counts(metrics, SHOP, Told(SUMS, 1_000.5))
    show_counts(metrics, SHOP, Told(None, 1_000.5))
    assert shown(metrics) == {"counts_usable shop": 0, "oldest_report_timestamp_seconds shop": 1_000.5}
    show_counts(metrics, SHOP, Told(None, None))
    assert shown(metrics) == {"counts_usable shop": 0}


def test_a_stickyservice_that_is_gone_takes_its_series_with_it() -> None:
    metrics = Metrics(table.OPERATOR, CollectorRegistry())
    show_counts(metrics, SHOP, Told(SUMS, 1_000.5))
    show_counts(metrics, CART, Told(SUMS, 1_000.5))
    show_counts(metrics, SHOP, None)
    show_counts(metrics, SHOP, None)
    assert {name.split()[1] for name in shown(metrics)} == {"cart"}
