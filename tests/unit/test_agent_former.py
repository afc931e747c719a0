"""Names of pods that are gone stay known for as long as a session may come that was bound to one of them."""

from collections.abc import Mapping

import msgspec

from stickyrouting.agent import former
from stickyrouting.agent.ending import Stage
from stickyrouting.agent.former import Former
from stickyrouting.agent.running import Running, WorkerState
from stickyrouting.agent.target import Target, make_target, with_former
from stickyrouting.model.desired import Desired, Endpoint, EndpointState
from stickyrouting.model.keys import KeySet
from stickyrouting.render.maps import MapName

KEY = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM="
KEYS = KeySet("k1", {"k1": KEY}, KEY, ("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",))
IDLE = 600


def listing(*ids: int) -> Desired:
    pods = tuple(Endpoint(id_, f"shop-{id_}", "198.18.0.1", 8080, EndpointState.READY) for id_ in ids)
    return Desired(1, "demo", "shop", "STICKY", IDLE, 43200, 60, endpoints=pods)


def target(*ids: int, gone: Mapping[int, str]) -> Target:
    return with_former(make_target(listing(*ids), KEYS, Stage.SERVING), gone, KEYS)


def test_a_pod_that_goes_is_remembered_for_an_idle_time() -> None:
    memory = Former()
    assert memory.look(listing(1, 2), None, (), 0) == {}
    assert memory.look(listing(2), None, (), 100) == {1: "shop-1"}
    assert memory.look(listing(2), None, (), 100 + IDLE) == {1: "shop-1"}
    assert memory.look(listing(2), None, (), 101 + IDLE) == {}


def test_a_pod_that_sessions_are_still_bound_to_is_remembered_for_longer() -> None:
    memory = Former()
    memory.look(listing(1, 2), None, (), 0)
    memory.look(listing(), None, (1, 2), 0)
    assert memory.look(listing(), None, (2,), 10 * IDLE) == {2: "shop-2"}


def test_a_pod_that_is_listed_again_is_no_former_one() -> None:
    memory = Former()
    for listed, now in ((listing(1), 0), (listing(), 10), (listing(1), 20)):
        memory.look(listed, None, (), now)
    assert memory.look(listing(1), None, (), 30) == {}
    assert memory.look(listing(), None, (), 5 * IDLE) == {1: "shop-1"}


def test_a_new_agent_learns_the_names_from_the_haproxy_that_runs() -> None:
    held = target(1, 20, gone={3: "shop-3"}).maps
    running = Running(WorkerState(10, {}, held))
    memory = Former()
    assert memory.look(listing(20), running, (), 0) == {1: "shop-1", 3: "shop-3"}
    assert memory.look(listing(20), running, (), IDLE + 1) == {}


def test_of_too_many_the_last_that_went_are_remembered() -> None:
    memory = Former()
    memory.look(listing(*range(1, former.LIMIT + 3)), None, (), 0)
    memory.look(listing(*range(1, former.LIMIT + 1)), None, (), 1)
    found = memory.look(listing(), None, (), 2)
    assert len(found) == former.LIMIT
    assert {former.LIMIT + 1, former.LIMIT + 2} & set(found) == set()


def test_former_pods_stand_beside_the_listed_ones_by_id_and_by_every_hint_and_only_in_that_map() -> None:
    maps, without = target(7, gone={3: "shop-3"}).maps, target(7, gone={}).maps
    assert [entry.value for entry in maps[MapName.PODS]] == ["shop-3"] * 3 + ["shop-7"] * 3
    assert {name for name in MapName if maps[name] != without[name]} == {MapName.PODS}
    renamed = msgspec.structs.replace(listing(7).endpoints[0], name="shop-other")
    listed = msgspec.structs.replace(listing(), endpoints=(renamed,))
    again = with_former(make_target(listed, KEYS, Stage.SERVING), {7: "shop-7"}, KEYS)
    assert {entry.value for entry in again.maps[MapName.PODS]} == {"shop-other"}
