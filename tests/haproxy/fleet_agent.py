"""The real agent behind a door that a test can shut.

It listens on another port than it tells the others, where the door stands, and each of its connections comes from an
address of its own, so that the door knows whom it lets in. A file stands for the DNS name of all proxies.
"""

import asyncio
import functools
import os
import socket
import sys
from pathlib import Path
from unittest.mock import patch

from stickyrouting.agent import gauges, members
from stickyrouting.agent.main import main
from stickyrouting.agent.members import ASK_SECONDS, Seeds
from stickyrouting.mesh import mesh
from stickyrouting.mesh.listener import listen
from stickyrouting.mesh.messages import parse_address


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

    source = (os.environ["FLEET_SOURCE"], 0)
    patch.object(mesh, "listen", listen_behind).start()
    patch.object(members.Seeds, "run", follow_file).start()
    # The audit's looks come so often that a test can wait for two.
    patch.object(gauges, "LOOK_SECONDS", 0.2).start()
    asyncio.open_connection = functools.partial(asyncio.open_connection, local_addr=source)


if __name__ == "__main__":
    stand_behind_the_door()
    sys.exit(main())
