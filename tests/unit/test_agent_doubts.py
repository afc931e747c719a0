"""HAProxy's word is doubted until it was asked for its table when nobody else could tell it anything more."""

from stickyrouting.agent.doubts import OLD_WORKER_SECONDS, Doubts, Seen


def seen(at: float, old_workers: int = 0) -> Seen:
    return Seen(at, refilled=True, old_workers=old_workers, reloads=1)


def test_what_was_seen_before_the_link_began_says_nothing_about_it() -> None:
    doubts = Doubts(100.0)
    assert not doubts.look(seen(99.0))
    assert not doubts.refilled


def test_it_is_not_asked_while_its_predecessor_teaches_it() -> None:
    doubts = Doubts(100.0)
    assert not doubts.look(Seen(101.0, refilled=False, old_workers=1, reloads=1))


def test_it_is_asked_once_it_is_refilled_and_once_more_when_it_is_alone() -> None:
    doubts = Doubts(100.0)
    assert doubts.look(seen(101.0, old_workers=1))
    doubts.ask()
    assert not doubts.look(seen(102.0)), "it is telling"
    doubts.told_all()
    assert not doubts.settled
    assert not doubts.look(seen(103.0, old_workers=1))
    assert doubts.look(seen(104.0))
    doubts.ask()
    assert not doubts.settled
    doubts.told_all()
    assert doubts.settled
    assert not doubts.look(seen(105.0))


def test_an_old_worker_that_only_websockets_keep_alive_tells_nothing_more() -> None:
    doubts = Doubts(100.0)
    assert doubts.look(seen(101.0 + OLD_WORKER_SECONDS, old_workers=1))
    doubts.ask()
    doubts.told_all()
    assert doubts.settled


def test_the_first_table_that_an_agent_hears_is_not_doubted() -> None:
    doubts = Doubts(100.0)
    doubts.ask()
    doubts.told_all()
    doubts.told_first()
    assert not doubts.look(seen(101.0))
    assert doubts.settled


def test_one_without_a_predecessor_whose_empty_table_we_filled_is_neither_asked_nor_doubted() -> None:
    doubts = Doubts(100.0)
    doubts.asked_us()
    assert not doubts.look(Seen(101.0, refilled=False, old_workers=0, reloads=0))
    assert not doubts.settled
    assert not doubts.look(Seen(102.0, refilled=True, old_workers=0, reloads=0))
    assert doubts.settled


def test_one_that_asks_nobody_or_followed_another_is_asked() -> None:
    told_before = Doubts(100.0)
    assert told_before.look(Seen(101.0, refilled=True, old_workers=0, reloads=0))
    successor = Doubts(100.0)
    successor.asked_us()
    assert successor.look(Seen(101.0, refilled=True, old_workers=0, reloads=1))
