"""What HAProxy shall be, as one value: the files it starts from, and what its running workers shall hold.

Pure. What a worker was started with is part of the files: an entry of ``state.map`` that is never changed at
runtime carries it, so that it can be asked from the worker itself, whoever started it and whatever died since.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

from stickyrouting.agent.ending import Stage
from stickyrouting.model.desired import (
    DEFAULT_CLOSE_RATE,
    Desired,
    Placement,
    decode_desired,
    encode_desired,
)
from stickyrouting.model.errors import InvalidDesired
from stickyrouting.model.keys import KeySet
from stickyrouting.planner.placement import Load, Placed, Weights, place
from stickyrouting.planner.reload import balance_of
from stickyrouting.render.haproxy_cfg import render_config
from stickyrouting.render.haproxy_settings import ProxySettings
from stickyrouting.render.maps import (
    Gate,
    MapEntry,
    MapName,
    Serving,
    map_text,
    render_births,
    render_maps,
    render_pods,
)

STARTED_WITH = "started"

Maps = Mapping[MapName, tuple[MapEntry, ...]]


@dataclass(frozen=True, slots=True)
class Target:
    """The state to reach: desired endpoints, where births go, the maps, and how far the end has come.

    ``recovered``: ids of endpoints that turned ready since the target before, so that the kubelet has just found them
    well.
    """

    desired: Desired
    placed: Placed
    maps: Maps = field(repr=False)
    stage: Stage
    recovered: frozenset[int] = frozenset()

    @property
    def weights(self) -> Weights:
        """The weight of each endpoint's server."""
        return self.placed.weights


def make_target(
    desired: Desired,
    keys: KeySet,
    stage: Stage,
    placed: Placed | None = None,
    recovered: frozenset[int] = frozenset(),
) -> Target:
    """Derive the target; without ``placed`` nothing is known of any session. Raises InvalidDesired, InvalidKeys."""
    serving = Serving.OPEN if stage is Stage.SERVING else Serving.STOPPING
    placed = placed or place(desired.endpoints, desired.placement, Load())
    maps = {**render_maps(desired, keys, serving), MapName.BIRTHS: births_map(placed)}
    return with_former(Target(desired, placed, maps, stage, recovered), {}, keys)


def with_former(target: Target, former: Mapping[int, str], keys: KeySet) -> Target:
    """Return ``target`` with the names of its pods and of others, by server id, from which sessions may come."""
    listed = {endpoint.id: endpoint.name for endpoint in target.desired.endpoints}
    pods = render_pods({**former, **listed}.items(), keys)
    return replace(target, maps={**target.maps, MapName.PODS: pods})


def births_map(placed: Placed) -> tuple[MapEntry, ...]:
    """Return the content of ``births.map`` for the newest worker, and for one that starts."""
    return render_births(placed.slots, gate_of(placed), placed.spare)


def gate_of(placed: Placed) -> Gate:
    """Return whether births ask for a place first."""
    return Gate.GATED if placed.gated else Gate.OPEN


def render_files(target: Target, settings: ProxySettings) -> dict[str, str]:
    """Return path → content of every file that HAProxy starts from, in the order in which to write them.

    ``state.map`` comes last, because it says what HAProxy was started with: between the two writes it may say less
    than the configuration does (one reload too many), never more (settings that would never come into force).
    """
    maps = dict(target.maps)
    state = (*maps.pop(MapName.STATE), MapEntry(STARTED_WITH, _encode(target.desired)))
    files = {settings.map_path(name): map_text(entries) for name, entries in maps.items()}
    return {
        **files,
        settings.config: render_config(target.desired, target.weights, settings),
        settings.map_path(MapName.STATE): map_text(state),
    }


def with_settings(target: Target, old: Desired) -> Target:
    """Return ``target`` with its endpoints, limits and keys, but under the settings of ``old``."""
    new, algorithm = target.desired, old.placement.algorithm
    desired = msgspec.structs.replace(
        old,
        version=new.version,
        endpoints=new.endpoints,
        highest_id=new.highest_id,
        overdue=new.overdue,
        close_rate=new.close_rate,
        placement=msgspec.structs.replace(new.placement, algorithm=algorithm),
    )
    return replace(target, desired=desired)


def settings_of(desired: Desired) -> Desired:
    """Return a desired state without what changes at runtime."""
    placement = Placement(algorithm=balance_of(desired.placement.algorithm))
    return msgspec.structs.replace(
        desired,
        version=0,
        endpoints=(),
        highest_id=0,
        placement=placement,
        ends=(),
        overdue=(),
        close_rate=DEFAULT_CLOSE_RATE,
        fresh=False,
    )


def tells_state(state: tuple[MapEntry, ...]) -> bool:
    """Return whether a worker with this ``state.map`` tells the application of sessions, and so has ``pods.map``."""
    started = started_with(state)
    return started is not None and started.state_header is not None


def started_with(state: tuple[MapEntry, ...]) -> Desired | None:
    """Return the desired state, without endpoints, that a worker with this ``state.map`` was started with."""
    for key, value in state:
        if key == STARTED_WITH:
            return _decode(value)
    return None


def _encode(desired: Desired) -> str:
    return base64.urlsafe_b64encode(encode_desired(settings_of(desired))).decode()


def _decode(text: str) -> Desired | None:
    try:
        return decode_desired(base64.urlsafe_b64decode(text))
    except (InvalidDesired, binascii.Error):
        return None
