"""Connections from a pod's files and from kubeconfigs."""

import base64
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stickyrouting.watch.connection import InvalidConnection, from_kubeconfig, in_cluster

ENVIRON = {"KUBERNETES_SERVICE_HOST": "198.18.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def pair() -> tuple[bytes, bytes]:
    """A self-signed certificate and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(hours=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate, private


@pytest.fixture(scope="module")
def certificate() -> tuple[bytes, bytes]:
    return pair()


@pytest.fixture
def mount(tmp_path: Path, certificate: tuple[bytes, bytes]) -> Path:
    (tmp_path / "ca.crt").write_bytes(certificate[0])
    (tmp_path / "token").write_text("first\n")
    return tmp_path


def kubeconfig(cluster: dict[str, Any], user: dict[str, Any]) -> dict[str, Any]:
    return {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://198.18.0.1:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }


def test_a_pod_finds_the_server_and_proves_itself_with_its_token(mount: Path) -> None:
    connection = in_cluster(ENVIRON, mount)
    assert connection.server == "https://198.18.0.1:443"
    assert connection.headers() == {"Authorization": "Bearer first"}
    assert connection.trust is not None
    assert connection.trust.verify_mode is ssl.CERT_REQUIRED
    assert len(connection.trust.get_ca_certs()) == 1


def test_a_token_that_was_replaced_is_used_at_once(mount: Path) -> None:
    connection = in_cluster(ENVIRON, mount)
    (mount / "token").write_text("second")
    assert connection.headers() == {"Authorization": "Bearer second"}
    (mount / "token").unlink()
    assert connection.headers() == {}


def test_an_address_of_version_6_is_put_in_brackets(mount: Path) -> None:
    connection = in_cluster({**ENVIRON, "KUBERNETES_SERVICE_HOST": "fd00::1"}, mount)
    assert connection.server == "https://[fd00::1]:443"


def test_outside_of_a_pod_the_message_says_what_to_give(mount: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidConnection, match="run in a pod, or give a kubeconfig"):
        in_cluster({}, mount)
    with pytest.raises(InvalidConnection, match=r"ca\.crt is missing: mount the service account's token"):
        in_cluster(ENVIRON, tmp_path / "none")


def test_a_kubeconfig_gives_certificates_as_data(certificate: tuple[bytes, bytes], tmp_path: Path) -> None:
    authority, key = (base64.b64encode(part).decode() for part in certificate)
    config = kubeconfig(
        {"certificate-authority-data": authority},
        {"client-certificate-data": authority, "client-key-data": key},
    )
    connection = from_kubeconfig(config, tmp_path)
    assert connection.server == "https://198.18.0.1:6443"
    assert connection.trust is not None
    assert len(connection.trust.get_ca_certs()) == 1
    assert connection.headers() == {}


def test_a_kubeconfig_names_files_beside_it(mount: Path) -> None:
    config = kubeconfig({"certificate-authority": "ca.crt"}, {"tokenFile": "token"})
    assert from_kubeconfig(config, mount).headers() == {"Authorization": "Bearer first"}


def test_a_kubeconfig_gives_a_token(mount: Path) -> None:
    config = kubeconfig({"certificate-authority": "ca.crt"}, {"token": "abc"})
    assert from_kubeconfig(config, mount).headers() == {"Authorization": "Bearer abc"}


def test_a_client_certificate_that_does_not_fit_its_key_is_refused(
    certificate: tuple[bytes, bytes], mount: Path
) -> None:
    (mount / "other.key").write_bytes(pair()[1])
    user = {"client-certificate": "ca.crt", "client-key": "other.key"}
    with pytest.raises(InvalidConnection, match="client-certificate and client-key do not fit"):
        from_kubeconfig(kubeconfig({"certificate-authority": "ca.crt"}, user), mount)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "contexts has no entry named ''"),
        ({**kubeconfig({}, {}), "current-context": "x"}, "contexts has no entry named 'x'"),
        ({**kubeconfig({}, {}), "clusters": []}, "clusters has no entry named 'c'"),
        (kubeconfig({"server": ""}, {}), "cluster 'c' has no server"),
        (kubeconfig({}, {"exec": {"command": "x"}}), "proved by exec, which is not supported: use a token"),
        (kubeconfig({"certificate-authority-data": "?"}, {}), "certificate-authority can't be read"),
        (kubeconfig({"certificate-authority": "none"}, {}), "certificate-authority can't be read"),
        (kubeconfig({"certificate-authority-data": "YWJj"}, {}), "certificate-authority is no PEM"),
    ],
)
def test_what_a_kubeconfig_lacks_is_named(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConnection, match=message):
        from_kubeconfig(config, tmp_path)
