"""Where the authority is kept, and the operator's own end of connections to agents and from the API server."""

import asyncio
import base64
import datetime as dt
import logging
import os
import ssl
import tempfile
from collections.abc import Callable
from typing import Any, NoReturn

from stickyrouting.apply.authority import LEAF_VALIDITY, Authority, Leaf, load_authority, new_authority
from stickyrouting.kube.client import Kube
from stickyrouting.model import names
from stickyrouting.model.errors import Changed, StickyError
from stickyrouting.model.keys import CERTIFICATE_FILE, PRIVATE_KEY_FILE

RENEWAL_SECONDS = 3600.0
Manifest = dict[str, Any]
log = logging.getLogger(__name__)


async def ensure_authority(kube: Kube, namespace: str, name: str, now: dt.datetime) -> Authority:
    """Return the authority kept in Secret ``name``; makes it if there is none. Two makers agree on the first."""
    found = await kube.get("v1", "Secret", namespace, name)
    if found is None:
        fresh = new_authority(now)
        try:
            await kube.create(_secret(namespace, name, fresh.export()))
        except Changed:
            found = await kube.get("v1", "Secret", namespace, name)
        else:
            return fresh
    if found is None:
        raise StickyError(f"Secret {namespace}/{name} vanished while it was read; starting again")
    return _load(found)


class ClientLeaf:
    """The operator's end of every connection to an agent: its own leaf, trust in the authority alone."""

    def __init__(self, authority: Authority, now: dt.datetime) -> None:
        self._authority = authority
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.load_verify_locations(cadata=authority.pem.decode())
        self._load(now)

    def renew(self, now: dt.datetime) -> bool:
        """Replace the leaf if a third of its life is left, and say whether; connections that exist go on."""
        if now < self._due:
            return False
        self._load(now)
        return True

    def _load(self, now: dt.datetime) -> None:
        _show(self.context, self._authority.issue(names.OPERATOR_IDENTITY, now))
        self._due = now + LEAF_VALIDITY * 2 / 3


class ServerLeaf:
    """The operator's end of connections that the API server opens: a leaf for one DNS name; anybody may connect."""

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self._issuer = b""
        self._due = dt.datetime.min.replace(tzinfo=dt.UTC)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3

    def renew(self, authority: Authority, now: dt.datetime) -> bool:
        """Replace the leaf if it is of another authority or a third of its life is left, and say whether."""
        if authority.pem == self._issuer and now < self._due:
            return False
        _show(self.context, authority.issue(self._identity, now))
        self._issuer, self._due = authority.pem, now + LEAF_VALIDITY * 2 / 3
        return True


async def renew_forever(leaf: ClientLeaf, now: Callable[[], dt.datetime]) -> NoReturn:
    """Look at the operator's leaf each hour, until cancelled."""
    while True:
        await asyncio.sleep(RENEWAL_SECONDS)
        if leaf.renew(now()):
            log.info("the operator's own certificate was renewed")


def _show(context: ssl.SSLContext, leaf: Leaf) -> None:
    """Have a context show a leaf from now on; connections that exist go on."""
    # OpenSSL reads certificates from files only.
    descriptor, path = tempfile.mkstemp(prefix="sticky-leaf-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(leaf.certificate + leaf.private_key)
        context.load_cert_chain(path)
    finally:
        os.unlink(path)


def _secret(namespace: str, name: str, leaf: Leaf) -> Manifest:
    data = {CERTIFICATE_FILE: leaf.certificate, PRIVATE_KEY_FILE: leaf.private_key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"namespace": namespace, "name": name},
        "data": {file: base64.b64encode(content).decode() for file, content in data.items()},
    }


def _load(secret: Manifest) -> Authority:
    data = secret.get("data") or {}
    meta = secret["metadata"]
    try:
        leaf = Leaf(base64.b64decode(data[CERTIFICATE_FILE]), base64.b64decode(data[PRIVATE_KEY_FILE]))
        return load_authority(leaf)
    except (KeyError, ValueError) as error:
        raise StickyError(
            f"Secret {meta['namespace']}/{meta['name']} does not hold a certificate authority"
            f" ({type(error).__name__}); delete it and restart the operator to get a new one"
        ) from None
