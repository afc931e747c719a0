"""Key slots: the immutable Secrets that give proxies their cookie keys and certificates.

The operator may create and delete Secrets but not read them; whether a slot exists is asked by a dry-run create.
"""

import base64
import datetime as dt
import secrets

import msgspec

from stickyrouting.apply.ports import Ports
from stickyrouting.kube.client import Admission
from stickyrouting.model import keys, names
from stickyrouting.model.errors import Changed
from stickyrouting.model.observed import Identity, Observed
from stickyrouting.planner.conditions import live_proxies
from stickyrouting.render.owner import Manifest, metadata

RECHECK_SECONDS = 5.0


async def ensure_slot(observed: Observed, ports: Ports) -> None:
    """Make a key slot if there is none: looked at once per object, and while a proxy is silent or has no keys.

    A proxy without keys can't speak: that others, with keys of a slot that somebody deleted, do so says nothing.
    """
    owner, now = observed.identity, ports.clock.monotonic()
    looked = ports.memory.slots.get(owner.uid)
    reports = [proxy.report for proxy in live_proxies(observed)]
    missing = not reports or any(report is None or report.generation == 0 for report in reports)
    if looked is not None and (now - looked < RECHECK_SECONDS or not missing):
        return
    if not await _exists(owner, ports):
        await _create(owner, 1 + max((report.generation for report in reports if report), default=0), ports)
    ports.memory.slots[owner.uid] = now


async def _exists(owner: Identity, ports: Ports) -> bool:
    """Either slot will do: the other one takes over when keys are replaced."""
    for slot in keys.SLOTS:
        try:
            await ports.kube.create(_manifest(owner, slot, {}), Admission.DRY_RUN)
        except Changed:
            return True
    return False


async def _create(owner: Identity, generation: int, ports: Ports) -> None:
    moment = dt.datetime.fromtimestamp(ports.clock.epoch_ms() / 1000, tz=dt.UTC)
    leaf = ports.authority.issue(names.proxy_identity(owner.key.namespace, owner.key.name), moment)
    # Never the id of a former key: proxies that still have that one would take every new cookie for forged.
    key_id = f"k{secrets.token_hex(4)}"
    key_set = keys.KeySet(current=key_id, keys={key_id: _random_key()}, hint_key=_random_key())
    content = {
        keys.GENERATION_FILE: str(generation).encode(),
        keys.KEYS_FILE: msgspec.json.encode(key_set),
        keys.CERTIFICATE_FILE: leaf.certificate,
        keys.PRIVATE_KEY_FILE: leaf.private_key,
        keys.AUTHORITY_FILE: ports.authority.pem,
    }
    try:
        await ports.kube.create(_manifest(owner, keys.SLOTS[0], content))
    except Changed:
        return


def _manifest(owner: Identity, slot: str, content: dict[str, bytes]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "immutable": True,
        "metadata": metadata(owner, names.key_slot(owner.key.name, slot)),
        "data": {file: base64.b64encode(data).decode() for file, data in content.items()},
    }


def _random_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()
