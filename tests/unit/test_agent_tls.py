"""Only a holder of a certificate with the operator's name is answered."""

from stickyrouting.agent.tls import dns_names


def test_only_dns_names_of_a_certificate_count() -> None:
    certificate = {
        "subjectAltName": (("DNS", "operator.stickyrouting.io"), ("URI", "spiffe://x"), ("DNS", "b"))
    }
    assert dns_names(certificate) == ["operator.stickyrouting.io", "b"]
    assert dns_names({}) == []
    assert dns_names(None) == []
