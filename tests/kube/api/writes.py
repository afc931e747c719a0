"""What each writing verb does to the store: checks, metadata, owners, then one change or none.

A write that changes nothing makes no new version, as on the real server. Dry runs do everything but store.
"""

import copy
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from stickyrouting.watch.kinds import NAMESPACE

from .errors import ApiError, conflict, not_found
from .garbage import collect
from .merge import Manifest, merge_applied, merge_patch
from .ownership import Fields, Owners, changed, disputed, fields_of, released, without
from .store import Place, Store

_NO_UID = "uid mismatch: the provided object specified uid {}, and no existing object was found"
_OTHER_UID = "the UID in the precondition ({}) does not match the UID in record ({})"
_OTHER_VERSION = "the object has been modified; please apply your changes to the latest version and try again"


@dataclass(frozen=True)
class Options:
    """What a request asks for besides its body."""

    manager: str = "unknown"
    subresource: str | None = None
    dry_run: bool = False
    force: bool = False

    @property
    def applier(self) -> str:
        """The owner of what is applied: each manager has one entry per operation and subresource."""
        return " ".join(filter(None, (self.manager, "applying", self.subresource)))

    @property
    def updater(self) -> str:
        """The owner of what is created, updated or patched."""
        return " ".join(filter(None, (self.manager, "updating", self.subresource)))


@dataclass
class Writes:
    """The writing verbs on one store; ``now`` gives creation times."""

    store: Store
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def create(self, place: Place, manifest: Manifest, options: Options) -> Manifest:
        """Add an object; refused if the name is taken or its namespace is going."""
        if self.store.find(place):
            raise ApiError(409, "AlreadyExists", f'{place.kind.plural} "{place.name}" already exists')
        body = {key: value for key, value in manifest.items() if key != "status"}
        return self._add(place, body, {options.updater: fields_of(body)}, options)

    def update(self, place: Place, manifest: Manifest, options: Options) -> Manifest:
        """Replace an object, or only its status."""
        live = self._live(place)
        self._check(place, live, manifest)
        return self._edit(place, live, manifest, options)

    def merge(self, place: Place, patch: Manifest, options: Options) -> Manifest:
        """Apply a JSON merge patch."""
        live = self._live(place)
        self._check(place, live, patch)
        return self._edit(place, live, merge_patch(live, patch), options)

    def apply(self, place: Place, manifest: Manifest, options: Options) -> Manifest:
        """Apply a configuration: set its fields, remove those that the manager no longer sets."""
        live = self.store.find(place)
        self._check(place, live, manifest)
        manager = options.applier
        applied = _part(manifest, options)
        if live is None:
            if options.subresource:
                raise not_found(place.kind.plural, place.name)
            return self._add(place, applied, {manager: fields_of(applied)}, options)
        owners = self._take(place, live, applied, manager, options)
        dropped = self.store.owners(place).get(manager, frozenset()) - fields_of(applied)
        orphaned = dropped - frozenset().union(*(own for who, own in owners.items() if who != manager))
        new = merge_applied(without(live, Fields(orphaned)), applied)
        return self._commit(place, live, new, owners, options)

    def delete(self, place: Place, body: Manifest, options: Options) -> Manifest:
        """Remove an object and, in the background, what only it owned; finalizers keep it as terminating."""
        live = self._live(place)
        wanted = body.get("preconditions") or {}
        if wanted.get("uid", live["metadata"]["uid"]) != live["metadata"]["uid"]:
            why = _OTHER_UID.format(wanted["uid"], live["metadata"]["uid"])
            raise conflict(place.kind.plural, place.name, why)
        self._check(place, live, {"metadata": wanted})
        if options.dry_run:
            return live
        return self.discard(place)

    def discard(self, place: Place) -> Manifest:
        """Remove an object without asking."""
        live = self._live(place)
        if live["metadata"].get("finalizers"):
            metadata = {**live["metadata"]}
            metadata.setdefault("deletionTimestamp", self._stamp())
            return self.store.write(place, {**live, "metadata": metadata})
        gone = self.store.remove(place)
        for orphan in collect(self.store, place, gone):
            self.discard(orphan)
        return gone

    def put(self, manifest: Manifest) -> Manifest:
        """Create or replace an object as a test gives it, status included, without checks."""
        place = self.store.place_of(manifest)
        live = self.store.find(place)
        metadata = {**(live or self._birth(manifest))["metadata"], **manifest["metadata"]}
        new = {**copy.deepcopy(manifest), "metadata": copy.deepcopy(metadata)}
        return self.store.write(place, _generation(live, new))

    def _add(self, place: Place, body: Manifest, owners: Owners, options: Options) -> Manifest:
        home = self.store.find(Place(NAMESPACE, "", place.namespace)) if place.namespace else None
        if home and home["metadata"].get("deletionTimestamp"):
            why = (
                f"unable to create new content in namespace {place.namespace} because it is being terminated"
            )
            message = f'{place.kind.plural} "{place.name}" is forbidden: {why}'
            raise ApiError(403, "Forbidden", message, "metadata.namespace")
        born = _generation(None, self._birth(copy.deepcopy(body)))
        born["metadata"].setdefault("name", place.name)
        return born if options.dry_run else self.store.write(place, born, owners)

    def _edit(self, place: Place, live: Manifest, wanted: Manifest, options: Options) -> Manifest:
        part = _part(wanted, options)
        rest = {"status": live["status"]} if "status" in live else {}
        new = {**live, "status": wanted.get("status")} if options.subresource else {**part, **rest}
        touched = changed(live, new)
        owners = released(self.store.owners(place), options.updater, touched)
        owners[options.updater] = owners.get(options.updater, frozenset()) | (touched & fields_of(new))
        return self._commit(place, live, new, owners, options)

    def _take(
        self, place: Place, live: Manifest, applied: Manifest, manager: str, options: Options
    ) -> Owners:
        owners = self.store.owners(place)
        quarrels = disputed(owners, manager, applied, live)
        if quarrels and not options.force:
            others = ", ".join(sorted(quarrels))
            raise ApiError(409, "Conflict", f"Apply failed with conflicts with {others}")
        lost = frozenset().union(*quarrels.values()) if quarrels else frozenset()
        return {**released(owners, manager, Fields(lost)), manager: fields_of(applied)}

    def _commit(
        self, place: Place, live: Manifest, new: Manifest, owners: Owners, options: Options
    ) -> Manifest:
        kept = {key: live["metadata"][key] for key in _SYSTEM if key in live["metadata"]}
        new = _generation(live, {**new, "metadata": {**new["metadata"], **kept}})
        if options.dry_run:
            return new
        if new == live:
            self.store.own(place, owners)
            return live
        written = self.store.write(place, new, owners)
        meta = written["metadata"]
        if meta.get("deletionTimestamp") and not meta.get("finalizers"):
            return self.discard(place)
        return written

    def _live(self, place: Place) -> Manifest:
        live = self.store.find(place)
        if live is None:
            raise not_found(place.kind.plural, place.name)
        return live

    def _check(self, place: Place, live: Manifest | None, wanted: Manifest) -> None:
        meta = wanted.get("metadata") or {}
        uid, version = meta.get("uid"), meta.get("resourceVersion")
        if live is None:
            if uid:
                raise conflict(place.kind.plural, place.name, _NO_UID.format(uid))
            return
        if uid and uid != live["metadata"]["uid"]:
            why = f'{place.kind.kind} "{place.name}" is invalid: metadata.uid: Invalid value: "{uid}"'
            raise ApiError(422, "Invalid", f"{why}: field is immutable", "metadata.uid")
        if version and version != live["metadata"]["resourceVersion"]:
            raise conflict(place.kind.plural, place.name, _OTHER_VERSION)

    def _birth(self, manifest: Manifest) -> Manifest:
        metadata = {**manifest["metadata"], "uid": _uid(), "creationTimestamp": self._stamp()}
        if "name" not in metadata and "generateName" in metadata:
            metadata["name"] = metadata["generateName"] + secrets.token_hex(3)
        return {**manifest, "metadata": metadata}

    def _stamp(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")


_SYSTEM = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "generation",
)


def _uid() -> str:
    digits = secrets.token_hex(16)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _part(manifest: Manifest, options: Options) -> Manifest:
    """Return what a write to the object, or to its subresource, may set at all."""
    if options.subresource:
        kept = {"apiVersion", "kind", options.subresource}
        return {key: value for key, value in manifest.items() if key in kept} | {"metadata": {}}
    return {key: value for key, value in manifest.items() if key != "status"}


def _generation(live: Manifest | None, new: Manifest) -> Manifest:
    """Count generations of the spec, for the kinds that have one."""
    if "spec" not in new:
        return new
    last = live["metadata"].get("generation", 1) if live else 0
    same = live is not None and live.get("spec") == new.get("spec")
    return {**new, "metadata": {**new["metadata"], "generation": last if same else last + 1}}
