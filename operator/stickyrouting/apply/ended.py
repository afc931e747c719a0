"""Which proxies have ended, and when that was first seen: for a while, what they knew last counts still.

An operator that starts knows nothing of those whose pod is removed by then, and waits for none of them: what they knew
is known to the proxies that are there, if these have linked up. One that it finds ended, ended just now for all it
knows.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Key
from stickyrouting.planner.release import UNHEARD_SECONDS


@dataclass(slots=True)
class Ended:
    """The proxies of each StickyService as seen last, and when (monotonic) those that ended were first seen so."""

    monotonic: Callable[[], float]
    _seen: dict[Key, dict[str, Pod]] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)

    def look(self, key: Key, present: Iterable[Pod]) -> tuple[Pod, ...]:
        """Note the proxies that a StickyService has; return those whose pod was removed less than a minute ago."""
        living, seen = {pod.metadata.uid: pod for pod in present}, self._seen.setdefault(key, {})
        seen.update(living)
        self._note(seen, living)
        return tuple(pod for uid, pod in seen.items() if uid not in living)

    def since(self, pod: Pod) -> float | None:
        """Return how many seconds ago it was first seen that a proxy has ended, None if it has not."""
        since = self._since.get(pod.metadata.uid)
        if since is None:
            return 0.0 if pod.ended else None
        return self.monotonic() - since

    def remembers(self, uid: str) -> bool:
        """True while what an ended proxy knew counts."""
        return uid in self._since

    def forget(self, living: Collection[str]) -> None:
        """Note which proxies are there at all, also of StickyServices that are gone."""
        for key, seen in [*self._seen.items()]:
            self._note(seen, living)
            if not seen:
                del self._seen[key]

    def _note(self, seen: dict[str, Pod], living: Collection[str]) -> None:
        now = self.monotonic()
        for uid in [uid for uid, pod in seen.items() if uid not in living or pod.ended]:
            since = self._since.setdefault(uid, now)
            if uid not in living and now - since >= UNHEARD_SECONDS:
                del seen[uid], self._since[uid]
