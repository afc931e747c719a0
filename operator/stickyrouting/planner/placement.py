"""Which endpoints take new sessions: a weight for each."""

from collections.abc import Sequence

from stickyrouting.model.desired import Endpoint, EndpointState

Weights = tuple[tuple[int, int], ...]
"""Server id and HAProxy weight of each endpoint, in the order of the list."""

TAKES_BIRTHS = 100
KEEPS_ONLY = 0
_ORDER = (EndpointState.READY, EndpointState.UNREADY, EndpointState.DRAINING)


def weights(endpoints: Sequence[Endpoint]) -> Weights:
    """Give new sessions to the ready endpoints; without any to the unready ones, without those to the draining ones.

    Weight 0, never HAProxy's drain state: a server state would be one more thing to carry over a reload.
    """
    states = {endpoint.state for endpoint in endpoints}
    chosen = next((state for state in _ORDER if state in states), None)
    return tuple((e.id, TAKES_BIRTHS if e.state is chosen else KEEPS_ONLY) for e in endpoints)
