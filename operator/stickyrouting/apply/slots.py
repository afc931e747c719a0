"""Key slots: the Secrets that give proxies their cookie keys and certificates.

The operator may create and delete Secrets but not read them; whether a slot exists is asked by a dry-run create.
They are not ``immutable``: a kubelet never looks again at an immutable Secret that a running pod has mounted, so that
one made anew under its name would not reach the proxies (seen on Kubernetes 1.35).
"""

import base64
import logging
from typing import NamedTuple

import msgspec

from stickyrouting.apply.cookie_keys import derive_keys
from stickyrouting.apply.ports import Ports
from stickyrouting.kube.client import Admission
from stickyrouting.model import keys, names
from stickyrouting.model.errors import Changed, NotFound
from stickyrouting.model.observed import Identity, Observed
from stickyrouting.planner.conditions import live_proxies
from stickyrouting.planner.renewal import Demand, Need, Written, judge_slots
from stickyrouting.render.owner import Manifest, metadata

RECHECK_SECONDS = 5.0
log = logging.getLogger(__name__)


async def ensure_slot(observed: Observed, wanted: keys.SlotKeys, ports: Ports) -> None:
    """Write a key slot if one is missing, its certificate ends, or the newest does not hold the ``wanted`` keys.

    Asked for once per object and when proxies need it. Raises what the API raises; nothing is deleted unless its
    successor is admitted and the other slot is there.
    """
    owner, now = observed.identity, ports.clock.monotonic()
    memory = ports.memory
    looked = memory.looked.get(owner.uid)
    moment = _now_s(ports)
    demand = judge_slots(live_proxies(observed), memory.written.get(owner.uid), moment, wanted)
    if looked is not None and (now - looked < RECHECK_SECONDS or demand.need is Need.NOTHING):
        return
    slot = await _wanting(demand, owner, ports)
    if slot is not None:
        await _write(_Writing(slot, demand, wanted, moment), owner, ports)
    memory.looked[owner.uid] = now


class _Writing(NamedTuple):
    """A slot to write. Its generation is of the ``moment`` (epoch seconds) at which it was decided.

    So what an operator decided long ago, and writes when it wakes up, is no newer than what others wrote meanwhile.
    """

    slot: str
    demand: Demand
    wanted: keys.SlotKeys
    moment: int


async def _wanting(demand: Demand, owner: Identity, ports: Ports) -> str | None:
    """Return the slot to write: the one that is missing, or for a renewal the older one."""
    newest = keys.slot_of(demand.newest) if demand.newest else keys.SLOTS[0]
    if not await _exists(owner, newest, ports):
        lacking = demand.need in (Need.THE_NEWEST, Need.RENEWAL) or not await _exists(
            owner, keys.other_slot(newest), ports
        )
        return newest if lacking else None
    return keys.other_slot(newest) if demand.need is Need.RENEWAL else None


async def _exists(owner: Identity, slot: str, ports: Ports, content: dict[str, bytes] | None = None) -> bool:
    """Raises Refused if the slot with this content would not be admitted."""
    try:
        await ports.kube.create(_manifest(owner, slot, content or {}), Admission.DRY_RUN)
    except Changed:
        return True
    return False


async def _write(writing: _Writing, owner: Identity, ports: Ports) -> None:
    slot, demand, wanted, now_s = writing
    generation = keys.next_generation(slot, demand.newest, now_s)
    content = _content(generation, wanted, owner, ports)
    if await _exists(owner, slot, ports, content):
        await _delete(owner, slot, ports)
    try:
        await ports.kube.create(_manifest(owner, slot, content))
    except Changed:
        return
    written = Written(generation, now_s + keys.LEAF_SECONDS, now_s, wanted)
    ports.memory.written[owner.uid] = written
    log.info("%s: key slot %s written, generation=%d: %s", owner.key, slot, generation, demand.reason)


async def _delete(owner: Identity, slot: str, ports: Ports) -> None:
    try:
        await ports.kube.delete(_manifest(owner, slot, {}))
    except NotFound:
        return


def _content(generation: int, wanted: keys.SlotKeys, owner: Identity, ports: Ports) -> dict[str, bytes]:
    identity = names.proxy_identity(owner.key.namespace, owner.key.name)
    leaf = ports.authority.issue(identity, ports.clock.moment())
    return {
        keys.GENERATION_FILE: str(generation).encode(),
        keys.KEYS_FILE: msgspec.json.encode(derive_keys(ports.authority, owner, wanted)),
        keys.CERTIFICATE_FILE: leaf.certificate,
        keys.PRIVATE_KEY_FILE: leaf.private_key,
        keys.AUTHORITY_FILE: ports.authority.pem,
    }


def _manifest(owner: Identity, slot: str, content: dict[str, bytes]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": metadata(owner, names.key_slot(owner.key.name, slot)),
        "data": {file: base64.b64encode(data).decode() for file, data in content.items()},
    }


def _now_s(ports: Ports) -> int:
    return ports.clock.epoch_ms() // 1000
