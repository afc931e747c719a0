"""Who may ask the agent: whoever proves the operator's name by our authority, over TLS 1.3, and nobody else."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from haproxy.agent_authority import Authority
from haproxy.agent_pod import free_ports
from stickyrouting.agent.api import OperatorApi
from stickyrouting.agent.keys import Identity
from stickyrouting.model.report import HaproxyReport, HaproxyState, Report

PROXY = "shop.demo.proxy.stickyrouting.io"
OPERATOR = "operator.stickyrouting.io"


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def port(tmp_path: Path, authority: Authority) -> AsyncIterator[int]:
    """Yield the port of an agent's HTTPS server."""
    report = Report("shop-sticky-1", 1, 1, 0, HaproxyReport(HaproxyState.READY, True, 1, 0, ()))
    (port,) = free_ports(1)
    api = OperatorApi(port, tmp_path, lambda: report)
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
