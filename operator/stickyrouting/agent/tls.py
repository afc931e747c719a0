"""Mutual TLS of the agent: its identity, and who may connect."""

import ssl
import tempfile
from pathlib import Path

from stickyrouting.agent.keys import Identity
from stickyrouting.mesh.transport import Contexts, dns_names
from stickyrouting.model.errors import InvalidKeys

__all__ = ["dns_names", "make_mesh_contexts", "make_server_context"]


def make_server_context(identity: Identity, directory: Path) -> ssl.SSLContext:
    """Build the context of the HTTPS server: a client must show a certificate of our authorities.

    OpenSSL reads certificates from files only, so they pass through one in ``directory`` (memory, not disk) that has
    no name: nothing is left of it when the agent dies halfway. Raises :class:`InvalidKeys` if certificate, key or
    authorities can't be used.
    """
    return _make_context(ssl.PROTOCOL_TLS_SERVER, identity, directory)


def make_mesh_contexts(identity: Identity, directory: Path, name: str) -> Contexts:
    """Build the contexts of both ends of a link between agents; each compares the other's only DNS name with ``name``.

    Raises :class:`InvalidKeys` if certificate, key or authorities can't be used.
    """
    server = _make_context(ssl.PROTOCOL_TLS_SERVER, identity, directory)
    # A resumed connection would show no certificate.
    server.num_tickets = 0
    return Contexts(_make_context(ssl.PROTOCOL_TLS_CLIENT, identity, directory), server, name)


def _make_context(protocol: int, identity: Identity, directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Not by OpenSSL: it would take a wildcard for our name.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(identity.certificate + b"\n" + identity.private_key)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        context.load_verify_locations(cadata=identity.authorities.decode())
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise InvalidKeys(
            f"certificate, its key or the authority can't be used: {type(error).__name__}"
        ) from None
    return context
