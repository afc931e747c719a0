"""The end of a certificate is read as the library reads it, and nothing but a certificate is read."""

import base64
import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from stickyrouting.agent.certificate import expiry_of
from stickyrouting.apply.authority import new_authority
from stickyrouting.model.errors import InvalidKeys

NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(ends: dt.datetime, subject: str = "leaf") -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(1960, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(ends)
        .sign(KEY, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("subject", ["leaf", "shop " * 12, "Grüße " * 8])
@pytest.mark.parametrize("year", [1960, 1999, 2000, 2027, 2049, 2050, 9999])
def test_it_is_what_the_library_says(year: int, subject: str) -> None:
    pem = certificate(dt.datetime(year, 12, 31, 23, 58, 59, tzinfo=dt.UTC), subject)
    assert expiry_of(pem) == int(x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp())


def test_of_a_chain_the_first_certificate_counts() -> None:
    authority = new_authority(NOW)
    leaf = authority.issue("shop.demo.proxy.stickyrouting.io", NOW)
    ninety_days = int((NOW + dt.timedelta(days=90)).timestamp())
    assert expiry_of(leaf.certificate + authority.pem) == ninety_days


def pem_of(der: bytes) -> bytes:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n".encode()


@given(st.binary(max_size=200))
def test_what_is_no_certificate_is_refused(der: bytes) -> None:
    with pytest.raises(InvalidKeys, match="can't be read"):
        expiry_of(pem_of(der))


def test_a_certificate_that_is_cut_off_anywhere_is_refused() -> None:
    whole = x509.load_pem_x509_certificate(certificate(NOW)).public_bytes(serialization.Encoding.DER)
    for length in range(len(whole)):
        with pytest.raises(InvalidKeys):
            expiry_of(pem_of(whole[:length]))


@pytest.mark.parametrize("text", [b"", b"tls.crt of a", b"\xff", b"-----BEGIN CERTIFICATE-----"])
def test_text_that_holds_none_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidKeys):
        expiry_of(text)
