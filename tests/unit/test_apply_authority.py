"""Certificates: which handshakes between operator and agent succeed, by TLS itself over memory."""

import asyncio
import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from stickyrouting.agent.keys import Identity
from stickyrouting.agent.tls import dns_names, make_server_context
from stickyrouting.apply import trust
from stickyrouting.apply.authority import Authority, Leaf, load_authority, new_authority
from stickyrouting.apply.trust import ClientLeaf
from stickyrouting.model.names import proxy_identity

NOW = dt.datetime.now(dt.UTC)
SHOP, CART = proxy_identity("demo", "shop"), proxy_identity("demo", "cart")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority(NOW)


def agent_side(authority: Authority, leaf: Leaf, scratch: Path) -> ssl.SSLContext:
    return make_server_context(Identity(leaf.certificate, leaf.private_key, authority.pem), scratch)


def shake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """Run a handshake to its end and return the server's side; raises what a side objects to."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(back, there, server_hostname=name)
    other = server.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return other


def test_the_operator_and_the_agent_of_the_right_stickyservice_accept_each_other(
    authority: Authority, tmp_path: Path
) -> None:
    agent = agent_side(authority, authority.issue(SHOP, NOW), tmp_path)
    met = shake(ClientLeaf(authority, NOW).context, agent, SHOP)
    assert list(dns_names(met.getpeercert())) == ["operator.stickyrouting.io"]
    assert met.version() == "TLSv1.3"


def test_the_chain_satisfies_the_strict_rules_of_rfc_5280(authority: Authority, tmp_path: Path) -> None:
    client, agent = (
        ClientLeaf(authority, NOW).context,
        agent_side(authority, authority.issue(SHOP, NOW), tmp_path),
    )
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    agent.verify_flags |= ssl.VERIFY_X509_STRICT
    assert shake(client, agent, SHOP).version() == "TLSv1.3"


def test_the_agent_of_another_stickyservice_is_refused(authority: Authority, tmp_path: Path) -> None:
    agent = agent_side(authority, authority.issue(CART, NOW), tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(ClientLeaf(authority, NOW).context, agent, SHOP)


def test_an_agent_of_a_foreign_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    foreign = new_authority(NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        shake(
            ClientLeaf(authority, NOW).context,
            agent_side(authority, foreign.issue(SHOP, NOW), tmp_path),
            SHOP,
        )


def test_an_operator_of_a_foreign_authority_is_refused_by_the_agent(
    authority: Authority, tmp_path: Path
) -> None:
    foreign, scratch = ClientLeaf(new_authority(NOW), NOW).context, tmp_path
    foreign.load_verify_locations(cadata=authority.pem.decode())
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        shake(foreign, agent_side(authority, authority.issue(SHOP, NOW), scratch), SHOP)


def test_a_proxys_leaf_can_not_sign_for_others(authority: Authority, tmp_path: Path) -> None:
    impostor = load_authority(authority.issue(CART, NOW))
    forged = impostor.issue(SHOP, NOW)
    chained = Leaf(forged.certificate + impostor.pem, forged.private_key)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(ClientLeaf(authority, NOW).context, agent_side(authority, chained, tmp_path), SHOP)


def test_a_clock_ten_minutes_behind_still_accepts_a_fresh_leaf(authority: Authority, tmp_path: Path) -> None:
    ahead = NOW + dt.timedelta(minutes=9)
    agent = agent_side(authority, authority.issue(SHOP, ahead), tmp_path)
    assert shake(ClientLeaf(authority, ahead).context, agent, SHOP).version() == "TLSv1.3"


def test_an_authority_that_was_kept_is_the_same_one(authority: Authority, tmp_path: Path) -> None:
    again = load_authority(authority.export())
    assert again.pem == authority.pem
    agent = agent_side(authority, again.issue(SHOP, NOW), tmp_path)
    assert shake(ClientLeaf(authority, NOW).context, agent, SHOP).version() == "TLSv1.3"


def test_what_is_no_authority_is_refused() -> None:
    with pytest.raises(ValueError, match="PEM"):
        load_authority(Leaf(b"certificate", b"key"))


def test_a_leaf_lives_for_ninety_days_and_the_authority_for_ten_years(authority: Authority) -> None:
    leaf = x509.load_pem_x509_certificate(authority.issue(SHOP, NOW).certificate)
    assert leaf.not_valid_after_utc == NOW.replace(microsecond=0) + dt.timedelta(days=90)
    assert authority.certificate.not_valid_after_utc == NOW.replace(microsecond=0) + dt.timedelta(days=3650)


def test_the_operators_own_leaf_is_renewed_in_place_when_a_third_of_its_life_is_left(
    authority: Authority, tmp_path: Path
) -> None:
    made = NOW - dt.timedelta(days=100)
    leaf = ClientLeaf(authority, made)
    agent = agent_side(authority, authority.issue(SHOP, NOW), tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        shake(leaf.context, agent, SHOP)
    context = leaf.context
    assert [leaf.renew(made + dt.timedelta(days=day)) for day in (0, 30, 59)] == [False] * 3
    assert [leaf.renew(NOW), leaf.renew(NOW)] == [True, False]
    assert leaf.context is context, "connections are made with it for as long as the operator runs"
    assert list(dns_names(shake(context, agent, SHOP).getpeercert())) == ["operator.stickyrouting.io"]


async def test_the_operators_leaf_is_looked_at_again_and_again(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "RENEWAL_SECONDS", 0.001)
    now, seen = [NOW], asyncio.Event()

    def later() -> dt.datetime:
        now[0] += dt.timedelta(days=20)
        if now[0] > NOW + dt.timedelta(days=200):
            seen.set()
        return now[0]

    leaf = ClientLeaf(authority, NOW)
    renewing = asyncio.create_task(trust.renew_forever(leaf, later))
    await asyncio.wait_for(seen.wait(), 10)
    renewing.cancel()
    assert not leaf.renew(now[0] - dt.timedelta(days=20))
