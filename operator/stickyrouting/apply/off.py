"""The hold taken away: for as long as no operator is there (the switch), or for good (after an uninstallation).

Law: what is the chart's is turned off with a mark and stays; what the operator made goes. Each write is one that may be
repeated. Whatever is refused keeps nothing else from being done in the same run; the run fails in the end, so that
there is a next one.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stickyrouting.kube.client import Kube, Manifest
from stickyrouting.model import names
from stickyrouting.model.duration import Duration
from stickyrouting.model.errors import Changed, NotFound, Refused, StickyError, Unreachable
from stickyrouting.model.objects import Pod
from stickyrouting.model.plan import Verdict
from stickyrouting.planner.cleaning import unmark
from stickyrouting.planner.drain import is_detached
from stickyrouting.planner.endpoints import holders
from stickyrouting.planner.moment import rfc3339
from stickyrouting.planner.switch import is_off, judge_operator, off, to_poke
from stickyrouting.watch.kinds import (
    ADMISSION_BINDING,
    LEASE,
    POD,
    POD_DISRUPTION_BUDGET,
    REPLICA_SET,
    STATEFUL_SET,
    STICKY_SERVICE,
    VALIDATING_WEBHOOK_CONFIGURATION,
    Kind,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the operator is: its namespace, its Lease, its policy and the configuration of its webhook (empty: none),
    the namespaces that it looks after (None: all).
    """

    namespace: str
    lease: str
    policy: str
    scopes: tuple[str | None, ...]
    webhook: str = ""


async def switch(kube: Kube, installed: Installation, limit: Duration, now_ms: int) -> Verdict:
    """Let pods go as Kubernetes does if no operator was there for longer than the limit; return what was found.

    Raises what the API raises, once all is tried.
    """
    lease = await _get(kube, LEASE, installed.namespace, installed.lease)
    binding = None if lease else await _get(kube, ADMISSION_BINDING, None, installed.policy)
    verdict = judge_operator(lease, binding, limit, now_ms)
    if not verdict.holds:
        return verdict
    run = _Run(kube, installed.scopes, now_ms)
    for kind, name in (
        (ADMISSION_BINDING, installed.policy),
        (VALIDATING_WEBHOOK_CONFIGURATION, installed.webhook),
    ):
        await _turn_off(run, kind, name, verdict)
    await _remove_budgets(run)
    await _poke(run)
    run.end()
    return verdict


async def clean(kube: Kube, scopes: Iterable[str | None], now_ms: int) -> int:
    """Leave nothing of ours that decides or blocks: budgets, marks on pods, pods that drain outside of their
    ReplicaSet, controllers that wait. Returns how many pods were written; raises what the API raises, once all is
    tried.
    """
    run = _Run(kube, tuple(scopes), now_ms)
    await _remove_budgets(run)
    going, marked = await _ours(run, await _existing(run))
    written = await run.write(kube.delete, going) + await run.write(kube.merge_patch, marked)
    await _poke(run)
    run.end()
    return written


@dataclass(slots=True)
class _Run:
    """One run in some namespaces: what fails is told and remembered, and the next thing is tried."""

    kube: Kube
    scopes: tuple[str | None, ...]
    now_ms: int
    failed: list[StickyError] = field(default_factory=list)

    async def pages(self, kind: Kind, labels: str = "") -> AsyncIterator[Sequence[Manifest]]:
        """Yield the objects of the namespaces page by page, for a cluster may have more than fit into memory; none of a
        kind that is gone. Keep little of a page.
        """
        for scope in self.scopes:
            try:
                async for page in self.kube.pages(kind.api_version, kind.kind, scope, labels):
                    yield page
            except NotFound:
                continue
            except (Refused, Unreachable) as error:
                self.note(f"{kind.plural} in {scope or 'all namespaces'}", error)

    async def write(
        self, call: Callable[[Manifest], Awaitable[object]], manifests: Iterable[Manifest]
    ) -> int:
        """Return how many writes were made; what changed or went meanwhile is somebody else's."""
        written = 0
        for manifest in manifests:
            try:
                await call(manifest)
                written += 1
            except (Changed, NotFound):
                continue
            except (Refused, Unreachable) as error:
                self.note(_named(manifest), error)
        return written

    def note(self, what: str, error: StickyError) -> None:
        """Tell of what is left to the next run."""
        log.warning("%s: %s; going on with the rest", what, error)
        self.failed.append(error)

    def end(self) -> None:
        """Raise the first failure."""
        if self.failed:
            raise self.failed[0]


async def _turn_off(run: _Run, kind: Kind, name: str, verdict: Verdict) -> None:
    """Turn off what the chart installed; somebody else's change of it at this moment is a failure too."""
    try:
        found = await _get(run.kube, kind, None, name)
        if found is not None and not is_off(found):
            await run.kube.merge_patch(off(found, run.now_ms))
            log.warning("%s: %s is turned off", verdict.message, name)
    except NotFound:
        return
    except (Changed, Refused, Unreachable) as error:
        run.note(f"{kind.kind} {name}", error)


async def _existing(run: _Run) -> Collection[tuple[str, str]] | None:
    """Return the StickyServices that exist by namespace and name, None if that is not known."""
    before = len(run.failed)
    found = {
        (one["metadata"]["namespace"], one["metadata"]["name"])
        async for page in run.pages(STICKY_SERVICE)
        for one in page
    }
    return found if len(run.failed) == before else None


async def _ours(
    run: _Run, existing: Collection[tuple[str, str]] | None
) -> tuple[list[Manifest], list[Manifest]]:
    """Return which pods to delete, and the patches of those to take our marks from.

    Of all pods: those whose StickyService does not hold them back bear annotations of ours and no label. While it is
    not known which StickyServices exist, pods keep what one may go on with.
    """
    going: list[Manifest] = []
    marked: list[Manifest] = []
    async for page in run.pages(POD):
        for found in page:
            pod = msgspec.convert(found, Pod)
            spared = [(pod.metadata.namespace, holder) for holder in holders(pod)]
            patch = unmark(pod, spared if existing is None else existing)
            if is_detached(pod) and not pod.leaving:
                going.append(_pinned(found))
            elif patch is not None:
                marked.append(patch)
    return going, marked


async def _get(kube: Kube, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
    return await kube.get(kind.api_version, kind.kind, namespace, name) if name else None


async def _remove_budgets(run: _Run) -> None:
    pages = run.pages(POD_DISRUPTION_BUDGET, names.MANAGED_SELECTOR)
    found = [_pinned(one) async for page in pages for one in page]
    await run.write(run.kube.delete, [one for one in found if one["metadata"]["name"] == names.HOLD_BUDGET])


async def _poke(run: _Run) -> None:
    for kind in (REPLICA_SET, STATEFUL_SET):
        # Written once all are read: the next page is not to be had for long.
        patches = [_poked(one, run.now_ms) async for page in run.pages(kind) for one in to_poke(page)]
        await run.write(run.kube.merge_patch, patches)


def _named(manifest: Manifest) -> str:
    meta = manifest["metadata"]
    return f"{manifest['kind']} {meta['namespace']}/{meta['name']}"


def _poked(workload: Mapping[str, Any], now_ms: int) -> Manifest:
    metadata = {**_pinned(workload)["metadata"], "annotations": {names.ANNOTATION_POKE: rfc3339(now_ms)}}
    return {**_pinned(workload), "metadata": metadata}


def _pinned(found: Mapping[str, Any]) -> Manifest:
    """Return a reference to this very life of an object."""
    metadata = {key: found["metadata"][key] for key in ("namespace", "name", "uid")}
    return {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": metadata}
