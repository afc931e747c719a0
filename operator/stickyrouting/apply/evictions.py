"""Answers to those who evict pods, of any replica: all it needs is read live, for each attempt.

Law: nobody is refused because of an error of ours. An attempt that is refused is recorded on the pod, from which its
drain begins; where that is forbidden the attempt passes, for nothing would ever come of it.
"""

import asyncio
import logging

import msgspec

from stickyrouting.apply.ports import Clock
from stickyrouting.kube.client import Kube
from stickyrouting.model import names
from stickyrouting.model.errors import Changed, NotFound, Refused, StickyError, Unreachable
from stickyrouting.model.objects import Pod
from stickyrouting.model.plan import Verdict
from stickyrouting.model.review import ReviewRequest, ReviewResponse, allow, refuse
from stickyrouting.planner.endpoints import holders
from stickyrouting.planner.evictions import Holder, holder_of, is_to_be_noted, judge_eviction, may_be_held
from stickyrouting.planner.moment import rfc3339

ANSWER_SECONDS = 1.5
"""The API server waits for two, and lets the eviction pass then."""
log = logging.getLogger(__name__)


class Evictions:
    """Judges attempts to evict pods."""

    def __init__(self, kube: Kube, clock: Clock) -> None:
        self._kube = kube
        self._clock = clock

    async def answer(self, request: ReviewRequest) -> ReviewResponse:
        """Return the answer to an attempt, within ``ANSWER_SECONDS``; never raises an error of ours."""
        if not request.is_eviction:
            return allow(request)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._answer(request)
        except (StickyError, TimeoutError, msgspec.ValidationError) as error:
            why = str(error) or type(error).__name__
            log.warning("the eviction of pod %s passes: it can't be judged: %s", _place(request), why)
            return allow(request)

    async def _answer(self, request: ReviewRequest) -> ReviewResponse:
        found = await self._kube.get("v1", "Pod", request.namespace, request.pod_name)
        if found is None:
            return allow(request)
        pod, now = msgspec.convert(found, Pod), self._clock.epoch_ms()
        verdict = may_be_held(pod)
        if not verdict.holds:
            verdict = judge_eviction(pod, await self._holders(pod), now)
        if verdict.holds:
            return allow(request)
        if not request.is_dry and is_to_be_noted(pod, now):
            await self._note(pod, verdict, now)
        return refuse(request, verdict.message)

    async def _holders(self, pod: Pod) -> list[Holder]:
        namespace = pod.metadata.namespace
        bodies = await asyncio.gather(
            *(self._kube.get(names.API_VERSION, names.KIND, namespace, name) for name in holders(pod))
        )
        present = (body for body in bodies if body is not None)
        return [holder_of(body, pod) for body in present if not body["metadata"].get("deletionTimestamp")]

    async def _note(self, pod: Pod, verdict: Verdict, now_ms: int) -> None:
        """Record an attempt on this life of a pod; raises :class:`Refused`; what else fails comes again."""
        meta = pod.metadata
        log.info("an eviction of pod %s/%s is refused: %s", meta.namespace, meta.name, verdict.message)
        metadata = {
            "namespace": meta.namespace,
            "name": meta.name,
            "uid": meta.uid,
            "annotations": {names.ANNOTATION_EVICTED: rfc3339(now_ms)},
        }
        try:
            await self._kube.merge_patch({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
        except Refused:
            raise
        except (Changed, NotFound, Unreachable) as error:
            log.warning("the attempt is not recorded on pod %s/%s: %s", meta.namespace, meta.name, error)


def _place(request: ReviewRequest) -> str:
    return f"{request.namespace}/{request.pod_name}"
