"""How the shop fails at its port, and that it comes back by itself with all that it remembers."""

import asyncio
import socket
import time

import aiohttp
import pytest

from apps.door import Kind
from apps.shop import Shop, serving

SECONDS = 0.6
IN_THE_MIDST = 0.3
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n"


def try_soon(port: int) -> str:
    """Return what became of a request that is sent in the midst of a failure."""
    time.sleep(IN_THE_MIDST)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.1) as connection:
            try:
                connection.sendall(REQUEST)
                return "answered" if connection.recv(1) else "closed"
            except TimeoutError:
                return "connected"
    except TimeoutError:
        return "no connection"
    except ConnectionRefusedError:
        return "refused"


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [(Kind.REFUSE, "refused"), (Kind.SWALLOW, "no connection"), (Kind.HANG, "connected")],
)
async def test_a_shop_fails_as_it_was_told_to_and_comes_back(kind: Kind, outcome: str) -> None:
    async with serving(Shop(pod="shop-a"), "127.0.0.1", 0) as door, aiohttp.ClientSession() as client:
        url = f"http://127.0.0.1:{door.port}"
        before = await (await client.get(f"{url}/healthz")).json()
        told = await client.post(f"{url}/admin/{kind.value}?seconds={SECONDS}")
        assert (told.status, await asyncio.to_thread(try_soon, door.port)) == (200, outcome)
        await asyncio.sleep(SECONDS)
        assert await asyncio.to_thread(try_soon, door.port) == "answered"
        assert await (await client.get(f"{url}/healthz")).json() == before


async def test_who_is_connected_has_to_come_anew_to_a_shop_that_refuses() -> None:
    async with serving(Shop(pod="shop-a"), "127.0.0.1", 0) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(REQUEST)
        await reader.readuntil(b"}")
        async with aiohttp.ClientSession() as client:
            await client.post(f"http://127.0.0.1:{door.port}/admin/refuse?seconds={SECONDS}")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
