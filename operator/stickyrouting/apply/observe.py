"""All reads of one loop, into one frozen value."""

from collections.abc import Iterator
from typing import Any

import msgspec

from stickyrouting.apply.ends import asked_of, standing_ends
from stickyrouting.apply.ports import Ports
from stickyrouting.apply.registry import Raw, identity_of
from stickyrouting.apply.rotation import rotate_of, standing_keys, with_keys
from stickyrouting.model import names
from stickyrouting.model.desired import DESIRED_KEY, Desired, decode_desired
from stickyrouting.model.errors import InvalidDesired
from stickyrouting.model.objects import EndpointSlice, Pod
from stickyrouting.model.observed import Key, Observed
from stickyrouting.planner.endpoints import MAX_ID, parse_server_id
from stickyrouting.render.configmap import BOOK_KEY


def observe(body: Raw, ports: Ports) -> Observed:
    """Return one StickyService and its surroundings as the caches and the agents' last reports show them."""
    identity, keys = identity_of(body), standing_keys(body)
    key, caches = identity.key, ports.caches
    near = keys.epoch if keys else 0
    slices = tuple(caches.slices_of[key.namespace, identity.service])
    desired = _desired(ports, key)
    book = _book(ports, key)
    return Observed(
        identity=identity,
        rivals=ports.registry.rivals(identity),
        service=caches.services.get(key.namespace, identity.service),
        slices=slices,
        pods={pod.metadata.uid: pod for pod in _pods(slices, ports)},
        desired=desired,
        book=book,
        highest_id=_highest_id(ports, key.namespace, desired, book),
        replicas=_replicas(ports, key),
        proxies=tuple(
            with_keys(ports.agents.view(pod), identity, near, ports) for pod in _proxies(ports, key)
        ),
        asked=asked_of(body),
        ends=standing_ends(body),
        keys=keys,
        rotate=rotate_of(body),
    )


def _pods(slices: tuple[EndpointSlice, ...], ports: Ports) -> Iterator[Pod]:
    for piece in slices:
        for listed in piece.endpoints or ():
            ref = listed.target_ref
            pod = ports.caches.pods.get(piece.metadata.namespace, ref.name) if ref else None
            if ref is not None and pod is not None and pod.metadata.uid == ref.uid:
                yield pod


def _proxies(ports: Ports, key: Key) -> list[Pod]:
    return sorted(ports.caches.proxies_of[key.namespace, key.name], key=lambda pod: pod.metadata.name)


def _child_data(ports: Ports, key: Key, name: str) -> dict[str, str]:
    child: dict[str, Any] | None = ports.caches.children["ConfigMap"].get(key.namespace, name)
    return (child or {}).get("data") or {}


def _desired(ports: Ports, key: Key) -> Desired | None:
    text = _child_data(ports, key, names.child(key.name)).get(DESIRED_KEY)
    if text is None:
        return None
    try:
        return decode_desired(text)
    except InvalidDesired:
        return None


def _book(ports: Ports, key: Key) -> dict[str, int]:
    text = _child_data(ports, key, names.address_book(key.name)).get(BOOK_KEY, "{}")
    try:
        found = msgspec.json.decode(text, type=dict[str, int])
    except msgspec.DecodeError:
        return {}
    return {place: server_id for place, server_id in found.items() if 0 < server_id <= MAX_ID}


def _highest_id(ports: Ports, namespace: str, desired: Desired | None, book: dict[str, int]) -> int:
    recorded = (
        parse_server_id(pod.metadata.annotations[names.ANNOTATION_SERVER_ID])
        for pod in ports.caches.bound_by_namespace[namespace]
    )
    written = [desired.highest_id, *(e.id for e in desired.endpoints)] if desired else []
    # What no id can be was written by foreign hands: it must not use up the ids of the namespace.
    listed = [server_id for server_id in written if server_id <= MAX_ID]
    planned = ports.memory.highest_ids.get(namespace, 0)
    highest: int = max([planned, *(r.id for r in recorded if r), *listed, *book.values()])
    return highest


def _replicas(ports: Ports, key: Key) -> int | None:
    deployment: dict[str, Any] | None = ports.caches.children["Deployment"].get(
        key.namespace, names.child(key.name)
    )
    replicas = ((deployment or {}).get("spec") or {}).get("replicas")
    return replicas if isinstance(replicas, int) else None
