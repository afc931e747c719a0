"""The real agent behind doors that a test can shut, one for the other agents and one for its HAProxy.

It listens on other ports than it tells, where the doors stand, and each of its connections comes from an address of
its own, so that the doors know whom they let in. A file stands for the DNS name of all proxies.
"""

import asyncio
import functools
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from stickyrouting.agent import agent, gauges, link, members
from stickyrouting.agent.main import main
from stickyrouting.agent.members import ASK_SECONDS, Seeds
from stickyrouting.agent.settings import Settings, make_proxy_settings
from stickyrouting.haproxy.peer_transport import PeerConnection, PeerNames, listen_peer
from stickyrouting.mesh import mesh
from stickyrouting.mesh.listener import listen
from stickyrouting.mesh.messages import parse_address
from stickyrouting.render.haproxy_settings import ProxySettings

OnPeer = Callable[[PeerConnection], Awaitable[None]]


async def follow_file(seeds: Seeds) -> None:
    """Take the addresses from a file, as often as a name server would be asked."""
    while True:
        listed = await asyncio.to_thread(Path(os.environ["FLEET_PEERS"]).read_text)
        own = int(os.environ["STICKY_MESH_PORT"])
        addresses = [parse_address(line) for line in listed.split()]
        seeds.current = tuple(address for address in addresses if address.port != own)
        await asyncio.sleep(ASK_SECONDS)


def stand_behind_the_door() -> None:
    """Change where this process listens for agents, and where it comes from."""
    port = int(os.environ["FLEET_MESH_PORT"])

    def listen_behind(_: int) -> socket.socket:
        return listen(port)

    peer_port = int(os.environ["FLEET_PEER_PORT"])

    async def listen_peer_behind(host: str, _: int, names: PeerNames, serve: OnPeer) -> asyncio.Server:
        return await listen_peer(host, peer_port, names, serve)

    def make_small_settings(settings: Settings) -> ProxySettings:
        size = os.environ.get("FLEET_TABLE_SIZE")
        made = make_proxy_settings(settings)
        return replace(made, table_size=int(size)) if size else made

    source = (os.environ["FLEET_SOURCE"], 0)
    patch.object(agent, "make_proxy_settings", make_small_settings).start()
    patch.object(mesh, "listen", listen_behind).start()
    patch.object(link, "listen_peer", listen_peer_behind).start()
    patch.object(members.Seeds, "run", follow_file).start()
    # The audit's looks come so often that a test can wait for two.
    patch.object(gauges, "LOOK_SECONDS", 0.2).start()
    asyncio.open_connection = functools.partial(asyncio.open_connection, local_addr=source)


if __name__ == "__main__":
    stand_behind_the_door()
    sys.exit(main())
