"""Names of pods that are no longer listed, for as long as a session may still come that was bound to one of them.

Law: nothing is kept on disk. A new agent learns the names from the map of the HAProxy that runs; pods that went while
nobody looked count as gone from then on.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from stickyrouting.agent.running import Running
from stickyrouting.model.desired import Desired
from stickyrouting.render.maps import HINT_PREFIX, MapName

LIMIT = 5_000
"""Pods that are gone and remembered: half a megabyte. Of more, those that went last."""


@dataclass(slots=True)
class Former:
    """Remembers pods by server id."""

    _pods: dict[int, str] = field(default_factory=dict)
    _gone: dict[int, float] = field(default_factory=dict)
    _learnt: bool = False

    def look(
        self, desired: Desired, running: Running | None, bound: Collection[int], now: float
    ) -> Mapping[int, str]:
        """Return the names of the pods to remember; ``bound`` are ids that sessions are bound to, ``now`` seconds.

        A cookie leads back to its pod for an idle time, a binding in use for longer.
        """
        self._learn(running)
        listed = {endpoint.id: endpoint.name for endpoint in desired.endpoints}
        self._gone = {id_: self._gone.get(id_, now) for id_ in self._pods if id_ not in listed}
        kept = [
            id_ for id_, since in self._gone.items() if now - since <= desired.idle_seconds or id_ in bound
        ]
        kept = sorted(kept, key=self._gone.__getitem__)[-LIMIT:]
        former = {id_: self._pods[id_] for id_ in kept}
        self._pods = {**former, **listed}
        return former

    def _learn(self, running: Running | None) -> None:
        if self._learnt or running is None:
            return
        self._learnt = True
        for key, name in running.newest.maps.get(MapName.PODS, ()):
            if not key.startswith(HINT_PREFIX):
                self._pods.setdefault(int(key), name)
