"""Proxies that take their key slots from the API server in memory, as late as a test lets their kubelet be."""

import base64
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from kube.addresses import next_address
from kube.api.server import ApiServer
from kube.api.store import Place
from kube.api.waiting import until
from kube.loop_site import AUTHORITY, NOW_MS, Site, desired_of, pod
from stickyrouting.agent.certificate import expiry_of
from stickyrouting.agent.keys import Identity, Keyring, KeySlots
from stickyrouting.agent.tls import make_server_context
from stickyrouting.model.keys import SLOTS
from stickyrouting.model.names import PORT_AGENT, child_labels, proxy_identity
from stickyrouting.model.report import HaproxyReport, HaproxyState, KeyReport, Report, encode_report
from stickyrouting.watch.kinds import SECRET

DAY_MS = 24 * 3600 * 1000
# The slots' certificates are of the test's own time; who connects judges by the true one.
WALL = dt.datetime.now(dt.UTC)


class UnreadableSlotError(Exception):
    """What an agent would have counted as unreadable."""


def _refuse(error: Exception) -> None:
    raise UnreadableSlotError(str(error))


@dataclass
class Proxy:
    """One proxy: its mounted slots, read by the agent's own code, and what it reports of them.

    ``shown`` is when the certificate that it shows was made, by the true time.
    """

    api: ApiServer
    root: Path
    name: str
    address: str = field(default_factory=next_address)
    shown: dt.datetime = WALL
    tells_expiry: bool = True
    tells_keys: bool = True
    clock_ms: int = NOW_MS
    asked: int = 0

    def __post_init__(self) -> None:
        for slot in SLOTS:
            (self.root / slot).mkdir(parents=True)
        self.slots = KeySlots(self.root, _refuse)
        self.sync()

    @property
    def keyring(self) -> Keyring:
        assert self.slots.keyring is not None
        return self.slots.keyring

    def sync(self, *slots: str) -> None:
        """Mount what the Secrets hold now (of all slots unless told), as the kubelet does a minute later."""
        for slot in slots or SLOTS:
            for file in (self.root / slot).iterdir():
                file.unlink()
            for name, data in secret(self.api, slot).items():
                (self.root / slot / name).write_bytes(data)
        self.slots.refresh()

    def report(self) -> Report:
        haproxy = HaproxyReport(HaproxyState.READY, refilled=True, workers=1, reloads=0)
        keyring = self.slots.keyring
        generation = keyring.generation if keyring else 0
        expires = expiry_of(keyring.identity.certificate) if keyring and self.tells_expiry else 0
        version = desired_of(self.api)["version"]
        return Report(
            self.name, version, generation, 2, haproxy, certificate_expires=expires, keys=self._keys()
        )

    def _keys(self) -> KeyReport | None:
        keyring = self.slots.keyring
        if keyring is None or not self.tells_keys:
            return None
        return KeyReport(keyring.keys.current, tuple(sorted(keyring.keys.keys)), self.clock_ms // 1000)

    def identity(self) -> Identity:
        """Return what it shows to who connects."""
        leaf = AUTHORITY.issue(proxy_identity("demo", "shop"), self.shown)
        return Identity(leaf.certificate, leaf.private_key, AUTHORITY.pem)

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(body=encode_report(self.report()))


def secret(api: ApiServer, slot: str) -> dict[str, bytes]:
    """Return the content of a slot, nothing if there is none."""
    found = api.store.find(Place(SECRET, "demo", f"shop-sticky-keys-{slot}"))
    data = (found or {}).get("data", {})
    return {name: base64.b64decode(content) for name, content in data.items()}


def generations(api: ApiServer) -> dict[str, int]:
    """Return the generation of each slot that there is."""
    return {slot: int(content["generation"]) for slot in SLOTS if (content := secret(api, slot))}


def check_never_without(api: ApiServer) -> None:
    """Check the law over the whole history: once there was a slot, there never was none."""
    there: set[str] = set()
    for change in api.store.changes:
        if change.place.kind == SECRET:
            before = set(there)
            (there.discard if change.new is None else there.add)(change.place.name)
            assert there or not before, f"version {change.version} took the last slot"


@asynccontextmanager
async def proxies(api: ApiServer, scratch: Path, *names: str) -> AsyncIterator[list[Proxy]]:
    """Run proxies of these names, each with the slots that exist now."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running(Proxy(api, scratch / name, name))) for name in names]


@asynccontextmanager
async def running(proxy: Proxy) -> AsyncIterator[Proxy]:
    app = web.Application()
    app.router.add_get("/v1/state", proxy.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    context = make_server_context(proxy.identity(), proxy.root)
    await web.TCPSite(runner, proxy.address, PORT_AGENT, ssl_context=context).start()
    proxy.api.put(pod(proxy.name, proxy.address, labels=child_labels("shop")))
    try:
        yield proxy
    finally:
        await runner.cleanup()


async def hear(site: Site, *proxies: Proxy) -> None:
    """Ask all proxies and run loops on their answers until nothing more is written."""
    before = [proxy.asked for proxy in proxies]
    for proxy in proxies:
        proxy.clock_ms = site.now_ms
    site.monotonic += 20
    await site.loop()
    await until(lambda: all(p.asked > b for p, b in zip(proxies, before, strict=True)), seconds=10)
    await until(lambda: all(_heard(site, proxy) for proxy in proxies), seconds=10)
    await site.settle()


def _heard(site: Site, proxy: Proxy) -> bool:
    pods = {pod.metadata.name: pod for pod in site.ports.caches.pods.values()}
    return site.ports.agents.view(pods[proxy.name]).report == proxy.report()
