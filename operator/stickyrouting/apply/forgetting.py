"""What this process remembers goes with the StickyService that it is about."""

from stickyrouting.apply.ports import Ports
from stickyrouting.model import names
from stickyrouting.model.observed import Key


def forget(namespace: str, name: str, ports: Ports) -> None:
    """Drop what is remembered of a StickyService that is gone."""
    key, memory = Key(namespace, name), ports.memory
    memory.statuses.pop(key, None)
    memory.said.pop(key, None)
    ports.tell_counts(key, None)
    children = {names.child(name), names.all_proxies(name), names.address_book(name)}
    for where in [w for w in memory.applied if w[1] == namespace and w[2] in children]:
        del memory.applied[where]
    forget_dead(ports)


def forget_dead(ports: Ports) -> None:
    """Drop what is remembered of lives that have ended, also of those whose name lives on."""
    living = ports.registry.uids()
    memory = ports.memory
    for remembered in (memory.looked, memory.written, memory.key_ids):
        for uid in remembered.keys() - living:
            del remembered[uid]
