"""The peers protocol without I/O: what one end says, the other hears, however the bytes are cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stickyrouting.haproxy.errors import PeerProtocolError
from stickyrouting.haproxy.peer_wire import MAX_FRAME_BYTES, decode_int, encode_frame, encode_int
from stickyrouting.haproxy.peers import (
    Acked,
    Completeness,
    Entry,
    Established,
    HeartbeatReceived,
    PeerLink,
    Rejected,
    ResyncConfirmed,
    ResyncFinished,
    ResyncRequested,
    Table,
    TableDefined,
    Updated,
)

SESS = Table("sess", 33, 1_800_000)
KEYS = st.text(st.sampled_from("abcXYZ019_-"), min_size=1, max_size=32)
ENTRIES = st.lists(st.builds(Entry, KEYS, st.integers(0, 2**32 - 1), st.integers(0, 2**31)), max_size=20)


def linked() -> tuple[PeerLink, PeerLink]:
    """Return both ends of an established link: ours, and one that plays HAProxy."""
    ours, theirs = PeerLink.connecting("agent", "local", 7), PeerLink.listening("local", "agent")
    assert theirs.receive(ours.data_to_send()) == (Established("agent"),)
    assert ours.receive(theirs.data_to_send()) == (Established("local"),)
    return ours, theirs


def test_the_greeting_is_that_of_version_2_1() -> None:
    assert PeerLink.connecting("agent", "local", 7).data_to_send() == b"HAProxyS 2.1\nlocal\nagent 7 0\n"


@pytest.mark.parametrize(
    ("greeting", "status"),
    [
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", 501),
        (b"HAProxyS 3.0\nagent\nlocal 7 0\n", 502),
        (b"HAProxyS 2.1\nsomebody\nlocal 7 0\n", 503),
    ],
)
def test_a_wrong_greeting_is_refused_with_its_status(greeting: bytes, status: int) -> None:
    link = PeerLink.listening("agent", "local")
    assert link.receive(greeting) == (Rejected(status),)
    assert link.data_to_send() == f"{status}\n".encode()
    assert not link.established


def test_a_refusal_is_told() -> None:
    assert PeerLink.connecting("agent", "local", 7).receive(b"504\n") == (Rejected(504),)


def test_a_greeting_without_end_is_an_error() -> None:
    with pytest.raises(PeerProtocolError, match="no end"):
        PeerLink.listening("agent", "local").receive(b"x" * 2000)


def test_an_update_is_the_literal_message_that_haproxy_sends() -> None:
    ours, _ = linked()
    assert list(ours.push(SESS, [Entry("abc", 5, 60_000)])) == [1]
    definition = b"\x0a\x82" + bytes([13]) + b"\x01\x04sess\x06\x21\x02" + encode_int(1_800_000)
    update = b"\x0a\x85\x0d" + b"\x00\x00\x00\x01" + b"\x00\x00\xea\x60" + b"\x03abc\x05"
    assert ours.data_to_send() == definition.replace(b"\x0d", bytes([len(definition) - 3]), 1) + update


@given(ENTRIES)
def test_what_is_pushed_arrives_and_is_acknowledged(entries: list[Entry]) -> None:
    ours, theirs = linked()
    sequences = ours.push(SESS, entries)
    heard = theirs.receive(ours.data_to_send())
    expected = [Updated(SESS, s, *entry) for s, entry in zip(sequences, entries, strict=True)]
    assert list(heard) == [TableDefined(SESS), *expected]
    acknowledged = ours.receive(theirs.data_to_send())
    assert list(acknowledged) == ([Acked("sess", len(entries))] if entries else [])


@given(ENTRIES, st.integers(1, 7))
def test_events_do_not_depend_on_how_the_bytes_are_cut(entries: list[Entry], size: int) -> None:
    ours, theirs = linked()
    ours.push(SESS, entries)
    ours.heartbeat()
    data = ours.data_to_send()
    heard = [event for at in range(0, len(data), size) for event in theirs.receive(data[at : at + size])]
    assert len(heard) == len(entries) + 2
    assert heard[-1] == HeartbeatReceived()


def test_two_tables_are_told_apart() -> None:
    ours, theirs = linked()
    other = Table("other", 17, 5_000)
    ours.push(SESS, [Entry("a", 1, 10)])
    ours.push(other, [Entry("b", 2, 10)])
    ours.push(SESS, [Entry("c", 3, 10)])
    updates = [e for e in theirs.receive(ours.data_to_send()) if isinstance(e, Updated)]
    assert [(u.table.name, u.sequence, u.key) for u in updates] == [
        ("sess", 1, "a"),
        ("other", 2, "b"),
        ("sess", 3, "c"),
    ]


@pytest.mark.parametrize("completeness", list(Completeness))
def test_a_resync_is_confirmed_whether_full_or_partial(completeness: Completeness) -> None:
    ours, theirs = linked()
    ours.request_resync()
    assert theirs.receive(ours.data_to_send()) == (ResyncRequested(),)
    theirs.finish_resync(completeness)
    assert ours.receive(theirs.data_to_send()) == (ResyncFinished(completeness),)
    assert theirs.receive(ours.data_to_send()) == (ResyncConfirmed(),)


def test_updates_without_sequence_or_expiry_are_understood() -> None:
    ours, theirs = linked()
    ours.push(SESS, [Entry("a", 1, 10)])
    theirs.receive(ours.data_to_send())
    plain = encode_frame(10, 0x80, b"\x00\x00\x00\x09\x01b\x02")
    incremental = encode_frame(10, 0x81, b"\x01c\x03")
    timed = encode_frame(10, 0x86, b"\x00\x00\x00\x63\x01d\x04")
    assert theirs.receive(plain + incremental + timed) == (
        Updated(SESS, 9, "b", 2, None),
        Updated(SESS, 10, "c", 3, None),
        Updated(SESS, 11, "d", 4, 99),
    )


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (encode_frame(10, 0x80, b"\x00\x00\x00\x01\x01a\x01"), "not defined"),
        (b"\x0a\x85" + encode_int(MAX_FRAME_BYTES + 1), "at most"),
        (b"\x0a\x82\x02\x01\xf0", "within an integer"),
        (b"\x01\x00", "reports error 0"),
        (b"\x0a\x82\x09\x01\x02id\x02\x04\x02\x0a\x00", "not strings"),
        (b"\x0a\x85" + b"\xff" * 12, "64 bits"),
    ],
)
def test_broken_messages_are_errors_that_say_why(data: bytes, complaint: str) -> None:
    ours, _ = linked()
    with pytest.raises(PeerProtocolError, match=complaint):
        ours.receive(data)


@settings(max_examples=300)
@given(ENTRIES, st.data())
def test_mutated_bytes_give_events_or_a_protocol_error_and_nothing_else(
    entries: list[Entry], data: st.DataObject
) -> None:
    ours, theirs = linked()
    ours.push(SESS, entries)
    ours.heartbeat()
    raw = bytearray(ours.data_to_send())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        heard = theirs.receive(bytes(raw))
    except PeerProtocolError:
        return
    assert len(heard) <= len(raw)


@given(st.integers(0, 2**64 - 1))
def test_integers_survive(value: int) -> None:
    assert decode_int(encode_int(value), 0) == (value, len(encode_int(value)))


@pytest.mark.parametrize(
    ("value", "data"), [(0, b"\x00"), (239, b"\xef"), (240, b"\xf0\x00"), (2288, b"\xf0\x80\x00")]
)
def test_integers_are_written_as_haproxy_writes_them(value: int, data: bytes) -> None:
    assert encode_int(value) == data
