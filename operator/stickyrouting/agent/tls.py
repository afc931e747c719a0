"""Mutual TLS of the agent's HTTPS server: its identity, and who may ask."""

import ssl
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stickyrouting.agent.keys import Identity
from stickyrouting.model.errors import InvalidKeys


def make_server_context(identity: Identity, directory: Path) -> ssl.SSLContext:
    """Build the context of the HTTPS server: a client must show a certificate of our authorities.

    OpenSSL reads certificates from files only, so they pass through a private one in ``directory`` (memory,
    not disk). Raises :class:`InvalidKeys` if certificate, key or authorities can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".identity-") as file:
            file.write(identity.certificate + b"\n" + identity.private_key)
            file.flush()
            context.load_cert_chain(file.name)
        context.load_verify_locations(cadata=identity.authorities.decode())
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise InvalidKeys(
            f"certificate, its key or the authority can't be used: {type(error).__name__}"
        ) from None
    return context


def dns_names(certificate: Mapping[str, Any] | None) -> Iterable[str]:
    """Return the DNS names of a verified peer certificate, as :meth:`ssl.SSLSocket.getpeercert` gives it."""
    alternatives = (certificate or {}).get("subjectAltName", ())
    return [value for kind, value in alternatives if kind == "DNS"]
