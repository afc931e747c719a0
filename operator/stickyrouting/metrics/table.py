"""Metric names, kinds, labels and help texts of agent and operator, and how they become prometheus_client
objects.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of the histograms of what the product does, in seconds."""


class Kind(StrEnum):
    """The metric types that are used."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the table."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = BUCKETS
    """Bounds of a histogram, in seconds."""


class Metrics:
    """The metrics of one process, by the names of its table; an unknown name is a bug (KeyError)."""

    def __init__(self, table: Iterable[Metric], registry: CollectorRegistry) -> None:
        self.registry = registry
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in table:
            self._add(metric)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add ``amount`` to a counter."""
        counter = self._counters[name]
        (counter.labels(**labels) if labels else counter).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        gauge = self._gauges[name]
        (gauge.labels(**labels) if labels else gauge).set(value)

    def drop(self, name: str, *values: str) -> None:
        """Remove the series of a gauge with these label values, if there is one."""
        with contextlib.suppress(KeyError):
            self._gauges[name].remove(*values)

    def set_all(self, name: str, label: str, values: Mapping[str, float]) -> None:
        """Replace all series of a gauge with one label by ``values``; series not named are removed."""
        gauge = self._gauges[name]
        gauge.clear()
        for key, value in values.items():
            gauge.labels(**{label: key}).set(value)

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add an observation to a histogram."""
        self.observe_all(name, (seconds,), **labels)

    def observe_all(self, name: str, seconds: Iterable[float], **labels: str) -> None:
        """Add observations with the same labels to a histogram."""
        histogram = self._histograms[name]
        series = histogram.labels(**labels) if labels else histogram
        for observation in seconds:
            series.observe(observation)

    def _add(self, metric: Metric) -> None:
        if metric.kind is Kind.COUNTER:
            self._counters[metric.name] = Counter(
                metric.name, metric.help, metric.labels, registry=self.registry
            )
        elif metric.kind is Kind.GAUGE:
            self._gauges[metric.name] = Gauge(metric.name, metric.help, metric.labels, registry=self.registry)
        else:
            self._histograms[metric.name] = Histogram(
                metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=self.registry
            )
