"""The operator's certificate authority: its key never leaves the operator's namespace.

Certificates follow RFC 5280; names are checked as DNS subject alternative names (RFC 9525).
"""

import datetime as dt
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stickyrouting.model.keys import LEAF_SECONDS

VALIDITY = dt.timedelta(days=3650)
LEAF_VALIDITY = dt.timedelta(seconds=LEAF_SECONDS)
CLOCK_SKEW = dt.timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate with its private key, both PEM."""

    certificate: bytes
    private_key: bytes


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority; ``pem`` is what others trust."""

    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The authority's certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, identity: str, now: dt.datetime) -> Leaf:
        """Return a leaf for the DNS name ``identity``, for both ends of a TLS connection, for ``LEAF_VALIDITY``."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.Name([]), self.certificate.subject
        builder = _builder(names, key.public_key(), now, LEAF_VALIDITY)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        signed = (
            builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(identity)]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.private_key.public_key()),
                critical=False,
            )
            .sign(self.private_key, hashes.SHA256())
        )
        return Leaf(signed.public_bytes(serialization.Encoding.PEM), _key_pem(key))

    def derive(self, purpose: str) -> bytes:
        """Return 32 secret bytes for ``purpose``, the same each time (HKDF-SHA256, RFC 5869)."""
        secret = self.private_key.private_numbers().private_value.to_bytes(32)
        return HKDF(hashes.SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret)

    def export(self) -> Leaf:
        """Return the authority itself, for the Secret that keeps it."""
        return Leaf(self.pem, _key_pem(self.private_key))


def new_authority(now: dt.datetime) -> Authority:
    """Return a fresh authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sticky Routing")])
    certificate = (
        _builder((name, name), key.public_key(), now, VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signs_certificates(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def load_authority(leaf: Leaf) -> Authority:
    """Return the authority that a Secret holds; raises ValueError if it is none."""
    key = serialization.load_pem_private_key(leaf.private_key, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("tls.key of the authority's Secret is not an elliptic curve key; delete the Secret")
    return Authority(x509.load_pem_x509_certificate(leaf.certificate), key)


def _builder(
    names: tuple[x509.Name, x509.Name],
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    validity: dt.timedelta,
) -> x509.CertificateBuilder:
    subject, issuer = names
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + validity)
    )


def _signs_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
