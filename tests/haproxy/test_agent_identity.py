"""Who may ask the agent: whoever proves the operator's name by our authority, over TLS 1.3, and nobody else."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from haproxy.agent_authority import Authority
from haproxy.ports import free_ports
from stickyrouting.agent.api import OperatorApi
from stickyrouting.agent.keys import Identity
from stickyrouting.model.errors import InvalidKeys
from stickyrouting.model.report import HaproxyReport, HaproxyState, Report

PROXY = "shop.demo.proxy.stickyrouting.io"
OPERATOR = "operator.stickyrouting.io"
REPORT = Report("shop-sticky-1", 1, 1, 0, HaproxyReport(HaproxyState.READY, True, 1, 0, ()))


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def port(tmp_path: Path, authority: Authority) -> AsyncIterator[int]:
    """Yield the port of an agent's HTTPS server."""
    (port,) = free_ports(1)
    api = OperatorApi(port, tmp_path, lambda: REPORT)
    await api.present(Identity(*authority.issue(PROXY), authority.certificate))
    yield port
    await api.close()


async def status(port: int, context: ssl.SSLContext, path: str = "/v1/state") -> int:
    url = f"https://127.0.0.1:{port}{path}"
    async with aiohttp.request("GET", url, ssl=context, server_hostname=PROXY) as answer:
        return answer.status


async def test_the_operator_is_answered(port: int, authority: Authority, tmp_path: Path) -> None:
    assert await status(port, authority.client_context(OPERATOR, tmp_path)) == 200


@pytest.mark.parametrize("name", [PROXY, f"{OPERATOR}.evil.test", "*.stickyrouting.io"])
async def test_another_name_of_our_authority_is_forbidden(
    port: int, authority: Authority, tmp_path: Path, name: str
) -> None:
    assert await status(port, authority.client_context(name, tmp_path)) == 403


async def test_the_right_name_of_a_foreign_authority_gets_no_connection(
    port: int, authority: Authority, tmp_path: Path
) -> None:
    context = Authority().client_context(OPERATOR, tmp_path)
    context.load_verify_locations(cadata=authority.certificate.decode())
    with pytest.raises(aiohttp.ClientError):
        await status(port, context)


async def test_without_a_certificate_there_is_no_connection(port: int, authority: Authority) -> None:
    with pytest.raises(aiohttp.ClientError):
        await status(port, ssl.create_default_context(cadata=authority.certificate.decode()))


async def test_older_tls_is_refused(port: int, authority: Authority, tmp_path: Path) -> None:
    context = authority.client_context(OPERATOR, tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(aiohttp.ClientError):
        await status(port, context)


def certificate_shown(port: int) -> bytes:
    """Return what a new connection is shown, in DER."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))


async def test_a_new_certificate_comes_into_service_without_a_refused_connection(
    authority: Authority, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    api = OperatorApi(port, tmp_path, lambda: REPORT)
    identities = [Identity(*authority.issue(PROXY), authority.certificate) for _ in range(20)]
    await api.present(identities[0])
    trust = authority.client_context(OPERATOR, tmp_path)
    ended = asyncio.Event()

    async def ask_anew() -> int:
        asked = 0
        while not ended.is_set():
            assert await status(port, trust) == 200
            asked += 1
        return asked

    kept = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=PROXY)
    assert await ask_on(kept) == b"HTTP/1.1 200 OK"
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(ask_anew()) for _ in range(4)]
        for identity in identities[1:]:
            await api.present(identity)
            shown = await asyncio.to_thread(certificate_shown, port)
            assert shown == ssl.PEM_cert_to_DER_cert(identity.certificate.decode())
        assert await ask_on(kept) == b"HTTP/1.1 200 OK"
        ended.set()
    kept[1].close()
    assert all(task.result() > 5 for task in asking)
    await api.close()


async def test_authorities_come_and_go_with_the_identity_in_service(
    authority: Authority, tmp_path: Path
) -> None:
    (port,), other = free_ports(1), Authority()
    api = OperatorApi(port, tmp_path, lambda: REPORT)
    mine, theirs = (each.client_context(OPERATOR, tmp_path) for each in (authority, other))
    for trust in (mine, theirs):
        for each in (authority, other):
            trust.load_verify_locations(cadata=each.certificate.decode())
    certificate, key = authority.issue(PROXY)
    both = authority.certificate + other.certificate
    for accepted, answers in ((authority.certificate, "mine"), (both, "both"), (other.certificate, "theirs")):
        await api.present(Identity(certificate, key, accepted))
        for trust, name in ((mine, "mine"), (theirs, "theirs")):
            if answers in {name, "both"}:
                assert await status(port, trust) == 200
            else:
                with pytest.raises(aiohttp.ClientError):
                    await status(port, trust)
    await api.close()


async def ask_on(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bytes:
    """Ask on a connection that exists; return the first line of the answer."""
    reader, writer = connection
    writer.write(b"GET /v1/state HTTP/1.1\r\nHost: shop\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = (int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: "))
    await reader.readexactly(length)
    return head.partition(b"\r\n")[0]


async def test_the_end_of_the_certificate_in_service_is_told_and_an_unusable_one_changes_nothing(
    authority: Authority, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    api = OperatorApi(port, tmp_path, lambda: REPORT)
    assert api.certificate_expires == 0
    certificate, key = authority.issue(PROXY)
    await api.present(Identity(certificate, key, authority.certificate))
    ends = api.certificate_expires
    assert abs(ends - time.time() - 24 * 3600) < 60
    with pytest.raises(InvalidKeys):
        await api.present(Identity(certificate, authority.issue(PROXY)[1], authority.certificate))
    assert (api.certificate_expires, await status(port, authority.client_context(OPERATOR, tmp_path))) == (
        ends,
        200,
    )
    await api.close()
    await api.close()
