"""Which proxies have ended, and for how long what they knew counts."""

from stickyrouting.apply.ended import Ended
from stickyrouting.model.observed import Key
from unit.builders import make_pod

SHOP, CART = Key("demo", "shop"), Key("demo", "cart")
P, Q = make_pod("p"), make_pod("q")
FAILED = make_pod("q", phase="Failed")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_proxy_whose_pod_was_removed_is_returned_for_a_minute() -> None:
    clock = Clock()
    ended = Ended(clock)
    assert ended.look(SHOP, (P, Q)) == ()
    assert ended.look(CART, ()) == ()
    clock.now = 200.0
    assert ended.look(SHOP, (P,)) == (Q,)
    clock.now = 259.9
    assert (ended.look(SHOP, (P,)), ended.look(CART, ())) == ((Q,), ())
    assert ended.since(P) is None
    assert ended.since(Q) == clock.now - 200.0
    clock.now = 260.0
    assert (ended.look(SHOP, (P,)), ended.remembers("uid-q")) == ((), False)


def test_a_proxy_that_ended_counts_from_when_that_was_first_seen() -> None:
    clock = Clock()
    ended = Ended(clock)
    assert ended.look(SHOP, (FAILED,)) == ()
    clock.now = 190.0
    assert ended.look(SHOP, (FAILED,)) == ()
    assert ended.since(FAILED) == 90.0
    assert ended.look(SHOP, ()) == (), "it ended long before its pod was removed"


def test_one_that_nobody_looked_at_yet_ended_just_now() -> None:
    assert Ended(Clock()).since(FAILED) == 0.0


def test_nothing_is_kept_of_a_stickyservice_that_is_gone() -> None:
    clock = Clock()
    ended = Ended(clock)
    ended.look(SHOP, (P,))
    ended.forget({"uid-p"})
    ended.forget(set())
    assert ended.remembers("uid-p")
    clock.now += 60
    ended.forget(set())
    assert not ended.remembers("uid-p")
    assert ended == Ended(clock)
