"""The words in which HAProxy is told of a session."""

from stickyrouting.affinity.entry import ENDED, NEWBORN, Entry
from stickyrouting.haproxy.peers import Entry as TableEntry


def as_told(entry: Entry) -> TableEntry:
    """Return a session's entry as it is."""
    return TableEntry(entry.key.decode(), entry.value, entry.remaining_ms)


def marked(entry: Entry) -> TableEntry:
    """Return a moved session's entry: its next request looks once, tells the application and renews the cookie."""
    value = entry.value if entry.value >= ENDED else entry.value | NEWBORN
    return TableEntry(entry.key.decode(), value, entry.remaining_ms)
