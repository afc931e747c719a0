"""Certificates as owners of a site have them: good ones, and those that time, tools or people have spoilt."""

import datetime as dt
import ssl
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

SITE = "shop.test"
DAY = dt.timedelta(days=1)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Pair:
    """A self-signed certificate and its private key (PEM)."""

    certificate: bytes
    key: bytes

    @property
    def secret(self) -> dict[str, bytes]:
        return {"tls.crt": self.certificate, "tls.key": self.key}

    @property
    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.certificate).serial_number

    @property
    def ends(self) -> int:
        return int(x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc.timestamp())

    def trust(self, *protocols: str) -> ssl.SSLContext:
        """Return the context of a client that trusts this certificate alone and offers these protocols (ALPN)."""
        context = ssl.create_default_context(cadata=self.certificate.decode())
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context


def make_pair(
    begins: dt.timedelta = -DAY, ends: dt.timedelta = 90 * DAY, key: PrivateKey | None = None, names: int = 1
) -> Pair:
    """Return a certificate that is valid from and until so long from now; of more names it is longer."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    # A client that trusts two certificates tells them apart by their subjects.
    own = x509.NameAttribute(NameOID.SERIAL_NUMBER, str(x509.random_serial_number()))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SITE), own])
    now = dt.datetime.now(dt.UTC)
    others = [x509.DNSName(f"{number:05}.{SITE}") for number in range(names - 1)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SITE), *others]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), written(key))


def written(key: PrivateKey, passphrase: bytes = b"", form: str = "PKCS8") -> bytes:
    """Return a private key in PEM; ``form`` is PKCS8, or TraditionalOpenSSL as older tools write it."""
    encryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), encryption
    )
