"""What HAProxy has yet to hear is known until it has acknowledged it."""

from stickyrouting.agent.owed import LIMIT, Owed

ANN, BOB = b"ann", b"bob"


def push(owed: Owed, first: int) -> list[bytes]:
    keys = [key for key, _ in owed.take(100)]
    owed.sent(keys, range(first, first + len(keys)))
    return keys


def test_a_session_is_owed_from_the_word_to_the_acknowledgement() -> None:
    owed = Owed()
    owed.owe(ANN)
    assert (owed.waits, owed.covers(ANN), owed.covers(BOB)) == (True, True, False)
    assert push(owed, 5) == [ANN]
    assert (owed.waits, owed.covers(ANN)) == (False, True)
    owed.acknowledged(4)
    assert owed.covers(ANN)
    owed.acknowledged(5)
    assert not owed.covers(ANN)


def test_an_acknowledgement_of_the_former_word_does_not_settle_the_newer_one() -> None:
    owed = Owed()
    owed.owe(ANN)
    push(owed, 1)
    owed.owe(ANN)
    owed.acknowledged(1)
    assert owed.covers(ANN)
    push(owed, 2)
    owed.owe(ANN)
    push(owed, 3)
    owed.acknowledged(2)
    assert owed.covers(ANN)
    owed.acknowledged(3)
    assert not owed.covers(ANN)


def test_what_was_not_acknowledged_is_owed_to_the_next_haproxy() -> None:
    owed = Owed()
    owed.owe(ANN)
    push(owed, 1)
    owed.owe(BOB)
    owed.link_lost()
    assert owed.waits
    assert push(owed, 1) == [ANN, BOB]


def test_a_moved_session_is_marked_once() -> None:
    owed = Owed()
    owed.owe(ANN)
    owed.look_once(ANN)
    assert owed.take(10) == [(ANN, True)]
    owed.owe(ANN)
    assert owed.take(10) == [(ANN, False)]


def test_who_owes_too_much_owes_the_whole_map_and_no_more_memory() -> None:
    owed = Owed()
    for number in range(LIMIT + 1):
        owed.owe(b"%d" % number)
    assert owed.whole_waits
    assert owed.take(10) == []
    assert owed.covers(b"anybody")


def test_the_whole_map_is_owed_until_its_last_entry_is_acknowledged() -> None:
    owed = Owed()
    owed.owe_all()
    owed.begin_whole()
    owed.owe(BOB)
    assert owed.whole
    owed.end_whole(700)
    owed.acknowledged(699)
    assert owed.covers(ANN)
    owed.acknowledged(700)
    assert (owed.covers(ANN), owed.covers(BOB)) == (False, True)


def test_an_empty_map_needs_no_acknowledgement() -> None:
    owed = Owed()
    owed.owe_all()
    owed.begin_whole()
    owed.end_whole(0)
    assert not owed.whole


def test_teaching_that_a_lost_link_cut_short_starts_again() -> None:
    owed = Owed()
    owed.owe_all()
    owed.begin_whole()
    owed.link_lost()
    assert owed.whole_waits
