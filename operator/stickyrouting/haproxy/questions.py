"""The questions of HAProxy's ``do-resolve`` and their answers: as much of DNS (RFC 1035) as that takes. Sans I/O."""

from dataclasses import dataclass
from struct import Struct

_HEADER = Struct(">HHHHHH")
_TYPE_AND_CLASS = 4
_QUERY, _ANSWER = 0x8000, 0x8180
_NOWHERE = 0xFFFFFFFF
_POINTER_TO_QUESTION = b"\xc0\x0c"
_ADDRESS = _POINTER_TO_QUESTION + b"\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04"
"""The beginning of a record of type A, class IN, without a lifetime; four bytes of an address follow."""
MAX_LABEL = 63


@dataclass(frozen=True, slots=True)
class Question:
    """A question for a name; ``section`` is the question as it stood in the message."""

    number: int
    name: bytes
    section: bytes


def parse_question(message: bytes) -> Question | None:
    """Return the one question of a message, ``None`` if it is anything else."""
    if len(message) < _HEADER.size:
        return None
    number, flags, questions, _, _, _ = _HEADER.unpack_from(message)
    if flags & _QUERY or questions != 1:
        return None
    end = _end_of_name(message)
    if end is None or len(message) < end + _TYPE_AND_CLASS:
        return None
    return Question(number, message[_HEADER.size : end], message[_HEADER.size : end + _TYPE_AND_CLASS])


def encode_place(question: Question, server_id: int) -> bytes:
    """Return the answer that gives a place on a server: its id as an address (0.0.0.0: on any)."""
    header = _HEADER.pack(question.number, _ANSWER, 1, 1, 0, 0)
    return header + question.section + _ADDRESS + server_id.to_bytes(4, "big")


def encode_refusal(question: Question) -> bytes:
    """Return the answer that there is no place: an address that is no id. An error HAProxy would ask about again."""
    return encode_place(question, _NOWHERE)


def _end_of_name(message: bytes) -> int | None:
    place = _HEADER.size
    while place < len(message):
        length = message[place]
        place += 1
        if not length:
            return place
        if length > MAX_LABEL:
            return None
        place += length
    return None
