"""One link without I/O: greeting, decision, messages; a replay, or anything out of turn, ends it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stickyrouting.affinity.entry import Entry
from stickyrouting.mesh.link import MAX_UNANSWERED, Broken, Established, Event, Link, Role
from stickyrouting.mesh.messages import (
    Address,
    Digest,
    Entries,
    Heartbeat,
    Hello,
    Leaving,
    Members,
    Message,
    Synced,
)
from stickyrouting.mesh.outbox import PORTION_BYTES, Outbox
from stickyrouting.mesh.wire import MAX_PAYLOAD_BYTES, encode

HELLO = Hello(7, 12, "shop-sticky-1", Address("10.0.0.1", 8444), ())
TALK: tuple[Message, ...] = (
    HELLO,
    Heartbeat(3),
    Digest(1, 2000, (5,) * 256),
    Entries((Entry(b"abc", 1, 2, 3),)),
    Members((Address("10.0.0.2", 8444),)),
    Synced(1),
    Leaving(),
)
STREAM = b"".join(map(encode, TALK))


def link(role: Role = Role.ACCEPTED) -> Link:
    """Return a link that has asked its first question."""
    found = Link(role)
    found.asked(1)
    return found


def hear(data: bytes, cuts: list[int]) -> list[Event]:
    heard, each = link(), sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [event for start, end in pairwise(each) for event in heard.receive(data[start:end])]


def test_the_end_that_dialed_decides_when_it_has_heard_the_greeting() -> None:
    assert link(Role.DIALED).receive(encode(HELLO)) == [HELLO, Established()]


def test_the_end_that_was_dialed_waits_for_the_decision() -> None:
    accepted = link(Role.ACCEPTED)
    assert accepted.receive(encode(HELLO)) == [HELLO]
    assert accepted.receive(encode(Heartbeat(1))) == [Established(), Heartbeat(1)]
    assert accepted.receive(encode(Heartbeat(2))) == [Heartbeat(2)]


@given(st.lists(st.integers(min_value=0), max_size=20))
def test_bytes_say_the_same_however_they_are_cut(cuts: list[int]) -> None:
    assert hear(STREAM, cuts) == [HELLO, Established(), *TALK[1:]]


@given(st.binary(max_size=300), st.integers(0, len(STREAM)), st.lists(st.integers(min_value=0), max_size=10))
def test_garbage_says_the_same_however_it_is_cut_and_never_raises(
    garbage: bytes, place: int, cuts: list[int]
) -> None:
    data = STREAM[:place] + garbage + STREAM[place:]
    assert hear(data, cuts) == hear(data, [])


def test_a_recorded_stream_that_is_played_again_ends_the_link() -> None:
    heard = link()
    heard.receive(STREAM)
    assert heard.receive(STREAM) == [Broken("Hello where no such message belongs")]
    assert heard.receive(STREAM) == []


def test_an_answer_that_is_played_again_ends_the_link() -> None:
    heard = link()
    assert heard.receive(encode(HELLO) + encode(Synced(1)))[-1] == Synced(1)
    assert heard.receive(encode(Synced(1))) == [
        Broken("an answer to digest 1, which was not asked or is answered already")
    ]


def test_an_answer_that_nobody_asked_for_ends_the_link() -> None:
    assert Link(Role.DIALED).receive(encode(HELLO) + encode(Synced(1)))[-1] == Broken(
        "an answer to digest 1, which was not asked or is answered already"
    )


def test_the_answer_to_a_newer_digest_is_that_to_all_older_ones() -> None:
    asked = link()
    asked.asked(2)
    asked.asked(3)
    assert asked.receive(encode(HELLO) + encode(Synced(2)))[-1] == Synced(2)
    assert asked.receive(encode(Synced(1)))[-1] != Synced(1)


def test_one_who_answers_nothing_is_not_asked_for_ever() -> None:
    asked = Link(Role.DIALED)
    for number in range(MAX_UNANSWERED):
        assert asked.askable
        asked.asked(number)
    assert not asked.askable
    asked.receive(encode(HELLO) + encode(Synced(MAX_UNANSWERED - 1)))
    assert asked.askable


@pytest.mark.parametrize("message", TALK[1:], ids=lambda message: type(message).__name__)
def test_nothing_comes_before_the_greeting(message: Message) -> None:
    name = type(message).__name__
    assert link().receive(encode(message)) == [Broken(f"{name} where no such message belongs")]


def test_no_more_is_kept_than_one_message() -> None:
    heard = link()
    heard.receive(encode(HELLO))
    size = MAX_PAYLOAD_BYTES.to_bytes(4) + b"\x03"
    for portion in (size, *(b"x" * 4096 for _ in range(255))):
        assert heard.receive(portion) == []
        assert heard.buffered <= MAX_PAYLOAD_BYTES
    assert isinstance(heard.receive(b"x" * 4096)[-1], Broken)
    assert heard.buffered == 0


def test_changes_overtake_the_slices_of_an_answer() -> None:
    outbox = Outbox()
    outbox.put_slice(b"slice")
    outbox.add(b"one")
    outbox.add(b"two")
    assert outbox.unsent == 6
    assert not outbox.takes_slice
    assert [outbox.take(), outbox.take(), outbox.take()] == [b"onetwo", b"slice", b""]
    assert outbox.unsent == 0
    assert outbox.takes_slice


def test_changes_go_out_in_portions_and_in_order() -> None:
    outbox, frames = Outbox(), [bytes([number]) * 30_000 for number in range(5)]
    for frame in frames:
        outbox.add(frame)
    portions = list(iter(outbox.take, b""))
    assert b"".join(portions) == b"".join(frames)
    assert max(map(len, portions)) < PORTION_BYTES + 30_000


def test_at_the_end_all_changes_go_out_and_half_an_answer_does_not() -> None:
    outbox = Outbox()
    outbox.put_slice(b"slice")
    outbox.add(b"one")
    outbox.add(b"two")
    assert outbox.rest() == b"onetwo"
    assert outbox.unsent == 0
