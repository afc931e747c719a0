"""The verbs of the operator: one call each, one time limit each, our errors only."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from stickyrouting.kube import calls
from stickyrouting.kube.answers import Manifest
from stickyrouting.kube.calls import Admission, PodPatch
from stickyrouting.kube.events import Event, make_event
from stickyrouting.kube.server_clock import ServerClock
from stickyrouting.kube.transport import Observer, Transport, no_observer
from stickyrouting.model.errors import NotFound
from stickyrouting.watch.connection import Connection
from stickyrouting.watch.kinds import Kind, kind_of

__all__ = ["Admission", "Kube", "Manifest", "Observer", "PodPatch"]

TIMEOUT = 5.0


class Kube:
    """A client of one API server; an asynchronous context manager. The connection stays its maker's to close.

    Each method raises Changed (409), NotFound (404), Refused (other 4xx, with the server's message) or
    Unreachable (network, time limit, 408, 429, 5xx; its ``after`` honours Retry-After). No call is repeated
    here: after an Unreachable the write may have happened or not, and only a new observation tells.
    ``timeout`` in seconds; ``clock`` is the server's, as its answers tell it.
    """

    def __init__(
        self,
        connection: Connection,
        timeout: float = TIMEOUT,
        observe: Observer = no_observer,
        user_agent: str = "sticky-routing",
    ) -> None:
        self.clock = ServerClock()
        self._transport = Transport(connection, timeout, observe, user_agent, self.clock.heard)

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    async def get(self, api_version: str, kind: str, namespace: str | None, name: str) -> Manifest | None:
        """Return one object as it is now, or None."""
        try:
            return await self._transport.send(calls.make_get(kind_of(api_version, kind), namespace, name))
        except NotFound:
            return None

    async def serves(self, kind: Kind) -> bool:
        """Tell whether the API server knows a kind: older ones don't know every built-in kind."""
        try:
            found = await self._transport.send(calls.make_discovery(kind))
        except NotFound:
            return False
        return any(resource.get("name") == kind.plural for resource in found.get("resources") or ())

    async def pages(
        self, api_version: str, kind: str, namespace: str | None, selector: str = ""
    ) -> AsyncIterator[Sequence[Manifest]]:
        """Yield what :meth:`list` returns part by part, so that nobody has to hold it all."""
        token = ""
        while True:
            page = await self._transport.send(
                calls.make_list(kind_of(api_version, kind), namespace, selector, token)
            )
            # The items of a list leave out what the list says for them all.
            yield [{"apiVersion": api_version, "kind": kind, **item} for item in page.get("items") or ()]
            token = page["metadata"].get("continue", "")
            if not token:
                return

    async def list(
        self, api_version: str, kind: str, namespace: str | None, selector: str = ""
    ) -> list[Manifest]:
        """Return the objects of a namespace (None: of all) that a label selector picks, quorum read."""
        pages = self.pages(api_version, kind, namespace, selector)
        return [item async for page in pages for item in page]

    async def apply(self, manifest: Manifest) -> Manifest:
        """Make the object hold what the manifest says, as field manager ``stickyrouting`` and with force.

        Fields that an earlier manifest of ours had and this one has not are removed. ``metadata.uid`` in
        the manifest is a precondition: Changed if the object has another uid or does not exist.
        """
        return await self._transport.send(calls.make_apply(manifest))

    async def apply_status(self, manifest: Manifest) -> Manifest:
        """Do the same to the status alone; raises NotFound if there is no such object."""
        return await self._transport.send(calls.make_apply(manifest, "status"))

    async def create(self, manifest: Manifest, admission: Admission = Admission.REAL) -> Manifest:
        """Create an object, or only ask whether it could be; raises Changed if one of that name exists."""
        return await self._transport.send(calls.make_create(manifest, admission))

    async def delete(self, reference: Manifest) -> None:
        """Delete the object that a manifest or reference names; uid and resourceVersion in it are preconditions."""
        await self._transport.send(calls.make_delete(reference))

    async def try_delete(self, reference: Manifest) -> None:
        """Ask whether an object could be deleted; raises Refused if not, and changes nothing."""
        await self._transport.send(calls.make_trial_delete(reference))

    async def try_eviction(self, pod: Manifest) -> None:
        """Ask whether a pod could be evicted, and change nothing; raises Unreachable with status 429 if not now."""
        await self._transport.send(calls.make_trial_eviction(pod))

    async def merge_patch(self, patch: Manifest) -> Manifest:
        """Change the fields of a JSON merge patch; its ``metadata.resourceVersion`` is a precondition."""
        return await self._transport.send(calls.make_merge_patch(patch))

    async def patch_pod(self, patch: PodPatch) -> Manifest:
        """Change our own labels and annotations of a pod; raises Changed if it is not as it was read."""
        return await self.merge_patch(calls.make_pod_patch(patch))

    async def create_event(self, event: Event, now: datetime) -> None:
        """Tell the user what happened; the caller sees to it that one thing is told once."""
        await self.create(make_event(event, now))
