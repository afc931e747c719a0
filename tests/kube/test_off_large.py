"""Large clusters: what takes the hold away reads page by page and keeps of each only what it will write."""

import weakref
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from kube.api.server import ApiServer
from kube.loop_site import pod
from stickyrouting.apply.off import Installation, clean, switch
from stickyrouting.kube.calls import PAGE_SIZE
from stickyrouting.kube.client import Kube, Manifest
from stickyrouting.model.duration import parse_duration
from stickyrouting.watch.connection import Connection
from stickyrouting.watch.kinds import LEASE

NOW = 1_793_491_200_000
PAGES = 5


class Tracked(dict[str, Any]):
    """An object of the cluster whose end is seen."""


class Counting(Kube):
    """Counts the objects that are in memory at a time."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.alive = self.most = self.seen = 0

    async def pages(
        self, api_version: str, kind: str, namespace: str | None, selector: str = ""
    ) -> AsyncIterator[Sequence[Manifest]]:
        async for page in super().pages(api_version, kind, namespace, selector):
            tracked = [Tracked(item) for item in page]
            for item in tracked:
                weakref.finalize(item, self._gone)
            self.seen += len(tracked)
            self.alive += len(tracked)
            self.most = max(self.most, self.alive)
            yield tracked

    def _gone(self) -> None:
        self.alive -= 1


def put_many(api: ApiServer) -> None:
    """Put pages of ReplicaSets, of which one waits, and of pods, of which two are ours."""
    for number in range(PAGES * PAGE_SIZE):
        meta = {"namespace": "demo", "name": f"set-{number}"}
        status = {"replicas": 3 if number == PAGE_SIZE + 7 else 1}
        bare = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta, "spec": {"replicas": 1}}
        api.put({**bare, "status": status})
        labels = {"stickyrouting.io/detached": "true"} if number == PAGE_SIZE + 8 else {}
        notes = {"stickyrouting.io/held-by": "shop"} if number == PAGE_SIZE + 9 else {}
        api.put(pod(f"pod-{number}", "198.18.81.1", labels=labels, annotations=notes))
    meta = {"namespace": "sticky-system", "name": "sticky"}
    spec = {"holderIdentity": "op-0", "renewTime": "2026-10-31T21:00:00.000000Z"}
    api.put({"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": meta, "spec": spec})


@pytest.mark.parametrize("verb", ["switch", "clean"])
async def test_never_more_than_a_page_or_two_is_in_memory_and_nothing_is_overlooked(
    api: ApiServer, connection: Connection, verb: str
) -> None:
    put_many(api)
    async with Counting(connection) as kube:
        if verb == "clean":
            assert await clean(kube, [None], NOW) == 2
        else:
            here = Installation("sticky-system", "sticky", "", (None,))
            assert (await switch(kube, here, parse_duration("2h"), NOW)).holds
        assert kube.seen >= PAGES * PAGE_SIZE
        assert kube.most <= 2 * PAGE_SIZE
    wrote = {call.name for call in api.journal.writes()}
    assert wrote == {f"set-{PAGE_SIZE + 7}"} | (
        {f"pod-{PAGE_SIZE + 8}", f"pod-{PAGE_SIZE + 9}"} if verb == "clean" else set()
    )
