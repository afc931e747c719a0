"""The hub hears HAProxy, teaches one that lost the map, and tells each side what the other said."""

from itertools import islice
from typing import Any

import pytest

from stickyrouting.affinity.entry import ENDED, Entry
from stickyrouting.agent.doubts import Seen
from stickyrouting.agent.hub import PORTION
from stickyrouting.haproxy.peers import Entry as TableEntry
from stickyrouting.haproxy.peers import ResyncRequested, Table, Updated
from stickyrouting.mesh.messages import Digest
from stickyrouting.metrics.agent import ENDS
from unit.hub_bench import ANN, BOB, LEARNT, NEWBORN, Bench, foreign, settle, update


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_a_new_link_starts_with_a_request_for_all_and_what_it_brings_is_no_birth(bench: Bench) -> None:
    link = await bench.learnt(update(ANN, 7))
    assert (link.resyncs, bench.hub.learnt, bench.others.heard) == (1, True, [])
    assert bench.changes("birth") is None
    link.say(update(BOB, 8 | NEWBORN), update(BOB, 8), update(ANN, 8), update(ANN, 8))
    await settle()
    assert [bench.changes(kind) for kind in ("birth", "confirm", "move", "touch")] == [1, 1, 1, None]


async def test_what_haproxy_does_by_itself_is_told_to_the_others_once(bench: Bench) -> None:
    link = await bench.learnt(update(ANN, 7))
    link.say(update(BOB, 8 | NEWBORN), update(ANN, 9))
    await settle()
    assert sorted(entry[:3] for entry in bench.others.heard) == [
        (ANN.encode(), 2, 9),
        (BOB.encode(), 1, 8 | NEWBORN),
    ]
    link.say(update(BOB, 8 | NEWBORN), update(ANN, 9))
    await settle()
    assert len(bench.others.heard) == 2


async def test_what_another_agent_tells_reaches_haproxy_and_is_not_echoed(bench: Bench) -> None:
    link = await bench.learnt(update(ANN, 7))
    await bench.hub.merge([foreign(BOB, 8), foreign(ANN, 9)])
    await settle()
    assert sorted(link.pushed) == [
        TableEntry(ANN, 9 | NEWBORN, 1_800_000),
        TableEntry(BOB, 8, 1_800_000),
    ]
    assert bench.others.heard == []


async def test_a_report_that_crosses_an_unacknowledged_push_is_only_a_touch(bench: Bench) -> None:
    link = await bench.learnt(update(ANN, 7))
    await bench.hub.merge([foreign(ANN, 9)])
    await settle()
    link.say(update(ANN, 7))
    await settle()
    assert (bench.map.entry(ANN.encode(), bench.now) or foreign("", 0)).value == 9
    assert bench.changes("move") is None
    link.acknowledge()
    link.say(update(ANN, 4))
    await settle()
    assert bench.changes("move") == 1


async def test_an_end_that_crosses_an_unacknowledged_push_holds_and_is_told_once_more(bench: Bench) -> None:
    link = await bench.learnt(update(ANN, 7))
    await bench.hub.merge([foreign(ANN, 9)])
    await settle()
    link.say(update(ANN, ENDED))
    await settle()
    assert link.pushed == [TableEntry(ANN, 9 | NEWBORN, 1_800_000), TableEntry(ANN, ENDED, 1_800_000)]
    assert [entry.value for entry in bench.others.heard] == [ENDED]
    link.acknowledge()
    link.say(update(ANN, 9), update(ANN, ENDED))
    await settle()
    assert (bench.map.entry(ANN.encode(), bench.now) or foreign("", 0)).value == ENDED


async def test_an_end_told_in_its_own_table_holds_also_where_haproxy_heard_the_opposite_since(
    bench: Bench,
) -> None:
    link = await bench.learnt(update(ANN, 7))
    over = Updated(Table("over", 33, 60_000), 1, ANN, 1, None)
    # Our own word of ANN took the place of the end before HAProxy had told it.
    link.say(update(ANN, 7), over, update(ANN, 7), over)
    await settle()
    assert link.pushed == [TableEntry(ANN, ENDED, 1_800_000)]
    assert [entry.value for entry in bench.others.heard] == [ENDED]
    assert bench.registry.get_sample_value(ENDS, {"reason": "application"}) == 1
    assert bench.hub.map.counts.sessions == 0


async def test_an_end_in_its_own_table_is_learnt_after_a_lesson_that_had_it_otherwise(bench: Bench) -> None:
    over = Updated(Table("over", 33, 60_000), 1, ANN, 1, None)
    link = await bench.learnt(update(ANN, 7), over)
    assert bench.hub.map.counts.sessions == 0
    assert link.pushed == [TableEntry(ANN, ENDED, 1_800_000)]


async def test_an_end_by_haproxy_is_the_applications_and_counts_once(bench: Bench) -> None:
    link = await bench.learnt(update(ANN, 7), update(BOB, ENDED))
    link.say(update(ANN, ENDED), update(ANN, ENDED), update(BOB, ENDED))
    await settle()
    assert bench.registry.get_sample_value(ENDS, {"reason": "application"}) == 1
    assert bench.hub.map.counts.sessions == 0


async def test_a_haproxy_that_asks_is_taught_every_binding_with_its_remaining_time(bench: Bench) -> None:
    await bench.learnt(update(ANN, 7, 60_000), update(BOB, 8 | NEWBORN, None))
    bench.now += 20
    second = bench.connect()
    second.say(ResyncRequested())
    await settle()
    assert sorted(second.taught) == [
        TableEntry(ANN, 7, 40_000),
        TableEntry(BOB, 8 | NEWBORN, 1_780_000),
    ]


async def test_what_happens_while_the_map_is_taught_overtakes_it_and_keeps_its_mark(bench: Bench) -> None:
    keys = [f"1795209904{number:022d}" for number in range(3000)]
    await bench.learnt(*(update(key, 7) for key in keys))
    second = bench.connect()
    told: list[TableEntry] = []

    async def teach(snapshot: Any) -> int:
        entries = (entry for _, part in snapshot for entry in part)
        told.extend(islice(entries, 1000))
        await bench.hub.merge([foreign(ANN, 9 | NEWBORN), foreign(keys[2999], 9)])
        told.extend(entries)
        return len(told)

    second.teach = teach
    second.say(ResyncRequested())
    await settle()
    ann, moved = ([at for at, entry in enumerate(told) if entry.key == key] for key in (ANN, keys[2999]))
    assert min(ann) < 1000 + 2 * PORTION
    assert told[moved[-1]].value == 9 | NEWBORN, "its next request looks once"


async def test_nothing_is_taught_before_the_others_have_told_all(bench: Bench) -> None:
    bench.others.joined = False
    link = await bench.learnt()
    link.say(ResyncRequested())
    await bench.hub.merge([foreign(ANN, 7)])
    await settle()
    assert (link.taught, link.pushed, bench.hub.supplied(0)) == ([], [], False)
    bench.others.joined = True
    bench.hub.changed()
    await settle()
    assert link.taught == [TableEntry(ANN, 7, 1_800_000)]
    assert bench.hub.supplied(1) is False
    link.acknowledge()
    await settle()
    assert bench.hub.supplied(1) is True


async def test_what_a_lost_haproxy_did_not_acknowledge_is_told_to_the_next(bench: Bench) -> None:
    link = await bench.learnt(update(ANN, 7))
    await bench.hub.merge([foreign(ANN, 9)])
    await settle()
    await link.close()
    await settle()
    second = await bench.learnt(update(ANN, 7))
    assert second.pushed == [TableEntry(ANN, 9, 1_800_000)]
    assert bench.changes("move") is None


async def test_a_newer_link_takes_the_place_of_the_older(bench: Bench) -> None:
    bench.connect()
    await settle()
    second = bench.connect()
    await settle()
    assert bench.hub.linked
    await second.close()
    await settle()
    assert not bench.hub.linked


async def test_a_haproxy_that_knows_much_less_and_never_asked_is_taught_once(bench: Bench) -> None:
    link = await bench.learnt(*(update(f"1795209904{number:022d}", 7) for number in range(200)))
    assert bench.hub.supplied(entries=200) is True
    assert bench.hub.supplied(entries=0) is False
    await settle()
    assert len(link.taught) == 200
    link.acknowledge()
    await settle()
    assert bench.hub.supplied(entries=0) is True


async def test_without_a_link_nothing_is_known_to_be_taught(bench: Bench) -> None:
    assert bench.hub.supplied(entries=0) is False


async def test_sessions_in_flight_are_prolonged_when_they_would_expire(bench: Bench) -> None:
    link = await bench.learnt(update(ANN, 7, 1_000_000), update(BOB, 8, 1_790_000))
    assert await bench.hub.touch([ANN.encode(), BOB.encode(), b"unknown"], idle=1800, below=1740) == 1
    await settle()
    assert link.pushed == [TableEntry(ANN, 7, 1_800_000)]
    assert bench.others.heard == [Entry(ANN.encode(), 0, 7, 1_800_000)]


async def test_a_restarted_agent_believes_the_others_unless_their_server_is_gone(bench: Bench) -> None:
    link = await bench.learnt(update(ANN, 7), update(BOB, 8))
    await bench.hub.merge([foreign(ANN, 5), foreign(BOB, 6)])
    await settle()
    assert link.pushed == [TableEntry(ANN, 5 | NEWBORN, 1_800_000)]
    assert bench.others.heard == [Entry(BOB.encode(), 10, 8, 1_800_000)]


async def test_another_agent_gets_what_it_lacks_and_nothing_else(bench: Bench) -> None:
    await bench.learnt(update(ANN, 7), update(BOB, 8))
    empty = Digest(1, 2000, (0,) * 256)
    told = [entry for part in [part async for part in bench.hub.differing(empty)] for entry in part]
    assert sorted(entry.key for entry in told) == [ANN.encode(), BOB.encode()]
    same = Digest(2, 2000, tuple(await bench.hub.digest(256, 2000)))
    assert [part async for part in bench.hub.differing(same)] == []


async def test_a_haproxy_that_its_predecessor_still_teaches_is_not_asked_and_takes_no_move_back(
    bench: Bench,
) -> None:
    await bench.learnt(update(ANN, 7))
    await bench.hub.merge([foreign(ANN, 9)])
    second = bench.connect()
    await settle()
    second.acknowledge()
    await settle()
    await bench.hub.observed(Seen(bench.now, refilled=False, old_workers=1, reloads=1))
    assert second.resyncs == 0
    # The predecessor told it after us.
    second.say(update(ANN, 7), update(BOB, 8 | NEWBORN))
    await settle()
    assert bench.changes("move") is None
    assert [entry.key for entry in bench.others.heard] == [BOB.encode()]
    assert second.pushed[-1] == TableEntry(ANN, 9, 1_800_000)
    await bench.hub.observed(Seen(bench.now, refilled=True, old_workers=0, reloads=1))
    assert second.resyncs == 1


async def test_an_acknowledgement_of_a_former_link_settles_nothing(bench: Bench) -> None:
    first = await bench.learnt(update(ANN, 7))
    await bench.hub.merge([foreign(ANN, 9)])
    await settle()
    second = bench.connect()
    first.acknowledge()
    await settle()
    second.say(update(ANN, 7))
    await settle()
    assert bench.changes("move") is None


async def test_a_link_that_can_not_be_told_is_ended(bench: Bench) -> None:
    link = await bench.learnt(update(ANN, 7))

    async def push(*_: object) -> None:
        raise ValueError("broken")

    link.push = push
    await bench.hub.merge([foreign(BOB, 8)])
    await settle()
    assert not bench.hub.linked


async def test_a_map_that_changes_faster_than_it_is_taught_is_taught_once(bench: Bench) -> None:
    link = await bench.learnt()
    link.say(ResyncRequested())
    await settle()
    taught = link.next_sequence
    for start in range(0, 60_000, 1000):
        await bench.hub.merge([foreign(f"1795209904{start + n:022d}", 7) for n in range(1000)])
    await settle()
    assert link.taught == []
    assert link.next_sequence - taught >= 50_000 or link.taught


async def test_a_birth_elsewhere_that_is_told_of_here_is_its_clients_return_whatever_the_mark_says(
    bench: Bench,
) -> None:
    link = await bench.learnt()
    await bench.hub.merge([foreign(ANN, 7 | NEWBORN)])
    await settle()
    link.acknowledge()
    link.say(update(ANN, 7 | NEWBORN))
    await settle()
    assert (bench.map.counts.sessions, bench.map.counts.provisional) == (1, 0)
    assert [entry.value for entry in bench.others.heard] == [7]
    assert link.pushed[-1] == TableEntry(ANN, 7, 1_800_000)


async def test_a_table_that_was_asked_for_names_births_elsewhere_and_confirms_none(bench: Bench) -> None:
    link = await bench.learnt()
    await bench.hub.merge([foreign(ANN, 7 | NEWBORN)])
    await bench.hub.ask_again()
    link.say(update(ANN, 7 | NEWBORN), LEARNT)
    await settle()
    assert (bench.map.counts.sessions, bench.map.counts.provisional) == (0, 1)
