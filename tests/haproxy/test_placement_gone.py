"""A session whose pod is gone: another proxy may have moved it already, and its cookie says where."""

import base64
import hashlib
import hmac

import pytest

from haproxy.harness import KEYS, Client, Pods, Proxy, make_desired
from haproxy.placement_site import endpoints, set_slots
from stickyrouting.haproxy.commands import ClearTableKey, ServerState, SetState, ShowTableUsed
from stickyrouting.render.haproxy_names import IDS
from stickyrouting.render.maps import MapName, hint, render_maps


async def make_gone(proxy: Proxy, id_: int, pods: Pods) -> None:
    """Take a server out as the agent does when its endpoint goes."""
    for name, entries in render_maps(make_desired([e for e in endpoints(pods) if e.id != id_]), KEYS).items():
        if name in (MapName.HINT2ID, MapName.ID2HINT):
            await proxy.runtime.replace_map(proxy.settings.map_path(name), entries)
    await proxy.runtime.run(SetState(id_, ServerState.MAINT))
    await proxy.runtime.run(ClearTableKey(IDS, str(id_)))


def with_hint(cookie: str, pod: int) -> str:
    """Return the session's cookie as another proxy signs it after it moved the session to ``pod``."""
    session, _, born, _, key = cookie.split(".")
    payload = f"{session}.{hint(KEYS.hint_key, pod)}.{born}"
    digest = hmac.new(base64.b64decode(KEYS.keys[key]), payload.encode(), hashlib.sha256).digest()
    return f"{payload}.{base64.urlsafe_b64encode(digest).decode()[:16]}.{key}"


async def born_on(client: Client, proxy: Proxy, pod: int, count: int) -> list[str]:
    await set_slots(proxy, {pod: 1})
    return [(await client.born())[0] for _ in range(count)]


@pytest.mark.parametrize("other", [2, 3])
async def test_a_session_whose_pod_is_gone_goes_where_its_cookie_says_that_another_proxy_moved_it(
    other: int, client: Client, proxy: Proxy, pods: Pods
) -> None:
    cookies = await born_on(client, proxy, 1, 6)
    await set_slots(proxy, {5 - other: 1})
    await make_gone(proxy, 1, pods)
    for cookie in cookies:
        moved = await client.get(with_hint(cookie, other))
        assert (moved.pod, moved.cookie[:32]) == (other, cookie[:32])
        assert await proxy.value(cookie) == other
        # The older cookie of a client that has two connections changes nothing any more.
        assert (await client.get(cookie)).pod == other


async def test_a_session_whose_pod_is_gone_for_all_is_placed_once_like_a_birth(
    client: Client, proxy: Proxy, pods: Pods
) -> None:
    cookies = await born_on(client, proxy, 1, 6)
    await make_gone(proxy, 1, pods)
    await set_slots(proxy, {3: 1})
    for cookie in cookies:
        moved = await client.get(cookie)
        assert (moved.pod, moved.cookie[:32], moved.cookie.split(".")[1]) == (
            3,
            cookie[:32],
            hint(KEYS.hint_key, 3),
        )
        assert (await client.get(moved.cookie)).cookie == ""


async def test_a_hint_that_nobody_signed_moves_no_session_whose_pod_is_gone(
    client: Client, proxy: Proxy, pods: Pods
) -> None:
    (cookie,) = await born_on(client, proxy, 1, 1)
    await make_gone(proxy, 1, pods)
    await set_slots(proxy, {3: 1})
    parts = cookie.split(".")
    forged = ".".join([parts[0], hint(KEYS.hint_key, 2), *parts[2:]])
    assert (await client.get(forged)).pod == 3


async def test_a_hint_moves_no_session_whose_pod_is_listed(client: Client, proxy: Proxy) -> None:
    (cookie,) = await born_on(client, proxy, 1, 1)
    assert (await client.get(with_hint(cookie, 2))).pod == 1


async def test_a_server_is_known_again_by_its_first_answer(client: Client, proxy: Proxy) -> None:
    (cookie,) = await born_on(client, proxy, 1, 1)
    await proxy.runtime.run(ClearTableKey(IDS, "1"))
    assert (await client.get(cookie)).cookie != ""
    assert (await client.get(cookie)).cookie == ""
    assert (await proxy.runtime.run(ShowTableUsed()))[IDS].used == 1
