"""What keeps held pods: tried again and again on one of them, put back where the dead man's switch took it away.

Law: what is tried has no effect (dry runs), and nothing of the chart's is written but what the switch had marked: what
a person took away is reported, not put back, for that person may have had a reason.
"""

import logging
from collections.abc import Coroutine

import msgspec

from stickyrouting.apply.budgets import find_clashes
from stickyrouting.apply.children import owned_by
from stickyrouting.apply.ports import Ports
from stickyrouting.apply.registry import identity_of
from stickyrouting.kube.client import Manifest
from stickyrouting.model import names
from stickyrouting.model.errors import Changed, NotFound, Refused, StickyError, Unreachable
from stickyrouting.model.objects import Pod
from stickyrouting.model.observed import Key
from stickyrouting.model.protection import EvictionMode, Guard, Protection, Trial
from stickyrouting.planner.endpoints import holders, labelled
from stickyrouting.planner.switch import is_off, on
from stickyrouting.planner.trials import (
    Marks,
    Tried,
    choose_pod,
    gaps,
    is_due,
    is_whole,
    judge_deletion,
    judge_eviction,
)
from stickyrouting.watch.kinds import (
    ADMISSION_BINDING,
    ADMISSION_POLICY,
    VALIDATING_WEBHOOK_CONFIGURATION,
    Kind,
)

log = logging.getLogger(__name__)


class Watchman:
    """Knows what keeps the held pods of one scope: ``seen`` is what looks showed, ``soon`` whether to look in a moment.

    A gap is told when two looks have shown it: what was written a second ago may not be in force yet. Each look tries
    a deletion, for a policy that stands there unchanged may deny nothing all the same, after an API server's start say.
    """

    def __init__(self, installed: Protection) -> None:
        self.seen = installed
        self.soon = True
        self._tried: Tried | None = None
        self._doubted: Protection | None = None

    async def look(self, ports: Ports) -> bool:
        """Look at what is installed, try it, evictions if that is due, and return whether that showed anything new.

        Raises what the API raises; then nothing new is known.
        """
        pods = [pod for pod in ports.caches.pods.values() if _is_held(pod, ports)]
        pod = choose_pod(pods)
        if pod is None:
            return False
        marks = await self._marks(ports)
        self.soon = marks is None
        if marks is None:
            return False
        due = is_due(self._tried, marks, self.seen, ports.clock.monotonic())
        try:
            found = await self._try(pod, marks, ports, due=due)
        except (NotFound, Changed):
            return False  # The pod went meanwhile.
        if not due:
            return self._note(found, self._tried)
        clashing = await find_clashes(pods, ports) if found.mode is EvictionMode.BUDGET else ()
        return self._note(
            msgspec.structs.replace(found, clashes=clashing), Tried(ports.clock.monotonic(), marks)
        )

    def _note(self, found: Protection, tried: Tried | None) -> bool:
        """Take over what was found, if it is no gap that is seen for the first time; return whether it is news."""
        before, doubted = self.seen, self._doubted
        self._doubted = None
        known = [gaps(one) for one in (before, doubted) if one is not None]
        if gaps(found) not in known and not is_whole(found):
            self._doubted, self._tried, self.soon = found, None, True
            return False
        self.seen, self._tried = found, tried
        return found != before

    def grow_up(self) -> bool:
        """Have what the operator before had found stand no longer for what is untried; return whether that is news."""
        news, self.seen = self.seen.young, msgspec.structs.replace(self.seen, young=False)
        return news

    async def _marks(self, ports: Ports) -> Marks | None:
        """Return what is installed, None if something was put back just now: a policy takes a second to be in force."""
        seen = self.seen
        policy = await _get(ADMISSION_POLICY, seen.policy, ports)
        binding = await _get(ADMISSION_BINDING, seen.policy, ports) if policy is not None else None
        webhook = seen.webhook if seen.mode is EvictionMode.WEBHOOK else ""
        found = await _get(VALIDATING_WEBHOOK_CONFIGURATION, webhook, ports)
        turned_off = [one for one in (binding, found) if one is not None and is_off(one)]
        for one in turned_off:
            await _put_back(one, ports)
        if turned_off:
            return None
        return Marks(_version(policy), _version(binding), _version(found))

    async def _try(self, pod: Pod, marks: Marks, ports: Ports, *, due: bool) -> Protection:
        """Return what a try of a deletion shows, and one of an eviction if that is due."""
        deletions = await self._try_deletion(_reference(pod), marks, ports)
        evictions = await self._try_eviction(_reference(pod), marks, ports) if due else self.seen.evictions
        return msgspec.structs.replace(self.seen, deletions=deletions, evictions=evictions)

    async def _try_deletion(self, pod: Manifest, marks: Marks, ports: Ports) -> Trial:
        if not marks.policy and not await ports.kube.serves(ADMISSION_POLICY):
            return Trial(Guard.UNSERVED)
        if not self.seen.policy:
            return Trial(Guard.NO_POLICY)
        return judge_deletion(await _answer(ports.kube.try_delete(pod)), self.seen, marks)

    async def _try_eviction(self, pod: Manifest, marks: Marks, ports: Ports) -> Trial:
        if self.seen.mode is EvictionMode.OFF:
            return Trial()
        return judge_eviction(await _answer(ports.kube.try_eviction(pod)), self.seen, marks)


def _is_held(pod: Pod, ports: Ports) -> bool:
    """True while a StickyService holds a pod, and its account says so to the policy.

    Without one it is that StickyService alone whose pods are not held: what stands in the way of a child, its own
    conditions tell.
    """
    return labelled(pod) and any(_speaks(pod.metadata.namespace, name, ports) for name in holders(pod))


def _speaks(namespace: str, name: str, ports: Ports) -> bool:
    body = ports.registry.get(Key(namespace, name))
    account = ports.caches.children["ServiceAccount"].get(namespace, names.child(name))
    return body is not None and account is not None and owned_by(account, identity_of(body))


def _reference(pod: Pod) -> Manifest:
    metadata = {"namespace": pod.metadata.namespace, "name": pod.metadata.name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


async def _answer(write: Coroutine[None, None, None]) -> StickyError | None:
    """Return the API server's objection, None if there is none; raises what is no answer, and that the pod is gone."""
    try:
        await write
    except Refused as error:
        return error
    except Unreachable as error:
        if not error.status:
            raise
        return error
    return None


async def _get(kind: Kind, name: str, ports: Ports) -> Manifest | None:
    return await ports.kube.get(kind.api_version, kind.kind, None, name) if name else None


def _version(found: Manifest | None) -> str:
    """Return what changes with the content of an object, whatever is noted in its status."""
    return "" if found is None else f"{found['metadata']['uid']}/{found['metadata'].get('generation', 0)}"


async def _put_back(found: Manifest, ports: Ports) -> None:
    """Have an object act again that the switch turned off while no operator was there."""
    await ports.kube.merge_patch(on(found))
    log.warning("pods are held again: the dead man's switch had turned %s off", found["metadata"]["name"])
