"""Bytes between agents: what one says the other hears, however the bytes are cut; anything else breaks the protocol."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stickyrouting.affinity.entry import Entry
from stickyrouting.mesh.errors import MeshProtocolError
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
    make_address,
    parse_address,
)
from stickyrouting.mesh.wire import (
    DIGEST,
    ENTRIES,
    HEARTBEAT,
    HELLO,
    LEAVING,
    MAX_ADDRESSES,
    MAX_CLOCK,
    MAX_ENTRIES,
    MAX_PAYLOAD_BYTES,
    MEMBERS,
    SYNCED,
    encode,
    take_messages,
    tellable,
)

U32 = st.integers(0, 2**32 - 1)
CLOCKS = st.integers(0, MAX_CLOCK)
HOSTS = st.one_of(st.ip_addresses().map(str), st.just(""), st.just("shop-sticky-0.demo.svc"))
ADDRESSES = st.builds(make_address, HOSTS, st.integers(1, 65535))
KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=32).map(str.encode)
ENTRY = st.builds(Entry, KEYS, CLOCKS, U32, U32)
SUMS = st.sampled_from([256, 512]).flatmap(
    lambda buckets: st.binary(min_size=8, max_size=8).map(lambda one: struct.unpack(">Q", one) * buckets)
)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Hello,
        st.integers(0, 2**64 - 1),
        CLOCKS,
        st.just("shop-sticky-1"),
        ADDRESSES,
        st.lists(ADDRESSES, max_size=5).map(tuple),
    ),
    st.builds(Members, st.lists(ADDRESSES, max_size=5).map(tuple)),
    st.builds(Entries, st.lists(ENTRY, max_size=5).map(tuple)),
    st.builds(Digest, U32, U32, SUMS),
    st.builds(Synced, U32),
    st.builds(Heartbeat, CLOCKS),
    st.just(Leaving()),
)
GREETING = Hello(7, 12, "shop-sticky-1", Address("10.0.0.1", 8444), (Address("fd00::2", 8444),))


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">IB", len(payload), kind) + payload


def heard(data: bytearray) -> list[Message]:
    """Return the messages before the first that is broken."""
    found: list[Message] = []
    with contextlib.suppress(MeshProtocolError):
        found.extend(take_messages(data))
    return found


def complaint(data: bytes) -> str:
    with pytest.raises(MeshProtocolError) as caught:
        list(take_messages(bytearray(data)))
    return str(caught.value)


@given(st.lists(MESSAGES, max_size=4))
def test_what_one_says_the_other_hears(messages: list[Message]) -> None:
    buffer = bytearray(b"".join(map(encode, messages)))
    assert list(take_messages(buffer)) == messages
    assert not buffer


@given(st.lists(MESSAGES, min_size=1, max_size=3), st.data())
def test_a_message_that_is_not_whole_waits_for_its_rest(messages: list[Message], data: st.DataObject) -> None:
    stream = b"".join(map(encode, messages))
    cut = data.draw(st.integers(0, len(stream)))
    buffer = bytearray(stream[:cut])
    heard = list(take_messages(buffer))
    buffer += stream[cut:]
    assert heard + list(take_messages(buffer)) == messages


def test_entries_have_forty_eight_bytes_each() -> None:
    assert encode(Entries((Entry(b"abc", 5, 9, 1000),))) == (
        b"\x00\x00\x00\x30\x03" + b"abc".ljust(32, b"\0") + b"\0\0\0\0\0\0\0\x05\0\0\0\x09\0\0\x03\xe8"
    )


@given(st.binary(max_size=200))
def test_garbage_never_raises_anything_but_a_protocol_error(data: bytes) -> None:
    heard(bytearray(data))


@given(
    st.sampled_from([HELLO, MEMBERS, ENTRIES, DIGEST, SYNCED, HEARTBEAT, LEAVING]), st.binary(max_size=200)
)
def test_a_frame_of_garbage_is_a_message_or_a_protocol_error(kind: int, payload: bytes) -> None:
    for message in heard(bytearray(frame(kind, payload))):
        # One spelling of an address is as good as another; everything else comes out as it went in.
        assert kind in (HELLO, MEMBERS) or encode(message) == frame(kind, payload)


@given(MESSAGES, st.data())
def test_a_changed_byte_never_raises_anything_but_a_protocol_error(
    message: Message, data: st.DataObject
) -> None:
    stream = bytearray(encode(message))
    stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    heard(stream)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (frame(9, b""), "a message of unknown type 9"),
        (frame(0, b""), "a message of unknown type 0"),
        (
            struct.pack(">IB", MAX_PAYLOAD_BYTES + 1, ENTRIES),
            "a message of 1048577 bytes; at most 1048576 are taken",
        ),
        (frame(HEARTBEAT, b"1234567"), "a message ends too early or too late for its type"),
        (frame(SYNCED, b"12345"), "a message ends too early or too late for its type"),
        (frame(LEAVING, b"x"), "a message ends too early or too late for its type"),
        (frame(ENTRIES, b"x" * 47), "a message ends too early or too late for its type"),
        (frame(ENTRIES, b"x" * 48 * (MAX_ENTRIES + 1)), "more than 2000 entries in one message"),
        (frame(ENTRIES, b"\0" * 48), "a session id that is empty or not printable ASCII"),
        (frame(ENTRIES, b"\xff" + b"\0" * 47), "a session id that is empty or not printable ASCII"),
        (frame(ENTRIES, b"a\nb" + b"\0" * 45), "a session id that is empty or not printable ASCII"),
        (frame(ENTRIES, b"a\0b" + b"\0" * 45), "a session id that is empty or not printable ASCII"),
        (frame(ENTRIES, b"a" + b"\0" * 31 + b"\xff" * 16), "a version beyond any clock"),
        (frame(HEARTBEAT, b"\xff" * 8), "a Lamport time beyond any clock"),
        (
            frame(DIGEST, struct.pack(">III", 1, 2000, 300) + b"\0" * 2400),
            "a digest of 300 buckets: not a power of two from 256 to 65536",
        ),
        (
            frame(DIGEST, struct.pack(">III", 1, 2000, 256) + b"\0" * 2047),
            "a message ends too early or too late for its type",
        ),
        (frame(MEMBERS, b"\0\x01\0\0\x01a"), "an address with port 0"),
        (frame(MEMBERS, b"\0\x01\0\x09\x05abc"), "a name that is cut off or not printable ASCII"),
        (frame(MEMBERS, b"\0\x01\0\x09\x03a\tc"), "a name that is cut off or not printable ASCII"),
        (frame(MEMBERS, b"\0\x01\0\x09\x01ax"), "a message ends too early or too late for its type"),
        (frame(MEMBERS, b"\xff\xff"), f"65535 addresses; at most {MAX_ADDRESSES} are taken"),
    ],
)
def test_a_broken_message_is_named(data: bytes, message: str) -> None:
    assert complaint(data) == message


def test_another_protocol_or_version_is_named() -> None:
    payload = encode(GREETING)[5:]
    assert complaint(frame(HELLO, b"HTTP" + payload[4:])) == "a greeting of another protocol"
    assert (
        complaint(frame(HELLO, payload[:4] + b"\0\x02" + payload[6:]))
        == "version 2 of the protocol; this agent speaks version 1"
    )


def test_what_came_before_a_broken_message_is_heard() -> None:
    messages = take_messages(bytearray(encode(Synced(3)) + frame(9, b"")))
    assert next(messages) == Synced(3)
    with pytest.raises(MeshProtocolError):
        next(messages)


FINE = Entry(b"a" * 32, MAX_CLOCK, 2**32 - 1, 2**32 - 1)


@pytest.mark.parametrize(
    "entry",
    [
        Entry(b"", 1, 1, 1),
        Entry(b"a" * 33, 1, 1, 1),
        Entry(b"a\0", 1, 1, 1),
        Entry("ü".encode(), 1, 1, 1),
        Entry(b"a", MAX_CLOCK + 1, 1, 1),
        Entry(b"a", -1, 1, 1),
        Entry(b"a", 1, 2**32, 1),
        Entry(b"a", 1, 1, 2**32),
        Entry(b"a", 1, 1, -1),
    ],
)
def test_an_entry_that_no_message_can_hold_is_left_out(entry: Entry) -> None:
    assert list(tellable([FINE, entry, FINE])) == [FINE, FINE]
    told = encode(Entries(tuple(tellable([entry, FINE]))))
    assert heard(bytearray(told)) == [Entries((FINE,))]


def test_entries_that_can_all_be_told_are_not_copied() -> None:
    entries = [FINE] * 3
    assert tellable(entries) is entries
    assert list(tellable([])) == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:8444", Address("10.0.0.1", 8444)),
        (" [FD00:0::1]:1 ", Address("fd00::1", 1)),
        ("[::ffff:10.0.0.1]:1", Address("10.0.0.1", 1)),
        ("shop-sticky-all:65535", Address("shop-sticky-all", 65535)),
    ],
)
def test_an_address_has_one_spelling(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize("text", ["", "10.0.0.1", ":8444", "a:0", "a:65536", "a:x", "fd00::1:8444", "[]:1"])
def test_a_text_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        parse_address(text)
