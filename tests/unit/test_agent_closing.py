"""Connections of pods whose deadline has passed are closed at a pace that all proxies share."""

import pytest

from stickyrouting.agent.closing import Pace, find_long, overdue_here
from stickyrouting.haproxy.session_commands import ShowStreams, Stream
from stickyrouting.model.desired import Endpoint, EndpointState, Overdue
from unit.builders import make_desired

TUNNEL = (
    "0x7f692fa83000: proto=tcpv4 src=127.0.0.1:43258 fe=fe be=app srv=s17 ts=00 epoch=0 age=1h2m calls=3 rate=0 cpu=0"
    " lat=0 rq[f=848001h,i=0,an=00h,ax=] rp[f=80048001h,i=0,an=00h,ax=] scf=[8,1000h,fd=13,rex=59m58s,wex=]"
    " scb=[8,1011h,fd=14,rex=59m58s,wex=] exp=0s rc=0 c_exp=\n"
)
REQUEST = TUNNEL.replace("0x7f692fa83000", "0x7f692fa83001").replace(
    "rp[f=80048001h,i=0,an=00h", "rp[f=1h,i=0,an=8000h"
)
CLI = "0x7f692fa83400: proto=unix_stream src=unix:1 fe=GLOBAL be=<NONE> srv=<none> ts=404 epoch=0 age=0s calls=1\n"


def closings(seconds: int, waiting: int, rate: int, proxies: int) -> list[int]:
    """Return how many of those ``waiting`` go in each second."""
    pace, found = Pace(), []
    for _ in range(seconds):
        count, pace = pace.after(1.0, rate, proxies).take(waiting)
        waiting -= count
        found.append(count)
    return found


@pytest.mark.parametrize(
    ("rate", "proxies", "found"),
    [
        (10, 1, [10, 10, 10, 0]),
        (10, 2, [5, 5, 5, 5]),
        (10, 3, [3, 3, 3, 3]),
        (1, 2, [0, 1, 0, 1]),
        (1000, 1, [30, 0, 0, 0]),
        (0, 1, [0, 0, 0, 0]),
    ],
)
def test_each_proxy_takes_its_part_of_the_pace(rate: int, proxies: int, found: list[int]) -> None:
    assert closings(4, 30, rate, proxies) == found


def test_a_part_that_is_no_whole_number_is_made_good_within_seconds() -> None:
    assert sum(closings(60, 1000, 1, 3)) == 20
    assert max(closings(60, 1000, 1, 3)) == 1


def test_what_was_not_used_is_not_saved_up() -> None:
    pace = Pace()
    for _ in range(60):
        pace = pace.after(1.0, 10, 1)
    assert pace.take(100)[0] == 10


def test_a_stall_is_not_made_good_in_one_wave() -> None:
    assert Pace().after(60.0, 10, 1).take(100)[0] == 10


def test_connections_in_progress_are_read_with_server_age_and_whether_they_are_tunnels() -> None:
    assert ShowStreams("app").parse(TUNNEL + REQUEST + CLI) == (
        Stream("0x7f692fa83000", "s17", 3720, tunnel=True),
        Stream("0x7f692fa83001", "s17", 3720, tunnel=False),
    )


def stream(pointer: str, server: str, age: int, *, tunnel: bool) -> Stream:
    return Stream(pointer, server, age, tunnel)


def test_tunnels_and_what_takes_long_are_closed_and_no_plain_request_nor_another_servers() -> None:
    found = {
        10: (
            stream("ws", "s1", 5, tunnel=True),
            stream("plain", "s1", 59, tunnel=False),
            stream("events", "s1", 60, tunnel=False),
            stream("other", "s11", 99, tunnel=True),
        ),
        9: (stream("old", "s1", 1, tunnel=True),),
    }
    assert find_long(found, {1}) == [(9, "old"), (10, "events"), (10, "ws")]


def test_only_servers_that_are_still_there_are_looked_at() -> None:
    listed = tuple(Endpoint(id_, "a", "198.18.0.1", 80, EndpointState.DRAINING) for id_ in (1, 3))
    desired = make_desired(endpoints=listed, overdue=(Overdue(1, 5), Overdue(2, 5)))
    assert overdue_here(desired) == {1}


def test_while_every_pod_is_overdue_nothing_is_closed_for_there_is_nowhere_to_go() -> None:
    both = tuple(Endpoint(id_, "a", "198.18.0.1", 80, EndpointState.DRAINING) for id_ in (1, 2))
    assert overdue_here(make_desired(endpoints=both, overdue=(Overdue(1, 5), Overdue(2, 5)))) == frozenset()
    assert overdue_here(make_desired(endpoints=both, overdue=(Overdue(1, 5),))) == {1}
