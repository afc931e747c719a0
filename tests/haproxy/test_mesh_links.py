"""Agents on loopback with real TLS: they find each other, keep one link a pair, and hear all, whatever fails."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import pytest

from haproxy.agent_authority import Authority
from haproxy.mesh_world import HOST, SHOP, Peer, World, entry, make_world, until
from haproxy.ports import free_ports
from stickyrouting.agent.keys import Identity
from stickyrouting.agent.tls import make_mesh_contexts
from stickyrouting.mesh.errors import Reason
from stickyrouting.mesh.messages import Address
from stickyrouting.mesh.roster import Membership


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with make_world() as found:
        yield found


def established(caplog: pytest.LogCaptureFixture) -> int:
    """Return how many links both ends together took for established and did not drop for another of the pair."""
    text = "\n".join(caplog.messages)
    return len(re.findall(r"dialed$", text, re.MULTILINE)) - len(re.findall("reason=replaced", text))


@pytest.mark.parametrize("count", [2, 3, 5])
async def test_agents_that_dial_each_other_at_once_keep_one_link_a_pair(
    world: World, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    peers = await world.meet(count)
    links = established(caplog)
    assert links == count * (count - 1)
    await asyncio.sleep(1.0)
    assert established(caplog) == links
    assert not any(peer.counts.losses or peer.counts.refusals for peer in peers)


async def test_a_change_reaches_all_others_once_and_in_milliseconds(world: World) -> None:
    peers = await world.meet(4)
    delays = []

    def all_know(size: int) -> bool:
        return all(peer.shelf.size == size for peer in peers)

    for number in range(100):
        start = time.perf_counter()
        peers[0].say(entry(number))
        await until(partial(all_know, number + 1), "all know it")
        delays.append(time.perf_counter() - start)
    assert [peer.shelf.merged for peer in peers] == [0, 100, 100, 100]
    assert sorted(delays)[50] < 0.1


async def test_a_new_agent_is_joined_only_when_it_has_the_whole_map(world: World) -> None:
    peers = await world.meet(2)
    for number in range(5000):
        peers[number % 2].say(entry(number))
    (port,) = free_ports(1)
    new = await world.start(Peer("new", port, [peer.address for peer in peers]))
    await until(lambda: new.mesh.joined, "the new agent is joined")
    assert new.shelf.size == 5000
    assert new.shelf.entries == peers[0].shelf.entries


async def test_one_known_address_leads_to_all(world: World) -> None:
    ports = free_ports(4)
    first = Peer("p0", ports[0], [])
    others = [Peer(f"p{number}", ports[number], [first.address]) for number in (1, 2, 3)]
    for peer in (first, *others):
        await world.start(peer)
    await world.together([first, *others])


async def test_a_new_agent_hears_of_those_that_do_not_dial_it(world: World) -> None:
    known, hidden, new = world.make(3)
    known.seeds, hidden.seeds, new.seeds = [], [known.address], [known.address]
    hidden.membership = Membership.FIXED
    for peer in (known, hidden):
        await world.start(peer)
    await world.together([known, hidden])
    hidden.shelf.put(entry(1))
    await world.start(new)
    await until(lambda: new.mesh.joined, "the new agent is joined")
    assert new.mesh.in_step == 2
    assert new.shelf.size == 1


async def test_who_leaves_is_no_member_at_once_and_one_again_when_back(world: World) -> None:
    peers = await world.meet(3)
    await peers[2].stop()
    await until(lambda: all(peer.in_step_with(1) for peer in peers[:2]), "two are left")
    assert not any(peer.counts.losses for peer in peers)
    await world.start(peers[2])
    await world.together(peers)


async def test_what_was_said_before_the_goodbye_is_heard(world: World) -> None:
    peers = await world.meet(3)
    peers[0].say(*(entry(number) for number in range(20_000)))
    await peers[0].stop()
    await until(lambda: all(peer.shelf.size == 20_000 for peer in peers), "all is heard")
    await until(lambda: all(peer.in_step_with(1) for peer in peers[1:]), "both heard the goodbye")
    assert not any(peer.counts.losses for peer in peers)


async def test_who_is_killed_is_waited_for_and_forgotten_when_no_longer_named(world: World) -> None:
    peers = await world.meet(3)
    await peers[2].kill()
    await until(lambda: all(peer.mesh.in_step == 1 for peer in peers[:2]), "the link is lost")
    assert [peer.counts.losses for peer in peers[:2]] == [{Reason.CLOSED: 1}] * 2
    assert [peer.mesh.members for peer in peers[:2]] == [2, 2]
    for peer in peers[:2]:
        peer.seeds = [other.address for other in peers[:2] if other is not peer]
    await until(lambda: all(peer.in_step_with(1) for peer in peers[:2]), "the dead one is forgotten")


async def test_who_is_killed_and_comes_back_hears_what_it_missed(world: World) -> None:
    peers = await world.meet(3)
    await peers[2].kill()
    peers[0].say(entry(1))
    peers[2].shelf.put(entry(2))
    await world.start(peers[2])
    await world.together(peers)
    assert all(peer.shelf.size == 2 for peer in peers)


async def test_a_change_of_a_dead_agent_that_reached_one_reaches_all(world: World) -> None:
    peers = await world.meet(4)
    peers[1].shelf.put(entry(1))
    await asyncio.sleep(0.3)
    assert [peer.shelf.size for peer in peers] == [0, 1, 0, 0]
    await peers[0].kill()
    await until(lambda: all(peer.shelf.size for peer in peers[1:]), "the survivors agree")


async def test_what_got_lost_is_found_by_comparing_now_and_then() -> None:
    async with make_world(resync=0.3) as world:
        peers = await world.meet(2)
        peers[0].shelf.put(entry(1))
        peers[1].shelf.put(entry(2))
        await until(lambda: peers[0].shelf.size == peers[1].shelf.size == 2, "both have both")
        assert peers[0].shelf.merged == 1


async def test_the_network_breaks_and_heals_and_both_sides_hear_what_they_missed(world: World) -> None:
    near, far, network = await world.meet_through_network()
    network.sever()
    await until(lambda: not near.mesh.in_step and not far.mesh.in_step, "both noticed")
    near.say(entry(1))
    far.say(entry(2))
    network.heal()
    await world.together([near, far])
    assert near.shelf.entries == far.shelf.entries == {entry(1).key: entry(1), entry(2).key: entry(2)}


async def test_a_network_that_swallows_everything_is_noticed_by_silence(world: World) -> None:
    near, far, network = await world.meet_through_network()
    network.hold()
    near.say(entry(1))
    await until(lambda: not near.mesh.in_step and not far.mesh.in_step, "both noticed")
    assert Reason.SILENCE in near.counts.losses + far.counts.losses
    far.say(entry(2))
    network.heal()
    await world.together([near, far])
    assert near.shelf.size == far.shelf.size == 2


async def test_a_stall_shorter_than_the_silence_limit_loses_nothing(world: World) -> None:
    near, far, network = await world.meet_through_network()
    network.hold()
    near.say(entry(1))
    await asyncio.sleep(world.pace.silence / 3)
    network.heal()
    await until(lambda: far.shelf.size, "the change arrives")
    assert not near.counts.losses
    assert not far.counts.losses


async def test_a_link_that_only_one_end_knows_to_be_dead_is_replaced_at_once() -> None:
    async with make_world(silence=30.0, stall=30.0) as world:
        near, far, network = await world.meet_through_network(replace(world.pace, silence=0.4))
        network.abandon()
        far.say(entry(1))
        await until(lambda: near.counts.losses[Reason.SILENCE], "the near end notices")
        await until(lambda: near.shelf.size, "there is a new link")
        await world.together([near, far])
        assert not far.counts.losses


async def test_an_agent_that_dials_the_holder_of_all_tells_nothing_back(world: World) -> None:
    holder, new = world.make(2)
    holder.seeds = []
    holder.shelf.put(*(entry(number) for number in range(20_000)))
    for peer in (holder, new):
        await world.start(peer)
    await world.together([holder, new])
    assert (new.shelf.size, new.counts.entries["told"]) == (20_000, 0)


async def test_an_address_that_leads_to_oneself_is_recognized(world: World) -> None:
    (peer,) = world.make(1)
    peer.seeds = [Address("localhost", peer.port)]
    await world.start(peer)
    await until(lambda: peer.mesh.joined, "it is joined")
    await asyncio.sleep(0.5)
    assert peer.mesh.members == 0
    assert not peer.counts.losses


async def test_two_names_of_one_agent_make_one_link(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    one, other = world.make(2)
    one.seeds = [Address("localhost", other.port), other.address]
    for peer in (other, one):
        await world.start(peer)
    await world.together([one, other])
    await asyncio.sleep(0.5)
    assert established(caplog) == 2


async def test_an_agent_that_does_not_know_its_address_is_found_where_it_came_from(world: World) -> None:
    one, other = world.make(2)
    one.told = ""
    other.seeds = []
    for peer in (one, other):
        await world.start(peer)
    await world.together([one, other])
    assert [member.address for member in other.mesh.state().members] == [one.address]


async def test_an_agent_whose_seeds_are_unknown_waits_before_it_takes_itself_for_joined(world: World) -> None:
    (peer,) = world.make(1)
    peer.seeds = None
    await world.start(peer)
    await asyncio.sleep(world.pace.no_seeds / 2)
    assert not peer.mesh.joined
    await until(lambda: peer.mesh.joined, "it gives up")


async def test_a_new_certificate_serves_new_links_and_leaves_the_others_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    peers = await world.meet(2)
    links, new = established(caplog), Authority()
    both = new.certificate + b"\n" + world.authority.certificate
    for peer in peers:
        identity = Identity(*new.issue(SHOP), both)
        await peer.mesh.present(make_mesh_contexts(identity, world.scratch, SHOP))
    await asyncio.sleep(0.3)
    assert established(caplog) == links
    (port,) = free_ports(1)
    late = Peer("late", port, [peer.address for peer in peers])
    await world.start(late, Identity(*new.issue(SHOP), new.certificate))
    await world.together([*peers, late])


async def test_an_entry_that_can_not_be_told_holds_up_no_other(world: World) -> None:
    one, other = await world.meet(2)
    one.say(entry(1), entry(2)._replace(key=b"\xff"), entry(3)._replace(version=1 << 64))
    await until(lambda: other.shelf.size, "the sound one arrives")
    assert other.shelf.entries == {entry(1).key: entry(1)}
    assert one.counts.entries["withheld"] == 2
    await other.kill()
    await world.start(other)
    await world.together([one, other])


async def test_an_agent_that_stumbles_over_what_it_hears_keeps_its_other_links(world: World) -> None:
    peers = await world.meet(3)
    peers[2].shelf.stumble = True
    peers[0].say(entry(1))
    await until(lambda: peers[2].counts.losses[Reason.BUG], "the link is given up")
    peers[2].shelf.stumble = False
    await world.together(peers)
    assert all(peer.shelf.size == 1 for peer in peers)


async def test_a_port_that_is_taken_ends_the_agent(world: World) -> None:
    (peer,) = await world.meet(1)
    with pytest.raises(OSError, match="in use"):
        await (await world.start(Peer("twin", peer.port, []))).task  # type: ignore[misc] # never None once started
    assert HOST in str(peer.address)
