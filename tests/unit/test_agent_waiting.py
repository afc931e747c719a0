"""Who waits for a place is let in, in order; and how HAProxy's question and the answer are written."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stickyrouting.agent.gate import Doorkeeper
from stickyrouting.agent.waiting import (
    ANYWHERE,
    LEAVE,
    SETTLE_SECONDS,
    SILENT_SECONDS,
    WAIT,
    WaitingRoom,
)
from stickyrouting.haproxy.questions import Question, encode_place, encode_refusal, parse_question

# As HAProxy 3.0.11 asks: one question of type A, and an additional record (EDNS).
NAME = b"\x05abc-1\x00"
ASKED = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01" + NAME + b"\x00\x01\x00\x01"
EDNS = b"\x00\x00\x29\x20\x00\x00\x00\x00\x00\x00\x00"
RECORD = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04"


def test_a_question_is_read_and_a_place_is_an_address_that_is_the_servers_id() -> None:
    question = parse_question(ASKED + EDNS)
    assert question == Question(0x1234, NAME, NAME + b"\x00\x01\x00\x01")
    head = b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + NAME + b"\x00\x01\x00\x01" + RECORD
    assert encode_place(question, 0x01020304) == head + b"\x01\x02\x03\x04"
    assert encode_place(question, ANYWHERE) == head + b"\x00\x00\x00\x00"
    assert encode_refusal(question) == head + b"\xff\xff\xff\xff"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        ASKED[:11],
        ASKED[:2] + b"\x81\x80" + ASKED[4:],
        ASKED[:5] + b"\x02" + ASKED[6:],
        ASKED[:14],
        ASKED[:-1],
        ASKED[:12] + b"\xc0\x0c\x00\x01\x00\x01",
    ],
    ids=["nothing", "half a header", "an answer", "two questions", "half a name", "no class", "a pointer"],
)
def test_what_is_no_question_is_no_question(message: bytes) -> None:
    assert parse_question(message) is None


@given(st.binary(max_size=80))
def test_garbage_is_read_without_an_error(message: bytes) -> None:
    parse_question(message)


def test_places_are_given_in_the_order_of_the_questions_where_most_are_left() -> None:
    room = WaitingRoom()
    assert [room.ask(ticket, 0) for ticket in (b"a", b"b", b"c", b"d")] == [WAIT] * 4
    assert room.offer({7: 1, 8: 2}, 0.1) == {b"a": 8, b"b": 7, b"c": 8}
    assert room.offer({7: 1, 8: 2}, 0.2) == {}
    assert room.tickets == (b"d",)


def test_while_there_is_a_place_nobody_waits_and_nobody_overtakes_who_does() -> None:
    room = WaitingRoom()
    room.offer({7: 1}, 0)
    assert [room.ask(b"a", 0), room.ask(b"b", 0)] == [7, WAIT]
    room.offer({7: 0}, 0.1)
    room.places = {7: 5}
    assert room.ask(b"c", 0.2) == WAIT


def test_who_asks_again_keeps_its_turn_and_its_place() -> None:
    room = WaitingRoom()
    room.offer({7: 1}, 0)
    assert [room.ask(b"a", 0), room.ask(b"a", 1)] == [7, 7]
    assert [room.ask(b"b", 0), room.ask(b"c", 0), room.ask(b"b", 1)] == [WAIT] * 3
    assert room.tickets == (b"b", b"c")


def test_a_place_counts_as_taken_until_the_counts_tell_of_it_or_had_the_time_to() -> None:
    room = WaitingRoom()
    room.offer({7: 3}, 0)
    assert [room.ask(ticket, 0) for ticket in (b"a", b"b", b"c", b"d")] == [7, 7, 7, WAIT]
    # One came back: two places are left, and two are given. Nobody came back of the others: they were robots.
    assert room.offer({7: 2}, 1) == {}
    assert room.offer({7: 2}, SETTLE_SECONDS) == {b"d": 7}


def test_a_place_whose_birth_came_back_is_not_counted_twice() -> None:
    room = WaitingRoom()
    room.offer({7: 2, 8: 1}, 0)
    assert [room.ask(ticket, 0) for ticket in (b"a", b"b", b"c", b"d")] == [7, 7, 8, WAIT]
    assert room.offer({7: 1, 8: 1}, 0.1) == {}
    # A session ended there; and both that were given places on 7 are counted by now.
    assert room.offer({7: 0, 8: 2}, 0.2) == {b"d": 8}


def test_a_place_that_is_freed_on_a_server_without_any_is_given_at_once() -> None:
    room = WaitingRoom()
    room.offer({7: 1}, 0)
    assert [room.ask(ticket, 0) for ticket in (b"a", b"b")] == [7, WAIT]
    # It is full with the session that was let in, then one of its sessions ends.
    assert room.offer({}, 0.1) == {}
    assert room.offer({7: 1}, 0.2) == {b"b": 7}


def test_a_limit_that_is_gone_for_a_moment_tells_nothing_of_the_places_that_were_given() -> None:
    room = WaitingRoom()
    room.offer({7: 1}, 0)
    assert room.ask(b"a", 0) == 7
    room.offer(None, 0.1)
    room.offer({7: 1}, 0.2)
    assert room.ask(b"b", 0.2) == WAIT


def test_without_a_limit_all_enter_anywhere() -> None:
    room = WaitingRoom()
    assert room.ask(b"a", 0) == WAIT
    assert room.offer(None, 1) == {b"a": ANYWHERE}
    assert room.ask(b"b", 1) == ANYWHERE


def test_only_so_many_wait_and_who_has_stopped_asking_is_forgotten() -> None:
    room = WaitingRoom(limit=2)
    assert [room.ask(ticket, 0) for ticket in (b"a", b"b", b"c")] == [WAIT, WAIT, LEAVE]
    assert (room.take_refused(), room.take_refused()) == (1, 0)
    assert room.ask(b"b", 1) == WAIT
    room.offer({}, SILENT_SECONDS)
    assert room.tickets == (b"b",)


class Asker(asyncio.DatagramProtocol):
    """Sends what HAProxy sends, keeps what it gets."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, _: object) -> None:
        self.answers.put_nowait(data)


async def test_the_doorkeeper_answers_whom_it_should_and_keeps_nobody_who_is_gone() -> None:
    now = [0.0]
    keeper = Doorkeeper(WaitingRoom(limit=1), lambda: now[0])
    await keeper.listen("127.0.0.1:0")
    transport = keeper._transport
    assert transport is not None
    address = transport.get_extra_info("sockname")
    asker, other = Asker(), b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01b\x00\x00\x01\x00\x01"
    door, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: asker, remote_addr=address)
    for message in (b"garbage", ASKED, other):
        door.sendto(message)
    assert (await asyncio.wait_for(asker.answers.get(), 5))[-4:] == b"\xff\xff\xff\xff"
    keeper.offer({9: 1})
    assert (await asyncio.wait_for(asker.answers.get(), 5))[-4:] == b"\x00\x00\x00\x09"
    keeper.datagram_received(other, door.get_extra_info("sockname"))
    assert len(keeper.room.tickets) == 1
    now[0] = SILENT_SECONDS
    keeper.offer({})
    assert keeper._askers == {}
    door.close()
    keeper.close()
