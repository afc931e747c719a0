"""Certificates and kubeconfigs of the cluster: two authorities (API, aggregation layer), EC P-256 keys, one year.

Who needs which name: https://kubernetes.io/docs/setup/best-practices/certificates/
"""

import base64
import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from lab.native import addresses

LIFETIME = datetime.timedelta(days=365)
API_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{addresses.CLUSTER_DOMAIN}",
    "127.0.0.1",
    addresses.CONTROL_PLANE,
    addresses.API_SERVICE,
)


@dataclass(frozen=True)
class Pair:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key as PEM (PKCS #8)."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, folder: Path, name: str) -> None:
        """Write NAME.crt and NAME.key, the key readable by root only."""
        (folder / f"{name}.crt").write_bytes(self.certificate_pem)
        _write_secret(folder / f"{name}.key", self.key_pem)


SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=True,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Subject:
    """Whom a leaf is for: user and group as Kubernetes reads them (CN, O), and the names and addresses it serves."""

    user: str
    group: str | None = None
    serves: tuple[str, ...] = ()


def make_authority(name: str, now: datetime.datetime) -> Pair:
    """Return a new self-signed certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(Subject(name))
    builder = _builder(subject, subject, key, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(SIGNS_CERTIFICATES, critical=True)
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    return Pair(builder.sign(key, hashes.SHA256()), key)


def issue(authority: Pair, subject: Subject, now: datetime.datetime) -> Pair:
    """Return a new leaf of the authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(subject), authority.certificate.subject, key, now)
    if subject.serves:
        names = x509.SubjectAlternativeName([_general_name(text) for text in subject.serves])
        builder = builder.add_extension(names, critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def write_all(folder: Path, now: datetime.datetime) -> None:
    """Write every certificate, key and kubeconfig of the cluster into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = make_authority("lab-ca", now)
    front = make_authority("lab-front-proxy-ca", now)
    (folder / "ca.crt").write_bytes(authority.certificate_pem)
    (folder / "front-proxy-ca.crt").write_bytes(front.certificate_pem)
    issue(front, Subject("front-proxy-client"), now).write(folder, "front-proxy")
    make_authority("service-accounts", now).write(folder, "service-accounts")
    issue(authority, Subject("kube-apiserver", serves=API_NAMES), now).write(folder, "apiserver")
    for name, subject in _clients().items():
        pair = issue(authority, subject, now)
        pair.write(folder, name)
        _write_secret(folder / f"{name}.kubeconfig", kubeconfig(authority, pair).encode())
    for node in addresses.NODES:
        serves = (node.name, node.address)
        issue(authority, Subject(node.name, serves=serves), now).write(folder, f"{node.name}-serving")


def kubeconfig(authority: Pair, client: Pair) -> str:
    """Return a kubeconfig that holds its certificates, so that it works from any folder."""
    cluster = {"server": addresses.API_URL, "certificate-authority-data": _base64(authority.certificate_pem)}
    user = {
        "client-certificate-data": _base64(client.certificate_pem),
        "client-key-data": _base64(client.key_pem),
    }
    name = "sticky-lab"
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": user}],
        }
    )


def _clients() -> dict[str, Subject]:
    nodes = {n.name: Subject(f"system:node:{n.name}", "system:nodes") for n in addresses.NODES}
    return {
        "admin": Subject("admin", "system:masters"),
        "controller-manager": Subject("system:kube-controller-manager"),
        "scheduler": Subject("system:kube-scheduler"),
        "proxy": Subject("system:kube-proxy"),
        "dns": Subject("cluster-dns", "system:masters"),
        **nodes,
    }


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime.datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + LIFETIME)


def _name(subject: Subject) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, subject.group)] if subject.group else []
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, subject.user)])


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _write_secret(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
