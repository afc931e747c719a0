"""Who counts as listed: endpoints of a list that may lag, and servers in a worker that a reload left behind. Pure.

Law: server ids only grow. What is above the highest that a list tells of is not gone but listed later. The maps of a
worker name only servers that it has, and one that was left behind gets no others. For it any other endpoint is a newer
one than it knows, so that the client is sent away and meets the newest worker, which judges.
"""

from stickyrouting.agent.running import WorkerState
from stickyrouting.agent.target import Maps, Target
from stickyrouting.model.desired import Desired, faithful
from stickyrouting.render.haproxy_names import HIGHEST_KEY
from stickyrouting.render.maps import MapEntry, MapName


def is_listed(desired: Desired, server_id: int) -> bool:
    """Return whether a server is an endpoint that keeps its sessions, or one that this list is too old for."""
    later = 0 < desired.highest_id < server_id
    return later or any(endpoint.id == server_id for endpoint in faithful(desired))


def old_hints(target: Target, worker: WorkerState) -> Maps:
    """Return the maps of hints for a worker that was left behind, among the servers that it serves."""
    served = {str(id_) for id_, server in worker.servers.items() if not server.maint}
    missing = [e.id for e in target.desired.endpoints if str(e.id) not in served]
    maps = target.maps
    hint2id = tuple(entry for entry in maps[MapName.HINT2ID] if entry.value in served)
    id2hint = tuple(entry for entry in maps[MapName.ID2HINT] if entry.key in served)
    highest = _highest(worker, missing)
    return {**maps, MapName.HINT2ID: hint2id, MapName.ID2HINT: (*id2hint, *highest)}


def _highest(worker: WorkerState, missing: list[int]) -> tuple[MapEntry, ...]:
    """Return the entry of the highest id: below all that are missing. It never rises, for no server comes."""
    found = [int(entry.value) for entry in worker.maps[MapName.ID2HINT] if entry.key == HIGHEST_KEY]
    bounds = [*found, *(id_ - 1 for id_ in missing)]
    return (MapEntry(HIGHEST_KEY, str(min(bounds))),) if bounds else ()
