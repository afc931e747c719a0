"""What haproxy.cfg says that is not in the desired state: where this proxy lives and how large it may grow."""

import re
from dataclasses import dataclass

from stickyrouting.model import names
from stickyrouting.render.maps import MapName

_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/-]*")


def both_families(port: int) -> tuple[str, str]:
    """Return the bind addresses of a port on all IPv4 and IPv6 addresses.

    Two sockets: on one for both, an IPv4 client would be told to the application as ``::ffff:192.0.2.1``.
    """
    return f"0.0.0.0:{port}", f":::{port} v6only"


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Paths, listening addresses and sizes of one proxy.

    ``traffic`` and ``metrics`` hold HAProxy bind addresses with their options; ``table_size`` is in sessions,
    ``maxconn`` in connections. Raises ValueError if ``run`` is not a plain absolute path.
    """

    run: str = "/run/sticky"
    traffic: tuple[str, ...] = both_families(names.PORT_TRAFFIC)
    metrics: tuple[str, ...] = both_families(names.PORT_HAPROXY)
    peer_bind: str = "127.0.0.1:10000"
    agent_peer: str = "127.0.0.1:10001"
    threads: int = 2
    maxconn: int = 8_000
    table_size: int = 1_300_000

    def __post_init__(self) -> None:
        # The path stands inside sample expressions, where HAProxy has no way to quote commas and brackets.
        if not _PLAIN_PATH.fullmatch(self.run):
            raise ValueError(
                f"run directory {self.run!r}: use an absolute path of letters, digits, '.', '_' and '-'"
            )

    @property
    def places(self) -> str:
        """Where the agent is asked for a place: UDP, on the port where it is HAProxy's peer by TCP."""
        return self.agent_peer

    @property
    def config(self) -> str:
        """Path of haproxy.cfg."""
        return f"{self.run}/haproxy.cfg"

    @property
    def certificate(self) -> str:
        """Path of the certificate for clients with its private key; also its name in the runtime API."""
        return f"{self.run}/clients.pem"

    @property
    def admin_socket(self) -> str:
        """Path of the runtime API's socket."""
        return f"{self.run}/admin.sock"

    @property
    def master_socket(self) -> str:
        """Path of the master process's socket."""
        return f"{self.run}/master.sock"

    @property
    def server_state(self) -> str:
        """Path of the file that carries server states over a reload."""
        return f"{self.run}/server-state"

    def map_path(self, name: MapName) -> str:
        """Return the path of a map file, which is also the map's name in the runtime API."""
        return f"{self.run}/{name.value}"
