"""Only a holder of a certificate with the right name is answered, and a private key never has a file's name."""

from pathlib import Path

import pytest

from haproxy.agent_authority import Authority
from stickyrouting.agent.keys import Identity
from stickyrouting.agent.tls import dns_names, make_mesh_contexts, make_server_context
from stickyrouting.model.errors import InvalidKeys


@pytest.fixture
def identity() -> Identity:
    authority = Authority()
    return Identity(*authority.issue("shop"), authority.certificate)


def test_only_dns_names_of_a_certificate_count() -> None:
    certificate = {
        "subjectAltName": (("DNS", "operator.stickyrouting.io"), ("URI", "spiffe://x"), ("DNS", "b"))
    }
    assert dns_names(certificate) == ["operator.stickyrouting.io", "b"]
    assert dns_names({}) == []
    assert dns_names(None) == []


def test_a_private_key_never_has_a_name_in_the_file_system(
    identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Path]] = []

    class Context:
        def __init__(self, protocol: int) -> None:
            """Take the place of OpenSSL's."""

        def load_cert_chain(self, path: str) -> None:
            seen.append(list(tmp_path.iterdir()))
            assert Path(path).read_bytes() == identity.certificate + b"\n" + identity.private_key

        def load_verify_locations(self, cadata: str) -> None:
            assert cadata.encode() == identity.authorities

    monkeypatch.setattr("ssl.SSLContext", Context)
    make_server_context(identity, tmp_path)
    assert seen == [[]]


@pytest.mark.parametrize("broken", ["certificate", "private_key", "authorities"])
def test_an_identity_that_can_not_be_used_is_refused_without_a_word_of_it(
    identity: Identity, broken: str, tmp_path: Path
) -> None:
    pieces = {name: getattr(identity, name) for name in ("certificate", "private_key", "authorities")}
    with pytest.raises(InvalidKeys) as caught:
        make_mesh_contexts(Identity(**{**pieces, broken: b"no such thing"}), tmp_path, "shop")
    assert str(caught.value) == "certificate, its key or the authority can't be used: SSLError"
