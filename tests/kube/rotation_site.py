"""What tests of key rotation ask of the API server in memory, of its status and of its proxies."""

from kube.api.journal import Call
from kube.api.server import ApiServer
from kube.loop_site import (
    AUTHORITY,
    Manifest,
    Site,
    by_operator,
)
from kube.slot_site import Proxy, hear
from stickyrouting.apply.cookie_keys import derive_keys
from stickyrouting.apply.registry import identity_of
from stickyrouting.model.keys import KeySet, SlotKeys
from stickyrouting.planner.rotation import PROPAGATION_SECONDS
from stickyrouting.watch.kinds import STICKY_SERVICE

HOLD_MS = (1800 + PROPAGATION_SECONDS) * 1000


def request(api: ApiServer, value: str) -> None:
    """Annotate the StickyService as ``kubectl sticky keys rotate`` does."""
    live = api.get(STICKY_SERVICE, "demo", "shop")
    notes = {"stickyrouting.io/rotate-keys": value}
    api.put({**live, "metadata": {**live["metadata"], "annotations": notes}})


def keys_of(api: ApiServer) -> Manifest:
    """Return what status tells of the keys."""
    found: Manifest = api.get(STICKY_SERVICE, "demo", "shop")["status"]["keys"]
    return found


def phase(api: ApiServer) -> tuple[int, str]:
    found = keys_of(api)
    return found["epoch"], found["phase"]


def derived(api: ApiServer, *epochs: int) -> KeySet:
    """Return the keys of some epochs, the first of which signs."""
    owner = identity_of(api.get(STICKY_SERVICE, "demo", "shop"))
    return derive_keys(AUTHORITY, owner, SlotKeys(epochs[0], tuple(sorted(epochs))))


def message(api: ApiServer) -> str:
    conditions = api.get(STICKY_SERVICE, "demo", "shop")["status"]["conditions"]
    found: str = next(c["message"] for c in conditions if c["type"] == "KeysCurrent")
    return found


async def follow(site: Site, *all_proxies: Proxy) -> None:
    """Let the kubelets mount what there is, and the operator hear of it."""
    for proxy in all_proxies:
        proxy.sync()
    site.now_ms += 1000
    await hear(site, *all_proxies)


def rings(*all_proxies: Proxy) -> list[tuple[str, set[str]]]:
    return [(p.keyring.keys.current, set(p.keyring.keys.keys)) for p in all_proxies]


def understand_each_other(one: Proxy, two: Proxy) -> bool:
    """Whether each accepts what the other signs."""
    accepted = one.keyring.keys.keys.keys() & two.keyring.keys.keys.keys()
    return {one.keyring.keys.current, two.keyring.keys.current} <= accepted


def slot_calls(api: ApiServer) -> list[Call]:
    return [call for call in api.journal.writes() if by_operator(call) and call.resource == "secrets"]
