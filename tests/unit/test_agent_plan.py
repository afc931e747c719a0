"""What the agent tells HAProxy, as literal commands; when it reloads, and why it waits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from stickyrouting.agent.ending import Stage
from stickyrouting.agent.listed import is_listed, old_hints
from stickyrouting.agent.plan import Plan, make_plan, make_ready
from stickyrouting.agent.running import Running, Server, WorkerState
from stickyrouting.agent.steps import ReplaceMap, Step
from stickyrouting.agent.target import make_target, render_files, started_with
from stickyrouting.model.desired import (
    Algorithm,
    Desired,
    Endpoint,
    EndpointState,
    Overdue,
    Placement,
    Timeouts,
)
from stickyrouting.model.keys import KeySet
from stickyrouting.render.haproxy_settings import ProxySettings
from stickyrouting.render.maps import MapEntry, MapName

SETTINGS = ProxySettings()
ONE = Endpoint(1, "shop-1", "198.18.0.1", 8080, EndpointState.READY)
TWO = Endpoint(2, "shop-2", "198.18.0.2", 8080, EndpointState.READY)
THREE = Endpoint(3, "shop-3", "198.18.0.3", 8080, EndpointState.READY)
CHECK = "check inter 1000ms fastinter 1000ms fall 3 rise 1 observe layer4 error-limit 1 on-error fastinter"
PLACE_OF_THREE = f"198.18.0.3:8080 id 3 weight 0 {CHECK}"
K1 = KeySet(
    current="k1",
    keys={"k1": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="},
    hint_key="AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=",
)
K2 = KeySet("k2", {**K1.keys, "k2": "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="}, K1.hint_key)
H1, H2 = "cnqhk4TQnA3e4e2487", "e_uU_V-IUl610da4aa"
HIDDEN = f"hint.key:{K1.hint_key}"


def make_desired(*endpoints: Endpoint, **changes: Any) -> Desired:
    desired = Desired(
        version=5,
        namespace="demo",
        name="shop",
        cookie_name="STICKY",
        idle_seconds=1800,
        absolute_seconds=43200,
        termination_grace_seconds=3600,
        endpoints=endpoints,
    )
    return msgspec.structs.replace(desired, **changes)


def started(desired: Desired, keys: KeySet = K1, **changes: Any) -> WorkerState:
    """Return a worker as it is right after its start from the files of a desired state."""
    target = make_target(desired, keys, Stage.SERVING)
    files = render_files(target, SETTINGS)
    lines = {name: files[SETTINGS.map_path(name)].splitlines() for name in MapName}
    if not desired.state_header:
        del lines[MapName.PODS]
    fields: dict[str, Any] = {
        "pid": 10,
        "servers": {
            endpoint.id: Server(endpoint.address, endpoint.port, weight)
            for endpoint, (_, weight) in zip(desired.endpoints, target.weights, strict=True)
        },
        "maps": {name: tuple(MapEntry(*line.split(" ", 1)) for line in lines[name]) for name in lines},
    }
    return WorkerState(**{**fields, **changes})


def plan(
    desired: Desired,
    *workers: WorkerState,
    keys: KeySet = K1,
    stage: Stage = Stage.SERVING,
    recovered: frozenset[int] = frozenset(),
) -> Plan:
    newest, *old = workers
    target = make_target(desired, keys, stage, None, recovered)
    return make_plan(target, Running(newest, tuple(old)), SETTINGS)


def words(steps: Sequence[Step]) -> list[str]:
    return [_word(step) for step in steps]


def _word(step: Step) -> str:
    if isinstance(step, ReplaceMap) and step.name is MapName.BIRTHS:
        slots = Counter(entry.value for entry in step.entries if entry.key.isdigit())
        spare = [f"spare:{entry.value}" for entry in step.entries if entry.key == "spare"]
        return " ".join(["births.map =", *(f"{id_}x{count}" for id_, count in slots.items()), *spare])
    if isinstance(step, ReplaceMap):
        return f"{step.name.value} = {' '.join(f'{key}:{value}' for key, value in step.entries)}"
    return step.text


def commands(found: Plan) -> Mapping[int, list[str]]:
    return {worker.pid: words((*worker.steps, *worker.removals)) for worker in found.workers}


def test_a_worker_that_is_as_it_shall_be_is_left_alone() -> None:
    desired = make_desired(ONE, TWO)
    assert plan(desired, started(desired)) == Plan(workers=())


def test_a_new_endpoint_gets_its_server_before_its_hints_and_these_before_its_first_birth() -> None:
    after = make_desired(ONE, TWO, highest_id=2)
    assert commands(plan(after, started(make_desired(ONE, highest_id=1)))) == {
        10: [
            f"add server app/s2 198.18.0.2:8080 id 2 weight 0 {CHECK}",
            "enable health app/s2",
            "enable server app/s2",
            f"hint2id.map = {H1}:1 {H2}:2",
            f"id2hint.map = 1:{H1} 2:{H2} highest:2",
            "births.map = 1x128 2x128",
            "set server app/s2 weight 256",
        ]
    }


def test_a_crash_between_adding_and_enabling_is_repaired() -> None:
    desired = make_desired(ONE)
    enabled, born = ["enable health app/s1", "enable server app/s1"], "set server app/s1 weight 256"
    halfway = started(desired, servers={1: Server(ONE.address, ONE.port, 0, maint=True)})
    assert commands(plan(desired, halfway)) == {10: [*enabled, born]}
    listed_again = started(desired, servers={1: Server(ONE.address, ONE.port, 64, maint=True)})
    assert commands(plan(desired, listed_again)) == {10: ["set server app/s1 weight 0", *enabled, born]}
    without_weight = started(desired, servers={1: Server(ONE.address, ONE.port, 0)})
    assert commands(plan(desired, without_weight)) == {10: [born]}


@pytest.mark.parametrize("state", [EndpointState.UNREADY, EndpointState.DRAINING])
def test_an_endpoint_that_takes_no_births_keeps_its_server_with_weight_zero(state: EndpointState) -> None:
    changed = msgspec.structs.replace(TWO, state=state)
    assert commands(plan(make_desired(ONE, changed), started(make_desired(ONE, TWO)))) == {
        10: ["births.map = 1x256 spare:2", "set server app/s2 weight 0"]
    }


def test_an_endpoint_that_turns_ready_takes_births_before_the_proxys_own_next_check() -> None:
    unready = msgspec.structs.replace(TWO, state=EndpointState.UNREADY)
    before, after = started(make_desired(ONE, unready)), make_desired(ONE, TWO)
    taken = ["births.map = 1x128 2x128", "set server app/s2 weight 256"]
    assert commands(plan(after, before)) == {10: taken}
    assert commands(plan(after, before, recovered=frozenset({2, 9}))) == {
        10: [*taken, "set server app/s2 health up"]
    }


def test_where_nobody_goes_on_taking_births_weights_rise_before_they_fall() -> None:
    unready = msgspec.structs.replace(TWO, state=EndpointState.UNREADY)
    leaving = msgspec.structs.replace(ONE, state=EndpointState.DRAINING)
    assert commands(plan(make_desired(leaving, TWO), started(make_desired(ONE, unready))))[10][1:] == [
        "set server app/s2 weight 256",
        "set server app/s1 weight 0",
    ]


def test_in_an_old_worker_who_takes_births_without_a_weight_there_is_the_spare() -> None:
    unready = msgspec.structs.replace(TWO, state=EndpointState.UNREADY)
    leaving = msgspec.structs.replace(ONE, state=EndpointState.DRAINING)
    after, old = make_desired(leaving, TWO), started(make_desired(ONE, unready), pid=7, accepts=False)
    assert commands(plan(after, started(after), old)) == {7: ["births.map = 2x256 spare:2"]}


def test_an_endpoint_that_goes_is_unlisted_leaves_service_and_is_deleted_when_nothing_is_in_flight() -> None:
    before, after = started(make_desired(ONE, TWO)), make_desired(ONE)
    assert commands(plan(after, before)) == {
        10: [
            f"hint2id.map = {H1}:1",
            f"id2hint.map = 1:{H1}",
            "births.map = 1x256",
            "set server app/s2 state maint",
            "del server app/s2",
        ]
    }
    in_flight = {**before.servers, 2: Server(TWO.address, TWO.port, 256, maint=True)}
    assert commands(plan(after, started(after, servers=in_flight))) == {10: ["del server app/s2"]}


def test_what_goes_makes_way_before_what_comes_unless_nobody_else_serves() -> None:
    draining = msgspec.structs.replace(TWO, state=EndpointState.DRAINING)
    running = started(make_desired(ONE, TWO))
    stays = commands(plan(make_desired(ONE, draining, THREE), running))[10]
    assert stays[0] == f"add server app/s3 {PLACE_OF_THREE}"
    assert stays[6:] == ["set server app/s2 weight 0", "set server app/s3 weight 256"]
    replaced = commands(plan(make_desired(THREE), running))[10]
    assert replaced[6:] == [
        "set server app/s3 weight 256",
        "set server app/s1 state maint",
        "set server app/s2 state maint",
        "del server app/s1",
        "del server app/s2",
    ]


def test_a_worker_forgets_where_servers_were_that_are_no_endpoints_any_more() -> None:
    desired = make_desired(ONE)
    old = started(desired, pid=7, known=frozenset({1, 3}))
    newest = started(desired, known=frozenset({2, 1}))
    assert commands(plan(desired, newest, old)) == {
        10: ["clear table ids key 2"],
        7: ["clear table ids key 3"],
    }


def test_a_worker_that_tells_of_sessions_knows_the_name_of_each_pod_before_its_first_birth() -> None:
    before, after = (make_desired(*pods, state_header="X-State") for pods in ((ONE,), (ONE, TWO)))
    found = commands(plan(after, started(before)))[10]
    assert found[5] == f"pods.map = 1:shop-1 hint/{H1}:shop-1 2:shop-2 hint/{H2}:shop-2"
    assert found[6:] == ["births.map = 1x128 2x128", "set server app/s2 weight 256"]
    assert commands(plan(after, started(after))) == {}


def test_a_worker_that_tells_nothing_has_no_map_of_names() -> None:
    found = plan(make_desired(ONE, TWO, state_header="X-State"), started(make_desired(ONE)))
    assert not [word for word in commands(found)[10] if word.startswith("pods.map")]
    assert found.reload == ("state header",)


def test_an_endpoint_that_is_somewhere_else_now_stays_in_service_there() -> None:
    moved = msgspec.structs.replace(TWO, address="198.18.0.9", port=9090)
    found = plan(make_desired(ONE, moved), started(make_desired(ONE, TWO)))
    assert commands(found) == {10: ["set server app/s2 addr 198.18.0.9 port 9090"]}


def test_state_map_which_tells_the_settings_is_written_after_the_configuration_that_has_them() -> None:
    files = render_files(make_target(make_desired(ONE), K1, Stage.SERVING), SETTINGS)
    assert [path.rpartition("/")[2] for path in files] == [
        "hint2id.map",
        "id2hint.map",
        "keys.map",
        "overdue.map",
        "stopping.map",
        "births.map",
        "pods.map",
        "haproxy.cfg",
        "state.map",
    ]


def test_an_address_written_in_another_way_is_the_same_place() -> None:
    six = msgspec.structs.replace(ONE, address="2001:DB8:0::1")
    worker = started(make_desired(six), servers={1: Server("2001:db8::1", 8080, 256)})
    assert plan(make_desired(six), worker) == Plan(workers=())


def test_a_new_key_is_accepted_before_it_signs() -> None:
    desired = make_desired(ONE)
    found = plan(desired, started(desired), keys=K2)
    assert words(found.workers[0].steps) == [
        f"keys.map = k1:{K2.keys['k1']} k2:{K2.keys['k2']} {HIDDEN}",
        "set map /run/sticky/state.map signing k2",
    ]
    assert found.reload == ()


def test_a_key_that_signed_goes_only_once_another_one_signs() -> None:
    desired, alone = make_desired(ONE), KeySet("k2", {"k2": K2.keys["k2"]}, K2.hint_key)
    found = plan(desired, started(desired), keys=alone)
    assert words(found.workers[0].steps) == [
        f"keys.map = k2:{K2.keys['k2']} {HIDDEN} k1:{K1.keys['k1']}",
        "set map /run/sticky/state.map signing k2",
        f"keys.map = k2:{K2.keys['k2']} {HIDDEN}",
    ]


def test_old_workers_are_told_keys_and_hints_but_nothing_of_servers_which_they_would_refuse() -> None:
    before, after = make_desired(ONE), make_desired(TWO)
    found = plan(after, started(after, K2), started(before, pid=7, accepts=False), keys=K2)
    assert commands(found) == {
        7: [
            f"keys.map = k1:{K2.keys['k1']} k2:{K2.keys['k2']} {HIDDEN}",
            "set map /run/sticky/state.map signing k2",
            "hint2id.map = ",
            "id2hint.map = highest:1",
            "births.map =",
        ]
    }


def test_the_maps_of_an_old_worker_name_only_servers_that_it_serves() -> None:
    before = started(make_desired(ONE, TWO, highest_id=2), pid=7, accepts=False)
    grown = make_desired(ONE, TWO, THREE, highest_id=3)
    assert words(plan(grown, started(grown), before).workers[0].steps) == ["births.map = 1x127 2x129"]
    shrunk = make_desired(ONE, THREE, highest_id=3)
    less = [f"hint2id.map = {H1}:1", f"id2hint.map = 1:{H1} highest:2", "births.map = 1x256"]
    assert commands(plan(shrunk, started(shrunk), before)) == {7: less}


@pytest.mark.parametrize("told", [0, 1, 9])
def test_an_old_worker_takes_no_endpoint_that_it_lacks_for_one_that_is_gone(told: int) -> None:
    servers = {1: Server(ONE.address, ONE.port, 256), 3: Server(THREE.address, THREE.port, 0, maint=True)}
    old = started(make_desired(ONE, highest_id=told), pid=7, accepts=False, servers=servers)
    grown = make_desired(ONE, TWO, THREE, highest_id=9)
    target = make_target(grown, K1, Stage.SERVING)
    hints = old_hints(target, old)
    assert hints[MapName.ID2HINT] == (("1", H1), ("highest", "1"))
    assert hints[MapName.HINT2ID] == ((H1, "1"),)
    alone = make_target(make_desired(ONE, highest_id=9), K1, Stage.SERVING)
    assert old_hints(alone, replace(old, maps={**old.maps, **hints}))[MapName.ID2HINT][1:] == (
        ("highest", "1"),
    )


@pytest.mark.parametrize("algorithm", Algorithm)
def test_old_workers_give_births_by_slots_alone_among_the_servers_that_they_have(
    algorithm: Algorithm,
) -> None:
    draining = msgspec.structs.replace(ONE, state=EndpointState.DRAINING)
    after = make_desired(draining, TWO, THREE, placement=Placement(algorithm))
    old = started(make_desired(ONE, TWO, placement=Placement(algorithm)), pid=7, accepts=False)
    assert commands(plan(after, started(after), old))[7][-1] == "births.map = 2x256 spare:1"


def test_a_setting_that_runtime_commands_cannot_change_is_a_reload_with_its_reason() -> None:
    before, after = make_desired(ONE), make_desired(ONE, timeouts=Timeouts(connect=500))
    assert plan(after, started(before)) == Plan(workers=(), reload=("timeouts",))


def test_a_haproxy_that_somebody_else_started_is_reloaded() -> None:
    worker = started(make_desired(ONE))
    foreign = {**worker.maps, MapName.STATE: worker.maps[MapName.STATE][:1]}
    found = plan(make_desired(ONE), started(make_desired(ONE), maps=foreign))
    assert found.reload == ("not started from this agent's files",)


def test_a_reload_waits_until_the_worker_can_teach_its_successor() -> None:
    before, after = make_desired(ONE), make_desired(ONE, idle_seconds=60)
    found = plan(after, started(before, refilled=False))
    assert (found.reload, found.postponed) == ((), "the session table is not complete yet")


def test_a_reload_waits_while_two_old_workers_live() -> None:
    before, after = make_desired(ONE), make_desired(ONE, idle_seconds=60)
    old = [started(before, pid=pid) for pid in (7, 5)]
    assert plan(after, started(before), old[0]).reload == ("idle time",)
    assert plan(after, started(before), *old).postponed == "2 old workers still serve connections"


def test_a_proxy_that_ends_says_so_closes_its_frontend_and_is_not_reloaded() -> None:
    desired = make_desired(ONE)
    leaving = plan(desired, started(desired), stage=Stage.LEAVING)
    assert commands(leaving) == {10: ["stopping.map = 1:stopping"]}
    closing = plan(make_desired(ONE, idle_seconds=60), started(desired), stage=Stage.CLOSING)
    assert commands(closing) == {10: ["stopping.map = 1:stopping", "disable frontend fe"]}
    assert (closing.reload, closing.postponed) == ((), "the proxy is ending")
    closed = started(desired, accepts=False)
    assert commands(plan(desired, closed, stage=Stage.CLOSING)) == {10: ["stopping.map = 1:stopping"]}


def test_readiness_is_one_word_in_a_table_of_the_worker() -> None:
    assert words(make_ready(started(make_desired())).steps) == ["set table ctl key ready data.gpt0 1"]


def test_a_worker_tells_what_it_was_started_with() -> None:
    desired = make_desired(ONE, idle_seconds=77)
    assert started_with(started(desired).maps[MapName.STATE]) == msgspec.structs.replace(
        desired, version=0, endpoints=(), placement=Placement(Algorithm.ROUND_ROBIN)
    )
    assert started_with((MapEntry("started", "?"),)) is None


def test_what_a_list_is_too_old_for_counts_as_listed() -> None:
    found = make_desired(TWO, highest_id=3)
    assert [is_listed(found, id_) for id_ in (1, 2, 3, 4)] == [False, True, False, True]
    assert not is_listed(make_desired(TWO), 4)


def test_an_overdue_server_counts_as_listed_only_while_all_endpoints_are_overdue() -> None:
    one, both = (Overdue(ONE.id, 1),), (Overdue(ONE.id, 1), Overdue(TWO.id, 1))
    found = [is_listed(make_desired(ONE, TWO, overdue=over), ONE.id) for over in ((), one, both)]
    assert found == [True, False, True]
