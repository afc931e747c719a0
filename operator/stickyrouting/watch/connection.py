"""Where the API server is, whom it must prove to be, and who we are: from a pod's files or from a kubeconfig.

The token is read anew at every request, because the kubelet replaces it within its hour (Kubernetes
documentation, "Bound service account token volumes"). The authority's certificate is read once: pods
restart when it changes.
"""

import base64
import binascii
import ssl
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from stickyrouting.model.errors import StickyError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
READ_BUFFER = 1 << 20


class InvalidConnection(StickyError):
    """The description of the API server can't be used: fix what the message names."""


def no_token() -> str | None:
    """Stand for an identity that is proved otherwise, by a client certificate or not at all."""
    return None


class Connection:
    """The way to one API server: address, trust, identity, and the one HTTP session over it.

    It is an asynchronous context manager; the session is made at its first use and closed at the end.
    """

    def __init__(
        self,
        server: str,
        trust: ssl.SSLContext | None = None,
        token: Callable[[], str | None] = no_token,
    ) -> None:
        self.server = server.rstrip("/")
        self.trust = trust
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The HTTP session; must be asked for within a running event loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self.trust if self.trust is not None else True)
            self._session = aiohttp.ClientSession(connector=connector, read_bufsize=READ_BUFFER)
        return self._session

    def headers(self) -> dict[str, str]:
        """Return the headers that prove our identity, with the token as it is now."""
        token = self._token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def close(self) -> None:
        """Close the session; a later use opens a new one."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def in_cluster(environ: Mapping[str, str], mount: Path = SERVICE_ACCOUNT) -> Connection:
    """Return the connection of a pod, from its environment and its service account's mounted files.

    Source: Kubernetes documentation, "Accessing the Kubernetes API from a Pod".
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise InvalidConnection(
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: "
            "run in a pod, or give a kubeconfig"
        )
    authority = mount / "ca.crt"
    if not authority.is_file():
        raise InvalidConnection(f"{authority} is missing: mount the service account's token into the pod")
    address = f"[{host}]" if ":" in host else host
    trust = _relaxed(ssl.create_default_context(cafile=str(authority)))
    return Connection(f"https://{address}:{port}", trust, _token_file(mount / "token"))


def from_kubeconfig(config: Mapping[str, Any], base: Path, context: str | None = None) -> Connection:
    """Return the connection that a parsed kubeconfig describes.

    Relative paths in it start from ``base``.     Client certificates and tokens are understood, in the file
    or beside it; ``exec`` and ``auth-provider`` are not. Source: Kubernetes documentation, "kubeconfig
    (v1)".
    """
    chosen = context or config.get("current-context") or ""
    link = _entry(config, "contexts", chosen, "context")
    cluster = _entry(config, "clusters", link.get("cluster", ""), "cluster")
    user = _entry(config, "users", link.get("user", ""), "user")
    server = cluster.get("server")
    if not server:
        raise InvalidConnection(f"kubeconfig: cluster {link.get('cluster')!r} has no server")
    trust = _trust(cluster, user, base) if server.startswith("https:") else None
    return Connection(server, trust, _token(user, base))


def _entry(config: Mapping[str, Any], section: str, name: str, field: str) -> Mapping[str, Any]:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            found: Mapping[str, Any] = entry.get(field) or {}
            return found
    raise InvalidConnection(f"kubeconfig: {section} has no entry named {name!r}")


def _trust(cluster: Mapping[str, Any], user: Mapping[str, Any], base: Path) -> ssl.SSLContext:
    trust = _authority(_material(cluster, "certificate-authority", base))
    if cluster.get("insecure-skip-tls-verify"):
        trust.check_hostname = False
        trust.verify_mode = ssl.CERT_NONE
    certificate, key = _material(user, "client-certificate", base), _material(user, "client-key", base)
    if certificate and key:
        _present(trust, certificate, key)
    return trust


def _authority(pem: bytes | None) -> ssl.SSLContext:
    try:
        return _relaxed(ssl.create_default_context(cadata=pem.decode() if pem else None))
    except (ssl.SSLError, ValueError) as error:
        raise InvalidConnection(
            f"kubeconfig: certificate-authority is no PEM certificate: {error}"
        ) from error


def _relaxed(trust: ssl.SSLContext) -> ssl.SSLContext:
    """Take certificates without key identifiers, as many clusters' authorities make them; Python 3.13 refuses them."""
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return trust


def _material(section: Mapping[str, Any], field: str, base: Path) -> bytes | None:
    data, path = section.get(f"{field}-data"), section.get(field)
    try:
        if data:
            return base64.b64decode(data, validate=True)
        return (base / path).read_bytes() if path else None
    except (binascii.Error, OSError) as error:
        raise InvalidConnection(f"kubeconfig: {field} can't be read: {error}") from error


def _present(trust: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # The standard library loads key pairs from files only; this one is private to us and gone at once.
    with tempfile.NamedTemporaryFile(prefix="sticky-") as pair:
        pair.write(certificate.rstrip() + b"\n" + key)
        pair.flush()
        try:
            trust.load_cert_chain(pair.name)
        except ssl.SSLError as error:
            fault = "client-certificate and client-key do not fit, or are no PEM"
            raise InvalidConnection(f"kubeconfig: {fault}: {error}") from error


def _token(user: Mapping[str, Any], base: Path) -> Callable[[], str | None]:
    unsupported = [field for field in ("exec", "auth-provider") if user.get(field)]
    if unsupported:
        raise InvalidConnection(
            f"kubeconfig: the user is proved by {unsupported[0]}, which is not supported: "
            "use a token or a client certificate"
        )
    if user.get("tokenFile"):
        return _token_file(base / user["tokenFile"])
    token: str | None = user.get("token")
    return lambda: token


def _token_file(path: Path) -> Callable[[], str | None]:
    def read() -> str | None:
        try:
            return path.read_text().strip()
        except OSError:
            return None  # asked without a token the server answers 401, which says it better than we could

    return read
