"""The objects and their history: what etcd is to a cluster.

One counter versions everything. Objects in here are never modified, only replaced; readers get them as they
are.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from stickyrouting.watch.kinds import Kind, kind_of

from .merge import Manifest
from .ownership import Owners
from .selectors import Selector


class Place(NamedTuple):
    """Where an object stands; ``namespace`` is empty for kinds of the whole cluster."""

    kind: Kind
    namespace: str
    name: str


@dataclass(frozen=True)
class Change:
    """One step of history: ``old`` is None for a creation, ``new`` for a removal (then ``last`` tells its version)."""

    version: int
    place: Place
    old: Manifest | None
    new: Manifest | None
    last: Manifest


class Store:
    """All objects by place, the owners of their fields, and every change; ``oldest`` is where watches may start."""

    def __init__(self) -> None:
        self.version = 1
        self.oldest = 1
        self.changes: list[Change] = []
        self._objects: dict[Place, Manifest] = {}
        self._owners: dict[Place, Owners] = {}
        self._news = asyncio.Event()

    def place_of(self, manifest: Manifest) -> Place:
        """Return where a manifest belongs."""
        metadata = manifest["metadata"]
        kind = kind_of(manifest["apiVersion"], manifest["kind"])
        return Place(kind, metadata.get("namespace", ""), metadata["name"])

    def find(self, place: Place) -> Manifest | None:
        """Return the object at a place, or None."""
        return self._objects.get(place)

    def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        """Return an object that a test knows to exist."""
        return self._objects[Place(kind, namespace, name)]

    def owners(self, place: Place) -> Owners:
        """Return the fields of an object by manager."""
        return self._owners.get(place, {})

    def select(self, kind: Kind, selector: Selector) -> list[Manifest]:
        """Return the selected objects of a kind, ordered by namespace and name."""
        found = sorted(self._places(kind), key=itemgetter(0))
        return [item for _, item in found if selector.matches(item)]

    def everything(self) -> Iterator[tuple[Place, Manifest]]:
        """Yield every object with its place, as of now."""
        yield from list(self._objects.items())

    def write(self, place: Place, manifest: Manifest, owners: Owners | None = None) -> Manifest:
        """Store an object as a new version and return it."""
        self.version += 1
        metadata = {**manifest["metadata"], "resourceVersion": str(self.version)}
        new = {**manifest, "metadata": metadata}
        old = self._objects.get(place)
        self._objects[place] = new
        self._owners[place] = self.owners(place) if owners is None else owners
        self._record(Change(self.version, place, old, new, new))
        return new

    def own(self, place: Place, owners: Owners) -> None:
        """Note owners without a change of the object."""
        self._owners[place] = owners

    def remove(self, place: Place) -> Manifest:
        """Take an object out and return it with the version of its removal."""
        self.version += 1
        old = self._objects.pop(place)
        self._owners.pop(place, None)
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.version)}}
        self._record(Change(self.version, place, old, None, last))
        return last

    def compact(self) -> None:
        """Make the history too old: who resumes from before now gets 410; running watches go on."""
        self.version += 1
        self.oldest = self.version

    def since(self, version: int) -> list[Change]:
        """Return the changes after a version, oldest first."""
        fresh = bisect_right(self.changes, version, key=lambda change: change.version)
        return self.changes[fresh:]

    def news(self) -> asyncio.Event:
        """Return an event that the next change sets."""
        return self._news

    def wake(self) -> None:
        """Set the event that waits for the next change, and begin another."""
        self._news.set()
        self._news = asyncio.Event()

    def _places(self, kind: Kind) -> Iterator[tuple[tuple[str, str], Manifest]]:
        for place, item in self._objects.items():
            if place.kind == kind:
                yield (place.namespace, place.name), item

    def _record(self, change: Change) -> None:
        self.changes.append(change)
        self.wake()
