"""The record of the signing key: read from status, held against the proxies, confirmed before it says more."""

import functools
import logging

import msgspec

from stickyrouting.apply.cookie_keys import KeyIds, key_id, see_keys
from stickyrouting.apply.ports import Ports
from stickyrouting.apply.registry import Raw
from stickyrouting.model import names
from stickyrouting.model.errors import StickyError
from stickyrouting.model.observed import Identity, Observed, ProxyView
from stickyrouting.model.plan import Plan, Rotation
from stickyrouting.model.status import KeyPhase, KeyStatus
from stickyrouting.watch.kinds import POD, STICKY_SERVICE

ENDED = ("Succeeded", "Failed")
log = logging.getLogger(__name__)


def rotate_of(body: Raw) -> str:
    """Return the annotation that asks for another key, empty if there is none."""
    return str((body["metadata"].get("annotations") or {}).get(names.ANNOTATION_ROTATE_KEYS, ""))


def standing_keys(body: Raw) -> KeyStatus | None:
    """Return what the status in a body records of keys; an unreadable record counts as absent."""
    try:
        return msgspec.convert((body.get("status") or {}).get("keys"), type=KeyStatus | None)
    except msgspec.ValidationError:
        return None


def with_keys(view: ProxyView, owner: Identity, near: int, ports: Ports) -> ProxyView:
    """Return a proxy with the keys that its report tells, as epochs."""
    ids = ports.memory.key_ids.setdefault(
        owner.uid, KeyIds(functools.partial(key_id, ports.authority, owner))
    )
    return msgspec.structs.replace(view, keys=see_keys(view.report, ids, near))


async def settle(plan: Plan, observed: Observed, ports: Ports) -> Plan:
    """Return the plan with the record that may be written: no step that the API server's own answers speak against."""
    if plan.rotation is None:
        return plan
    before, after = plan.rotation.before, plan.rotation.after
    if after.phase is not before.phase:
        if await _is_confirmed(plan.rotation, observed, ports):
            log.info("%s: keys epoch=%d phase=%s", observed.identity.key, after.epoch, after.phase)
        else:
            after = before
    after = msgspec.structs.replace(after, id=key_id(ports.authority, observed.identity, after.epoch))
    return msgspec.structs.replace(plan, rotation=msgspec.structs.replace(plan.rotation, after=after))


async def _is_confirmed(rotation: Rotation, observed: Observed, ports: Ports) -> bool:
    """Ask the API server itself: caches may lack a proxy, or a step that another operator recorded."""
    try:
        if rotation.after.phase is not KeyPhase.PREPARING and not await _are_all(observed, ports):
            return False
        return await _is_newest(observed, ports)
    except StickyError as error:
        log.warning("%s: a step of the key rotation waits: %s", observed.identity.key, error)
        return False


async def _are_all(observed: Observed, ports: Ports) -> bool:
    key = observed.identity.key
    selector = ",".join(f"{name}={value}" for name, value in names.selector_labels(key.name).items())
    listed = await ports.kube.list(POD.api_version, POD.kind, key.namespace, selector)
    seen = {view.pod.metadata.uid for view in observed.proxies}
    running = [pod for pod in listed if (pod.get("status") or {}).get("phase") not in ENDED]
    return all(pod["metadata"]["uid"] in seen for pod in running)


async def _is_newest(observed: Observed, ports: Ports) -> bool:
    namespace, uid = observed.identity.key.namespace, observed.identity.uid
    listed = await ports.kube.list(STICKY_SERVICE.api_version, STICKY_SERVICE.kind, namespace)
    return any(body["metadata"]["uid"] == uid and standing_keys(body) == observed.keys for body in listed)
