"""A session stays on its pod: by the table alone, by its cookie alone, and against whoever makes up cookies."""

import asyncio
import base64
import hashlib
import hmac
import random
import string
import time
from pathlib import Path

import aiohttp

from haproxy.harness import (
    KEYS,
    Client,
    Pods,
    Proxy,
    make_desired,
    make_key,
    running_haproxy,
    until,
)
from haproxy.placement_site import PODS, endpoints
from stickyrouting.haproxy.commands import SetMap, ShowInFlight
from stickyrouting.model.keys import KeySet
from stickyrouting.render.haproxy_names import ENDED, LIVE, NEWBORN, UNBIND
from stickyrouting.render.maps import MapEntry, MapName, hint

NO_HINT = "AAAAAAAAAA"


def without_hint(cookie: str) -> str:
    """Make the hint useless: the session table alone can route this session."""
    parts = cookie.split(".")
    return ".".join([parts[0], NO_HINT, *parts[2:]])


def with_part(cookie: str, place: int, text: str) -> str:
    parts = cookie.split(".")
    parts[place] = text
    return ".".join(parts)


def by_pod(sessions: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Order sessions by pod, the last first: in another order round robin would meet each one's pod by chance."""
    return sorted(sessions, key=lambda session: -session[1])


def other_pod(pod: int) -> int:
    return pod % len(PODS) + 1


async def test_a_session_is_born_marked_confirmed_by_its_first_return_and_then_left_alone(
    client: Client, proxy: Proxy
) -> None:
    birth = await client.get()
    parts = birth.cookie.split(".")
    assert [len(part) for part in parts] == [32, 18, 10, 16, 2]
    assert parts[1] == hint(KEYS.hint_key, birth.pod)
    assert parts[4] == "k1"
    assert birth.headers["Set-Cookie"].endswith("; Path=/; HttpOnly; SameSite=Lax")
    assert await proxy.value(birth.cookie) == birth.pod + NEWBORN
    again = await client.get(birth.cookie)
    assert again.pod == birth.pod
    assert await proxy.value(birth.cookie) == birth.pod
    settled = [await client.get(again.cookie) for _ in range(20)]
    assert {answer.pod for answer in settled} == {birth.pod}
    assert {answer.cookie for answer in settled} == {""}


async def test_the_table_alone_keeps_sessions_whose_hint_is_broken(client: Client) -> None:
    sessions = [await client.born() for _ in range(30)]
    assert {pod for _, pod in sessions} == set(PODS)
    for cookie, pod in by_pod(sessions * 3):
        answer = await client.get(without_hint(cookie))
        assert (answer.status, answer.pod) == (200, pod)


async def test_the_cookie_alone_keeps_sessions_after_the_table_is_lost(client: Client, proxy: Proxy) -> None:
    sessions = [await client.born() for _ in range(30)]
    await proxy.lose_table()
    for cookie, pod in by_pod(sessions):
        answer = await client.get(cookie)
        assert (answer.status, answer.pod, answer.cookie[:32]) == (200, pod, cookie[:32])
        assert await proxy.value(cookie) == pod


async def test_a_worker_whose_table_is_not_complete_follows_hints_and_writes_nothing(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path / "a", make_desired(endpoints(pods))) as proxy:
        sessions = [await Client(http, proxy.url).born() for _ in range(6)]
    async with running_haproxy(tmp_path / "b", make_desired(endpoints(pods)), ready=False) as proxy:
        client = Client(http, proxy.url)
        for cookie, pod in by_pod(sessions):
            answer = await client.get(cookie)
            assert (answer.pod, answer.cookie) == (pod, "")
        assert await proxy.sessions() == {}
        birth = await client.get()
        assert await proxy.value(birth.cookie) == birth.pod + NEWBORN
        assert (await client.get(birth.cookie)).pod == birth.pod
        assert await proxy.value(birth.cookie) == birth.pod + NEWBORN


async def test_forged_cookies_begin_new_sessions_and_leave_no_entry(client: Client, proxy: Proxy) -> None:
    mine, _ = await client.born()
    other, _ = await client.born()
    await proxy.lose_table()
    old = str(int(time.time()) - 1800)
    forged = [
        with_part(mine, 0, "1" * 32),
        with_part(mine, 1, other.split(".")[1] if other.split(".")[1] != mine.split(".")[1] else NO_HINT),
        with_part(mine, 2, old),
        with_part(mine, 3, other.split(".")[3]),
        with_part(mine, 3, ""),
        with_part(mine, 4, "k9"),
        with_part(mine, 4, "signing"),
        with_part(mine, 4, "k0"),
        with_part(mine, 0, mine[:31]),
        mine[:32],
        "1" * 32,
        "1",
        ".....",
        "x" * 7000,
    ]
    for cookie in forged:
        answer = await client.get(cookie)
        assert answer.status == 200, cookie
        assert len(answer.cookie.split(".")[0]) == 32, cookie
        assert answer.cookie[:32] != cookie[:32], cookie
    keys = set(await proxy.sessions())
    assert len(keys) == len(forged)
    assert keys.isdisjoint({cookie[:32] for cookie in forged})


async def test_no_key_of_a_cookie_leads_to_anything_but_a_secret(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    # Were the id of the signing key a value of the same map, its base64 would be a key that everybody knows.
    keys = KeySet("key1", {"key1": make_key(2)}, KEYS.hint_key)
    forged = f"{int(time.time())}{'A' * 22}"
    payload = f"{forged}.{hint(KEYS.hint_key, 1)}.{int(time.time())}"
    digest = hmac.new(base64.b64decode("key1"), payload.encode(), hashlib.sha256).digest()
    mac = base64.urlsafe_b64encode(digest).decode()[:16]
    async with running_haproxy(tmp_path, make_desired(endpoints(pods)), keys) as proxy:
        for known in ("signing", "cur", "key1", "1"):
            answer = await Client(http, proxy.url).get(f"{payload}.{mac}.{known}")
            assert answer.cookie[:32] != forged, known


async def test_mutated_cookies_are_never_adopted(client: Client, proxy: Proxy) -> None:
    cookie, pod = await client.born()
    other = other_pod(pod)
    letters = random.Random(7)
    for _ in range(300):
        place = letters.randrange(len(cookie))
        change = letters.choice(string.ascii_letters + string.digits + ".-_=%&'")
        mutant = cookie[:place] + change + cookie[place + 1 :]
        answer = await client.get(mutant)
        assert answer.status == 200
        if mutant[:32] == cookie[:32]:
            assert answer.pod == pod
        else:
            assert answer.cookie[:32] not in (mutant[:32], cookie[:32])
    assert cookie[:32] in await proxy.sessions()
    assert other != pod


async def test_an_id_of_the_table_that_was_moved_goes_to_its_new_pod_and_gets_a_new_hint(
    client: Client, proxy: Proxy
) -> None:
    cookie, pod = await client.born()
    await proxy.bind(cookie, other_pod(pod) + NEWBORN)
    moved = await client.get(cookie)
    assert (moved.pod, moved.cookie[:32]) == (other_pod(pod), cookie[:32])
    assert moved.cookie.split(".")[1] == hint(KEYS.hint_key, other_pod(pod))
    assert (await client.get(moved.cookie)).cookie == ""


async def test_a_move_made_while_a_request_is_in_flight_wins(
    client: Client, proxy: Proxy, pods: Pods
) -> None:
    birth = await client.get()
    slow = asyncio.create_task(client.get(birth.cookie, "/slow"))
    await pods.slow_started.wait()
    await proxy.bind(birth.cookie, other_pod(birth.pod))
    pods.slow.set()
    answer = await slow
    assert answer.pod == birth.pod
    assert answer.cookie.split(".")[1] == hint(KEYS.hint_key, other_pod(birth.pod))
    assert await proxy.value(birth.cookie) == other_pod(birth.pod)
    assert (await client.get(birth.cookie)).pod == other_pod(birth.pod)


async def test_an_ended_session_gets_a_new_id_and_an_unbound_one_keeps_it(
    client: Client, proxy: Proxy
) -> None:
    ended, _ = await client.born()
    await proxy.bind(ended, ENDED)
    assert (await client.get(ended)).cookie[:32] != ended[:32]
    assert await proxy.value(ended) == ENDED
    unbound, _ = await client.born()
    await proxy.bind(unbound, UNBIND)
    answer = await client.get(unbound)
    assert answer.cookie[:32] == unbound[:32]
    assert await proxy.value(unbound) == answer.pod


async def test_without_any_key_requests_are_answered_and_nothing_is_promised(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path, make_desired(endpoints(pods))) as proxy:
        client = Client(http, proxy.url)
        known, pod = await client.born()
        await proxy.runtime.run(SetMap(proxy.settings.map_path(MapName.STATE), "signing", "k9"))
        answer = await client.get()
        assert (answer.status, answer.cookie) == (200, "")
        assert (await client.get(known)).pod == pod
        assert set(await proxy.sessions()) == {known[:32]}


async def test_a_rotated_key_signs_and_the_old_one_is_accepted_until_it_is_gone(
    client: Client, proxy: Proxy
) -> None:
    cookie, pod = await client.born()
    keys, state = (proxy.settings.map_path(name) for name in (MapName.KEYS, MapName.STATE))
    await proxy.runtime.replace_map(keys, [MapEntry("k1", KEYS.keys["k1"]), MapEntry("k2", make_key(9))])
    await proxy.runtime.run(SetMap(state, "signing", "k2"))
    await proxy.lose_table()
    renewed = await client.get(cookie)
    assert (renewed.pod, renewed.cookie[:32], renewed.cookie.split(".")[4]) == (pod, cookie[:32], "k2")
    await proxy.runtime.replace_map(keys, [MapEntry("k2", make_key(9))])
    await proxy.lose_table()
    assert (await client.get(cookie)).cookie[:32] != cookie[:32]
    assert (await client.get(renewed.cookie)).pod == pod


async def test_a_cookie_of_another_installation_is_not_accepted(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    foreign = KeySet("k1", {"k1": make_key(42)}, KEYS.hint_key)
    async with running_haproxy(tmp_path / "a", make_desired(endpoints(pods)), foreign) as proxy:
        cookie, _ = await Client(http, proxy.url).born()
    async with running_haproxy(tmp_path / "b", make_desired(endpoints(pods))) as proxy:
        assert (await Client(http, proxy.url).get(cookie)).cookie[:32] != cookie[:32]


async def test_a_full_table_drops_the_oldest_and_their_cookies_still_lead_to_their_pods(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path, make_desired(endpoints(pods)), table_size=50) as proxy:
        client = Client(http, proxy.url)
        sessions = [await client.born() for _ in range(150)]
        assert len(await proxy.sessions()) <= 50
        for cookie, pod in by_pod(sessions):
            answer = await client.get(cookie)
            assert (answer.status, answer.pod) == (200, pod)


async def test_a_session_ends_with_its_idle_time_and_lives_on_while_it_is_used(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path, make_desired(endpoints(pods), idle_seconds=2)) as proxy:
        client = Client(http, proxy.url)
        cookie, pod = await client.born()
        used = without_hint(cookie)
        left, _ = await client.born()
        for _ in range(8):
            await asyncio.sleep(0.4)
            answer = await client.get(used)
            assert (answer.pod, answer.cookie[:32] or used[:32]) == (pod, used[:32])
        assert list(await proxy.sessions()) == [used[:32]]
        assert (await client.get(left)).cookie[:32] != left[:32]


async def test_a_session_over_its_absolute_age_ends_for_good_although_it_is_used(
    tmp_path: Path, pods: Pods, http: aiohttp.ClientSession
) -> None:
    async with running_haproxy(tmp_path, make_desired(endpoints(pods), absolute_seconds=2)) as proxy:
        client = Client(http, proxy.url)
        birth = await client.get()
        await asyncio.sleep(2.1)
        after = await client.get(birth.cookie)
        assert after.cookie[:32] != birth.cookie[:32]
        assert await proxy.value(birth.cookie) == ENDED
        await proxy.lose_table()
        assert (await client.get(birth.cookie)).cookie[:32] != birth.cookie[:32]


async def test_a_server_that_refuses_on_the_fast_path_loses_its_session_to_one_that_answers(
    client: Client, proxy: Proxy, pods: Pods
) -> None:
    cookie, pod = await client.born()
    await pods.stop(pod)
    moved = await client.get(cookie)
    assert moved.status == 200
    assert moved.pod != pod
    assert moved.cookie[:32] == cookie[:32]
    assert moved.cookie.split(".")[1] == hint(KEYS.hint_key, moved.pod)
    assert await proxy.value(cookie) == moved.pod
    await pods.start(pod)
    assert {(await client.get(without_hint(moved.cookie))).pod for _ in range(4)} == {moved.pod}


async def test_a_server_that_refuses_for_half_a_second_keeps_its_session(
    client: Client, proxy: Proxy, pods: Pods
) -> None:
    cookie, pod = await client.born()
    await pods.stop(pod)
    request = asyncio.create_task(client.get(without_hint(cookie)))
    await asyncio.sleep(0.5)
    await pods.start(pod)
    answer = await request
    assert (answer.status, answer.pod, answer.cookie) == (200, pod, "")
    assert await proxy.value(cookie) == pod


async def test_an_entry_that_vanishes_while_its_session_moves_leaves_a_cookie_that_names_the_new_pod(
    client: Client, proxy: Proxy, pods: Pods
) -> None:
    cookie, pod = await client.born()
    await pods.stop(pod)
    request = asyncio.create_task(client.get(cookie))
    await asyncio.sleep(0.5)
    await proxy.lose_table()
    moved = await request
    assert moved.pod != pod
    assert moved.cookie.split(".")[1] == hint(KEYS.hint_key, moved.pod)
    assert (await client.get(moved.cookie)).pod == moved.pod


async def test_a_websocket_stays_on_its_pod_and_counts_as_in_flight_until_it_ends(
    client: Client, proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    cookie, pod = await client.born()
    async with http.ws_connect(
        f"{proxy.url}/ws", headers={"Cookie": f"STICKY={without_hint(cookie)}"}
    ) as connection:
        await connection.send_str("hello")
        assert await connection.receive_str() == f"{pod}:hello"
        assert [entry.key for entry in await proxy.runtime.run(ShowInFlight(LIVE))] == [cookie[:32]]

    async def nothing_in_flight() -> bool:
        return await proxy.runtime.run(ShowInFlight(LIVE)) == ()

    await until(nothing_in_flight, "the connection has ended")


async def test_a_session_can_be_born_by_a_websocket(
    client: Client, proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(f"{proxy.url}/ws") as connection:
        await connection.send_str("hello")
        pod = int((await connection.receive_str()).partition(":")[0])
    (entry,) = (await proxy.sessions()).items()
    assert entry[1] == pod + NEWBORN
