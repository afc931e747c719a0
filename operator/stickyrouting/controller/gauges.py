"""The counts of the StickyServices as metrics."""

from stickyrouting.apply.ports import Told
from stickyrouting.metrics import operator_table as table
from stickyrouting.metrics.table import Metrics
from stickyrouting.model.observed import Key


def show_counts(metrics: Metrics, key: Key, told: Told | None) -> None:
    """Set the series of one StickyService; what is not known has none, and one that is gone has none at all."""
    sums = told.sums if told else None
    shown = {
        table.SESSIONS: sums.sessions if sums else None,
        table.PROVISIONAL: sums.provisional if sums else None,
        table.CONNECTIONS: sums.connections if sums else None,
        table.COUNTED: int(sums is not None) if told else None,
        table.OLDEST: told.oldest if told else None,
    }
    for name, value in shown.items():
        if value is None:
            metrics.drop(name, key.namespace, key.name)
        else:
            metrics.set(name, value, namespace=key.namespace, stickyservice=key.name)
