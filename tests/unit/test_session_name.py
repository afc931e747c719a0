"""A session's name is made of its id, and never is one."""

import pytest

from stickyrouting.model.session_name import is_session_name, session_name

ANN = b"1795209904VEj8BO5y1RAgXAdqzosVzc"


def test_a_name_is_the_beginning_of_the_digest_as_sha256sum_prints_it() -> None:
    assert session_name(b"abc") == "ba7816bf8f01cfea"
    assert is_session_name(session_name(ANN))


@pytest.mark.parametrize(
    "text", ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "0123456789abcdef\n"]
)
def test_everything_else_is_none(text: str) -> None:
    assert not is_session_name(text)
    assert not is_session_name(ANN.decode())
