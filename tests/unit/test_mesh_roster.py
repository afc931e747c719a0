"""Who belongs to the mesh, when to dial whom, and when a new agent has heard all."""

from random import Random
from types import SimpleNamespace
from typing import cast

import pytest

from stickyrouting.mesh.conversation import Conversation
from stickyrouting.mesh.joining import Joining
from stickyrouting.mesh.messages import LEAST_BUCKETS, MOST_BUCKETS, Address, Hello
from stickyrouting.mesh.pace import Pace
from stickyrouting.mesh.questions import buckets_for
from stickyrouting.mesh.roster import MAX_MEMBERS, Membership, Roster

SELF, PACE = 1, Pace()
OWN, A, B = (Address(f"10.0.0.{number}", 8444) for number in range(3))


@pytest.fixture
def roster() -> Roster:
    return Roster(SELF, OWN, PACE, Random(4))


def hello(instance: int, address: Address) -> Hello:
    return Hello(instance, 0, f"p{instance}", address, ())


def link(roster: Roster, instance: int, address: Address, now: float = 0.0) -> None:
    roster.linked(address, hello(instance, address), now)


def test_everybody_but_oneself_is_dialed_at_once(roster: Roster) -> None:
    roster.name([OWN, A], 0.0)
    roster.hear([OWN, B], 0.0)
    assert roster.due(0.0) == [A, B]
    assert len(roster) == 2


def test_nobody_is_dialed_twice_at_the_same_time(roster: Roster) -> None:
    roster.name([A], 0.0)
    assert roster.due(0.0) == [A]
    assert roster.due(100.0) == []


def test_who_does_not_answer_is_dialed_ever_more_slowly_but_never_given_up(roster: Roster) -> None:
    roster.name([A], 0.0)
    now, waits = 0.0, []
    for _ in range(12):
        start = now
        while not roster.due(now):
            now += 0.01
        waits.append(now - start)
        roster.failed(A, now)
    assert waits[0] == 0.0
    assert 0.09 <= waits[1] <= 0.21
    assert all(0.99 <= wait <= 2.01 for wait in waits[6:])


def test_who_is_linked_is_not_dialed_and_at_once_again_when_lost(roster: Roster) -> None:
    roster.name([A], 0.0)
    link(roster, 2, A)
    assert roster.due(50.0) == []
    roster.lost(A, 50.0)
    assert roster.due(50.2) == [A]


def test_two_addresses_of_one_agent_are_one_member_with_one_link(roster: Roster) -> None:
    roster.name([A, B], 0.0)
    assert roster.due(0.0) == [A, B]
    roster.answered(A, 2, 0.0)
    link(roster, 2, A)
    roster.answered(B, 2, 0.0)
    assert len(roster) == 1
    assert roster.due(50.0) == []
    roster.lost(A, 50.0)
    assert roster.due(52.0) == [A, B]


def test_an_address_that_leads_to_oneself_is_no_member(roster: Roster) -> None:
    roster.name([A], 0.0)
    assert roster.due(0.0) == [A]
    roster.answered(A, SELF, 0.0)
    assert len(roster) == 0
    assert roster.due(100.0) == []


def test_who_is_away_and_no_longer_named_is_forgotten_after_a_minute(roster: Roster) -> None:
    roster.name([A], 0.0)
    link(roster, 2, A)
    roster.lost(A, 100.0)
    roster.name([], 100.0)
    assert not roster.forget(159.9)
    assert len(roster) == 1
    assert roster.forget(160.0)
    assert len(roster) == 0


def test_who_is_named_or_linked_is_not_forgotten(roster: Roster) -> None:
    roster.name([A], 0.0)
    link(roster, 3, B)
    assert not roster.forget(1000.0)
    assert len(roster) == 2


def test_who_says_goodbye_is_no_member_but_is_looked_for_while_named(roster: Roster) -> None:
    roster.name([A], 0.0)
    link(roster, 2, A)
    roster.gone(A, 10.0)
    assert len(roster) == 0
    assert roster.due(11.0) == []
    assert roster.due(12.0) == [A]
    link(roster, 4, A)
    assert len(roster) == 1


def test_who_says_goodbye_and_is_not_named_is_forgotten_at_once(roster: Roster) -> None:
    link(roster, 2, A)
    roster.gone(A, 10.0)
    roster.forget(10.0)
    assert roster.due(1000.0) == []


def test_there_is_no_end_of_addresses_but_of_members(roster: Roster) -> None:
    roster.hear([Address(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 1) for n in range(5000)], 0.0)
    assert len(roster) == MAX_MEMBERS


def test_where_membership_is_fixed_only_those_are_dialed_that_the_seeds_name() -> None:
    roster = Roster(SELF, OWN, PACE, Random(4), Membership.FIXED)
    roster.name([A], 0.0)
    roster.hear([B], 0.0)
    assert roster.due(0.0) == [A]
    link(roster, 3, B)
    assert len(roster) == 2
    roster.lost(B, 1.0)
    assert roster.due(50.0) == []


def fake(in_step: bool, idle: float) -> Conversation:
    """Return what joining looks at of a conversation."""
    return cast(Conversation, SimpleNamespace(in_step=in_step, idle=idle))


def look(roster: Roster, links: dict[int, Conversation], seeded: bool = True) -> list[float]:
    """Return when an agent that starts at 0 takes itself for joined."""
    joining = Joining(PACE, started=0.0, seeded=seeded)
    return [at / 2 for at in range(200) if joining.look(roster, links, at / 2)]


def test_an_agent_without_others_is_joined_at_once(roster: Roster) -> None:
    assert look(roster, {}) == [0.0]


def test_an_agent_that_was_not_told_of_others_waits_ten_seconds_for_their_names(roster: Roster) -> None:
    assert look(roster, {}, seeded=False) == [10.0]


def test_an_agent_that_could_not_start_yet_is_not_joined(roster: Roster) -> None:
    assert not Joining(PACE, seeded=True).look(roster, {}, 1000.0)


def test_who_can_not_be_reached_is_waited_for_five_seconds(roster: Roster) -> None:
    roster.name([A], 0.0)
    assert look(roster, {}) == [5.0]


def test_who_is_in_step_is_not_waited_for(roster: Roster) -> None:
    link(roster, 2, A)
    assert look(roster, {2: fake(True, 0.0)}) == [0.0]


def test_a_transfer_that_makes_progress_is_waited_for_a_minute(roster: Roster) -> None:
    link(roster, 2, A)
    assert look(roster, {2: fake(False, 0.5)}) == [60.0]


def test_a_transfer_that_stands_still_is_not_waited_for(roster: Roster) -> None:
    link(roster, 2, A)
    assert look(roster, {2: fake(False, 16.0)}) == [0.0]


def test_once_joined_an_agent_stays_so(roster: Roster) -> None:
    joining = Joining(PACE, started=0.0, seeded=True)
    assert joining.look(roster, {}, 0.0)
    roster.name([A], 1.0)
    assert not joining.look(roster, {}, 1.0)
    assert joining.joined


@pytest.mark.parametrize(
    ("size", "buckets"),
    [(0, LEAST_BUCKETS), (4000, 256), (10_000, 1024), (1_000_000, 65536), (10**9, MOST_BUCKETS)],
)
def test_a_larger_map_is_compared_in_more_buckets(size: int, buckets: int) -> None:
    assert buckets_for(size) == buckets
