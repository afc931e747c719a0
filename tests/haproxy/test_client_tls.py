"""TLS towards clients, by the real agent and the real HAProxy: new certificates serve while connections go on, and
broken ones change nothing.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import DummyCookieJar
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from haproxy.agent_pod import Pod, endpoint, make_pod, until
from haproxy.agent_traffic import Client, Shop, traffic
from haproxy.binary import haproxy_command
from haproxy.h2_wire import connect
from haproxy.server_certificates import DAY, SITE, Pair, make_pair
from stickyrouting.haproxy.runtime import MasterClient
from stickyrouting.model.desired import Tls
from stickyrouting.model.report import Report, TlsReport

COMMAND = haproxy_command()
SECRET = "shop-tls"


class Site:
    """One proxy pod that was made for TLS, and the Secret that its kubelet mounts."""

    def __init__(self, pod: Pod, shop: Shop) -> None:
        self.pod = pod
        self._shop = shop

    @property
    def url(self) -> str:
        return self.pod.url.replace("http:", "https:")

    def mount(self, content: dict[str, bytes]) -> None:
        self.pod.mount(self.pod.root / "tls" / SECRET, content)

    def write(self, **changes: object) -> int:
        pods = [endpoint(id_, port) for id_, port in self._shop.ports.items()]
        return self.pod.write_desired(pods, **{"tls": Tls(SECRET), **changes})

    async def shown(self) -> int:
        """Return the serial number of the certificate that a client is shown now, 0 if none is."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.pod.ports[0], ssl=context)
        except ssl.SSLError:
            return 0
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(found).serial_number

    async def shows(self, pair: Pair) -> None:
        async def does() -> bool:
            return await self.shown() == pair.serial

        await until(does, "the new certificate is shown")

    async def tells(self, what: Callable[[TlsReport], bool], message: str) -> TlsReport:
        """Wait until the agent reports so of TLS; return it."""

        def told(report: Report) -> bool:
            return report.tls is not None and what(report.tls)

        await until(lambda: self.pod.tells(told), message)
        found = (await self.pod.report()).tls
        assert found is not None
        return found

    async def refuses(self, fault: str) -> None:
        found = await self.tells(lambda tls: fault in tls.fault, f"the report says {fault!r}")
        assert found.fault.startswith(f"Secret {SECRET}: ")

    async def worker(self) -> int:
        workers = await MasterClient(f"{self.pod.run}/master.sock").workers()
        return workers[0].pid

    def holds_no(self, *keys: bytes) -> None:
        """No line of a private key stands anywhere but in the mount and in the file that HAProxy starts from."""
        lines = {line for key in keys for line in key.splitlines() if len(line) > 40}
        assert lines
        for path in self.pod.root.rglob("*"):
            if path.is_file() and "tls" not in path.parts and path.name != "clients.pem":
                content = path.read_bytes()
                assert not any(line in content for line in lines), path


@pytest.fixture
async def site(tmp_path: Path, shop: Shop) -> AsyncIterator[Site]:
    async with make_pod(tmp_path) as pod:
        site = Site(pod, shop)
        pod.write_keys("a", 1, "k1")
        site.write()
        site.mount({})
        yield site


@pytest.fixture
async def good(site: Site) -> Pair:
    pair = make_pair()
    site.mount(pair.secret)
    await site.pod.up(COMMAND)
    return pair


@pytest.fixture
async def https() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that trusts any certificate."""
    connector = aiohttp.TCPConnector(limit=0, ssl=False)
    async with aiohttp.ClientSession(cookie_jar=DummyCookieJar(), connector=connector) as session:
        yield session


async def make_clients(https: aiohttp.ClientSession, site: Site, count: int) -> list[Client]:
    clients = [Client(https, site.url) for _ in range(count)]
    for client in [*clients, *clients]:
        await client.get()
    return clients


def assert_undisturbed(clients: list[Client]) -> None:
    assert [client.failures for client in clients if client.failures] == []
    assert [client.moves for client in clients if client.moves] == []


async def test_http_1_and_http_2_keep_the_same_session_by_tls(
    site: Site, good: Pair, https: aiohttp.ClientSession
) -> None:
    trust = good.trust("http/1.1")
    async with https.get(site.url, ssl=trust, server_hostname=SITE) as answer:
        first, pod = answer.cookies["STICKY"], int(await answer.text())
        assert first["secure"] is True
    wire = await connect(site.pod.ports[0], good.trust("h2"), SITE)
    assert wire.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    for _ in range(5):
        found = await wire.ask([f"STICKY={first.value}"])
        assert (found.status, found.pod) == (200, pod)
    born = await wire.ask([])
    wire.close()
    async with https.get(
        site.url, ssl=trust, server_hostname=SITE, headers={"Cookie": f"STICKY={born.cookie}"}
    ) as answer:
        assert int(await answer.text()) == born.pod


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize(
    ("version", "taken"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
async def test_tls_is_spoken_from_1_2_on(
    site: Site, good: Pair, version: ssl.TLSVersion, taken: bool
) -> None:
    context = good.trust()
    context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    try:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", site.pod.ports[0], ssl=context, server_hostname=SITE
        )
    except (ssl.SSLError, ConnectionError):
        assert not taken
    else:
        assert taken
        assert "GCM" in writer.get_extra_info("cipher")[0]
        writer.close()


@pytest.mark.parametrize("cipher", ["AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"])
async def test_ciphers_without_forward_secrecy_or_authentication_are_refused(
    site: Site, good: Pair, cipher: str
) -> None:
    context = good.trust()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", site.pod.ports[0], ssl=context, server_hostname=SITE)


async def test_plain_http_gets_no_session_where_tls_is_spoken(
    site: Site, good: Pair, http: aiohttp.ClientSession
) -> None:
    with pytest.raises(aiohttp.ClientError):
        await http.get(site.pod.url)


async def test_a_changed_secret_serves_under_load_and_no_connection_notices(
    site: Site, good: Pair, https: aiohttp.ClientSession
) -> None:
    clients = await make_clients(https, site, 12)
    wire = await connect(site.pod.ports[0], good.trust("h2"), SITE)
    born = await wire.ask([])
    worker = await site.worker()
    pairs = [make_pair(), make_pair(key=rsa.generate_private_key(65537, 2048)), make_pair(names=300)]
    async with https.ws_connect(f"{site.url}/ws") as websocket, traffic(clients):
        for pair in pairs:
            site.mount(pair.secret)
            await site.shows(pair)
            await websocket.send_str("still")
            assert (await websocket.receive_str(timeout=5)).endswith(":still")
            found = await wire.ask([f"STICKY={born.cookie}"])
            assert (found.status, found.pod) == (200, born.pod)
            async with https.get(site.url, ssl=pair.trust(), server_hostname=SITE) as answer:
                assert answer.status == 200
    wire.close()
    assert_undisturbed(clients)
    assert sum(client.requests for client in clients) > 100
    assert (await site.worker(), (await site.pod.report()).haproxy.reloads) == (worker, 0)
    assert await site.tells(lambda tls: tls.expires == pairs[-1].ends, "the end is told") == TlsReport(
        pairs[-1].ends
    )
    metrics = await site.pod.metrics()
    assert metrics["sticky_agent_tls_certificate_expiry_timestamp_seconds"] == pairs[-1].ends
    site.holds_no(good.key, *(pair.key for pair in pairs))


async def test_a_broken_certificate_is_refused_and_the_one_before_serves_on(
    site: Site, good: Pair, https: aiohttp.ClientSession
) -> None:
    clients = await make_clients(https, site, 6)
    other, old = make_pair(), make_pair(-9 * DAY, -DAY)
    broken = {
        "does not belong to the first certificate": {"tls.crt": other.certificate, "tls.key": good.key},
        "holds no certificate in PEM": {"tls.crt": b"garbage", "tls.key": other.key},
        "it has no tls.key": {"tls.crt": other.certificate},
        "has not reached this proxy": {},
        "the certificate ended ": old.secret,
        "is not valid before ": make_pair(DAY).secret,
        "15000 are the most": make_pair(names=700).secret,
    }
    async with traffic(clients):
        for fault, content in broken.items():
            site.mount(content)
            await site.refuses(fault)
            assert await site.shown() == good.serial
    assert_undisturbed(clients)
    assert (await site.pod.metrics())['sticky_agent_invalid_input_total{input="tls"}'] == len(broken)
    assert (await site.pod.report()).haproxy.reloads == 0
    site.mount(other.secret)
    await site.shows(other)
    assert await site.tells(lambda tls: not tls.fault, "the fault is gone") == TlsReport(other.ends)
    site.holds_no(good.key, other.key, old.key)


async def test_a_new_proxy_waits_for_its_certificate_and_tells_the_operator(site: Site) -> None:
    pod = site.pod
    await pod.start_agent()
    await site.refuses("it has not reached this proxy")
    assert await pod.configured() is False
    assert "waiting for the certificate: Secret shop-tls" in (pod.root / "agent.log").read_text()
    pair = make_pair()
    site.mount(pair.secret)
    await pod.start_haproxy(COMMAND)
    await until(pod.ready, "the proxy is ready")
    assert await site.shown() == pair.serial
    await site.tells(lambda tls: tls == TlsReport(pair.ends), "nothing is wrong any more")


async def test_a_certificate_that_has_ended_serves_if_there_is_no_better_one(site: Site) -> None:
    old, new = make_pair(-9 * DAY, -DAY), make_pair()
    site.mount(old.secret)
    await site.pod.up(COMMAND)
    assert await site.shown() == old.serial
    await site.refuses("it serves all the same")
    site.mount(new.secret)
    await site.shows(new)


async def test_agent_and_haproxy_start_anew_with_the_last_good_certificate(
    site: Site, good: Pair, https: aiohttp.ClientSession
) -> None:
    pod, new = site.pod, make_pair()
    clients = await make_clients(https, site, 4)
    site.mount(new.secret)
    await site.shows(new)
    site.mount({"tls.crt": new.certificate, "tls.key": good.key})
    await site.refuses("does not belong")
    await pod.kill(pod.agent)
    await pod.start_agent()
    await site.refuses("does not belong")
    assert (await site.tells(lambda tls: tls.expires > 0, "the end is told")).expires == new.ends
    await pod.kill(pod.haproxy)
    await pod.start_haproxy(COMMAND)
    await until(pod.ready, "the proxy is ready again")
    assert await site.shown() == new.serial
    for client in clients:
        await client.get()
    assert_undisturbed(clients)


async def test_a_pod_of_before_tls_goes_on_without_and_takes_all_else(
    tmp_path: Path, shop: Shop, http: aiohttp.ClientSession
) -> None:
    async with make_pod(tmp_path) as pod:
        site = Site(pod, shop)
        pod.write_keys("a", 1, "k1")
        site.write(tls=None)
        await pod.up(COMMAND)
        client = Client(http, pod.url)
        await client.get()
        await pod.reached(site.write(absolute_seconds=3600))
        await pod.kill(pod.agent)
        await pod.start_agent()
        await pod.reached(site.write())
        await client.get()
        for process in (pod.haproxy, pod.agent):
            await pod.kill(process)
        await pod.start_agent()
        await pod.start_haproxy(COMMAND)
        await until(pod.ready, "the proxy is ready again")
        await client.get()
        assert_undisturbed([client])
        report = await pod.report()
        assert (report.tls, report.haproxy.reload_reasons) == (TlsReport(0), ())


async def test_tls_is_switched_on_and_off_where_the_secret_is_mounted_without_a_session_lost(
    site: Site, http: aiohttp.ClientSession, https: aiohttp.ClientSession
) -> None:
    pod, pair = site.pod, make_pair()
    site.write(tls=None)
    await pod.up(COMMAND)
    plain = Client(http, pod.url)
    await plain.get()
    await pod.reached(site.write())
    await site.refuses("it has not reached this proxy")
    await plain.get()
    site.mount(pair.secret)
    await site.shows(pair)
    secure = Client(https, site.url, plain.cookie, plain.pod)
    await secure.get()
    await until(lambda: pod.tells(lambda report: report.haproxy.reload_reasons == ("TLS",)), "one reload")
    await pod.reached(site.write(tls=None))
    await plain.get()
    assert_undisturbed([plain, secure])
    assert (await pod.report()).tls is None


async def test_a_slow_handshake_on_one_connection_keeps_nobody_else(
    site: Site, good: Pair, https: aiohttp.ClientSession
) -> None:
    with socket.create_connection(("127.0.0.1", site.pod.ports[0])):
        clients = await make_clients(https, site, 2)
        new = make_pair()
        site.mount(new.secret)
        await site.shows(new)
    assert_undisturbed(clients)
