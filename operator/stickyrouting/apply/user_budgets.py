"""The budgets of users, read while pods of theirs are sent away, for our DELETE passes them.

Law: what is remembered only keeps pods; who lets one go has read anew.
"""

from collections.abc import Iterable

from stickyrouting.apply.ports import Ports
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Key
from stickyrouting.model.protection import Budget
from stickyrouting.planner.budgets import allowances
from stickyrouting.planner.endpoints import labelled
from stickyrouting.planner.stand_ins import is_sent_away
from stickyrouting.watch.kinds import POD_DISRUPTION_BUDGET

REMEMBERED_SECONDS = 5.0
"""How long a pod that a budget keeps waits for the next look."""


def remembered(namespace: str, ports: Ports) -> tuple[Budget, ...]:
    """Return the budgets of a namespace if they were read a moment ago."""
    moment, found = ports.memory.budgets.get(namespace, (0.0, ()))
    return found if ports.clock.monotonic() - moment < REMEMBERED_SECONDS else ()


async def read(
    key: Key, held: Iterable[Pod], labelled_pods: Iterable[Pod], ports: Ports
) -> tuple[Budget, ...]:
    """Return the budgets that count for the pods of a StickyService, none while none of them is sent away.

    ``labelled_pods`` are those of the namespace that anybody holds, as they are now; raises what the API raises.
    """
    if not any(is_sent_away(pod) for pod in held):
        return ()
    kind = POD_DISRUPTION_BUDGET
    listed = await ports.kube.list(kind.api_version, kind.kind, key.namespace)
    others = (
        p for p in ports.caches.pods.values() if p.metadata.namespace == key.namespace and not labelled(p)
    )
    live = {pod.metadata.uid: pod for pod in (*others, *labelled_pods)}
    found = allowances(listed, [*live.values()]) if listed else ()
    ports.memory.budgets[key.namespace] = (ports.clock.monotonic(), found)
    return found
