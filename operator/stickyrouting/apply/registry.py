"""The StickyServices that exist, as last heard of: fed by watch events, by sweeps and by our own status writes."""

from collections.abc import Iterator, Mapping
from typing import Any

from stickyrouting.model.observed import Identity, Key

Raw = Mapping[str, Any]
REMEMBERED_DEAD = 1000


class Registry:
    """Newest known body of each StickyService. An older body never replaces a newer one of the same object."""

    def __init__(self) -> None:
        self._bodies: dict[Key, Raw] = {}
        self._dead: dict[str, None] = {}

    def upsert(self, body: Raw) -> bool:
        """Take a body, unless a newer one of it is known or it is dead; return whether it is news."""
        key = key_of(body)
        known = self._bodies.get(key)
        if _uid(body) in self._dead:
            return False
        if known is not None and _uid(known) == _uid(body) and _version(known) > _version(body):
            return False
        self._bodies[key] = body
        return known is None or (_uid(known), _version(known)) != (_uid(body), _version(body))

    def bury(self, key: Key, uid: str) -> None:
        """Forget an object whose deletion was told; a list that was asked for before does not bring it back."""
        self.remove(key, uid)
        self._dead[uid] = None
        if len(self._dead) > REMEMBERED_DEAD:
            del self._dead[next(iter(self._dead))]

    def remove(self, key: Key, uid: str) -> None:
        """Forget an object; another object of the same name stays."""
        known = self._bodies.get(key)
        if known is not None and _uid(known) == uid:
            del self._bodies[key]

    def get(self, key: Key) -> Raw | None:
        """Return the newest body, or None if there is no such StickyService."""
        return self._bodies.get(key)

    def known(self) -> tuple[Key, ...]:
        """Return which StickyServices are known."""
        return tuple(self._bodies)

    def uids(self) -> frozenset[str]:
        """Return the uids of those that are known."""
        return frozenset(map(_uid, self._bodies.values()))

    def naming(self, namespace: str, service: str) -> tuple[Key, ...]:
        """Return the StickyServices of a namespace that name a Service."""
        bodies = ((k, b) for k, b in self._bodies.items() if k.namespace == namespace)
        return tuple(key for key, body in bodies if identity_of(body).service == service)

    def rivals(self, identity: Identity) -> tuple[Identity, ...]:
        """Return the other StickyServices of the namespace that name the same Service."""
        return tuple(self._rivals(identity))

    def _rivals(self, identity: Identity) -> Iterator[Identity]:
        for key, body in self._bodies.items():
            if key.namespace != identity.key.namespace or key == identity.key:
                continue
            other = identity_of(body)
            if other.service == identity.service and not body["metadata"].get("deletionTimestamp"):
                yield other


def key_of(body: Raw) -> Key:
    """Return which StickyService a body is."""
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])


def identity_of(body: Raw) -> Identity:
    """Return how others see a StickyService; a spec without a Service's name gives an empty one."""
    meta = body["metadata"]
    service = (body.get("spec") or {}).get("service") or {}
    return Identity(
        key=key_of(body),
        uid=meta["uid"],
        generation=int(meta.get("generation", 0)),
        created=meta.get("creationTimestamp", ""),
        service=str(service.get("name", "")) if isinstance(service, Mapping) else "",
    )


def _uid(body: Raw) -> str:
    return str(body["metadata"]["uid"])


def _version(body: Raw) -> int:
    text = str(body["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0
