"""Which of several connections of a pair becomes the link: both ends must come to the same answer."""

from types import SimpleNamespace
from typing import cast

import pytest

from stickyrouting.mesh.conversation import Conversation
from stickyrouting.mesh.errors import Reason
from stickyrouting.mesh.link import Role
from stickyrouting.mesh.links import Links
from stickyrouting.mesh.pace import Pace
from stickyrouting.mesh.transport import Connection

LOW, HIGH = 3, 8


def connection(role: Role, peer: int) -> Connection:
    """Return what is looked at of a new connection."""
    return cast(
        Connection, SimpleNamespace(link=SimpleNamespace(role=role), peer=SimpleNamespace(instance=peer))
    )


class Talk:
    """What is looked at of a link, and why it was ended."""

    def __init__(self, role: Role, peer: int, age: float = 0.0) -> None:
        self.role, self.age, self.peer = role, age, SimpleNamespace(instance=peer)
        self.ended: list[Reason] = []

    def end(self, reason: Reason, message: str) -> None:
        self.ended.append(reason)


def links(own: int, *talks: Talk) -> Links:
    found = Links(own, Pace())
    for talk in talks:
        found.put(cast(Conversation, talk))
    return found


@pytest.mark.parametrize("role", Role)
def test_the_first_connection_of_a_pair_is_wanted_and_one_with_oneself_never(role: Role) -> None:
    assert links(LOW, Talk(role, 5)).is_wanted(connection(role, HIGH))
    assert not links(LOW).is_wanted(connection(role, LOW))


@pytest.mark.parametrize("own", [LOW, HIGH])
@pytest.mark.parametrize("role", Role)
def test_who_dialed_leaves_a_link_alone_that_came_about_meanwhile(own: int, role: Role) -> None:
    peer = LOW + HIGH - own
    assert not links(own, Talk(role, peer)).is_wanted(connection(Role.DIALED, peer))


def test_of_two_that_dial_at_once_both_keep_the_connection_of_the_smaller_id() -> None:
    assert not links(LOW, Talk(Role.DIALED, HIGH)).is_wanted(connection(Role.ACCEPTED, HIGH))
    assert links(HIGH, Talk(Role.DIALED, LOW)).is_wanted(connection(Role.ACCEPTED, LOW))


@pytest.mark.parametrize("own", [LOW, HIGH])
def test_who_dials_again_has_lost_its_link_whoever_made_it(own: int) -> None:
    peer = LOW + HIGH - own
    again = connection(Role.ACCEPTED, peer)
    assert links(own, Talk(Role.ACCEPTED, peer)).is_wanted(again)
    assert links(own, Talk(Role.DIALED, peer, age=3.1)).is_wanted(again)


def test_a_link_that_is_replaced_ends_and_its_end_removes_nothing() -> None:
    old, new = Talk(Role.DIALED, HIGH), Talk(Role.ACCEPTED, HIGH)
    both = links(LOW, old, new)
    assert old.ended == [Reason.REPLACED]
    assert not both.remove(cast(Conversation, old))
    assert both.remove(cast(Conversation, new))
    assert not both
