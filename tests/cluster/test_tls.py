"""TLS at the proxies: from a Secret that the user names, and anew when the user renews it."""

import asyncio
import base64
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
from aiohttp import DummyCookieJar
from cryptography import x509

from apps.verifier.settings import Target
from cluster.world import Shop
from demo.kube import until
from demo.traffic import forwarded_port
from haproxy.server_certificates import SITE, Pair, make_pair
from lab.provider import VerifierPlace

SECRET = "shop-tls"
TRAFFIC = 8080


def manifest(shop: Shop, pair: Pair) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": SECRET, "namespace": shop.namespace},
        "data": {name: base64.b64encode(data).decode() for name, data in pair.secret.items()},
    }


async def ask_for_tls(shop: Shop) -> None:
    """Name the Secret in the spec; return when all proxies were replaced by such as speak TLS."""
    patch = json.dumps({"spec": {"proxy": {"tls": {"secretName": SECRET}}}})
    await shop.run("patch", "stickyservice", "shop", "--type=merge", "-p", patch)

    async def taken() -> bool:
        volumes = (await shop.get("deployment", "shop-sticky"))["spec"]["template"]["spec"]["volumes"]
        return any(volume["name"] == "tls" for volume in volumes)

    await until("the operator to mount the Secret", taken, 15)
    await shop.run("rollout", "status", "deployment/shop-sticky", "--timeout=60s")


@contextlib.asynccontextmanager
async def doors(shop: Shop) -> AsyncIterator[list[Target]]:
    """Yield where each proxy that is not ending is reached from here."""
    pods = await shop.proxies()
    async with contextlib.AsyncExitStack() as stack:
        if shop.world.provider.verifier_place is VerifierPlace.HOST:
            yield [Target(pod["status"]["podIP"], TRAFFIC) for pod in pods]
            return
        ports = []
        for pod in pods:
            arguments = (
                "port-forward",
                "-n",
                shop.namespace,
                f"pod/{pod['metadata']['name']}",
                f":{TRAFFIC}",
            )
            lines = await stack.enter_async_context(shop.world.kubectl.lines(*arguments))
            ports.append(await forwarded_port(lines))
        yield [Target("127.0.0.1", port) for port in ports]


async def shown(door: Target) -> int:
    """Return the serial number of the certificate that a new client is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(door.host, door.port, ssl=context)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(found).serial_number


class Visitor:
    """A session that goes to both proxies in turn, on connections that stay open as well as on new ones."""

    def __init__(self, trust: Sequence[Pair], doors: Sequence[Target]) -> None:
        self.pods: list[str] = []
        self._doors = doors
        self._context = trust[0].trust("http/1.1")
        for pair in trust[1:]:
            self._context.load_verify_locations(cadata=pair.certificate.decode())
        self._cookies: dict[str, str] = {}

    async def visit(self, kept: aiohttp.ClientSession) -> None:
        """Ask each proxy; raise whatever goes wrong."""
        for door in self._doors:
            await self._get(kept, door)
            async with aiohttp.ClientSession(cookie_jar=DummyCookieJar()) as new:
                await self._get(new, door)

    async def _get(self, http: aiohttp.ClientSession, door: Target) -> None:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        url = f"https://{door.host}:{door.port}/cart"
        async with http.get(url, headers=headers, ssl=self._context, server_hostname=SITE) as answer:
            answer.raise_for_status()
            self.pods.append((await answer.json())["pod"])
            for name, morsel in answer.cookies.items():
                assert name.lower() == "cart" or morsel["secure"], "the proxies' cookie is for TLS only"
                self._cookies[name] = morsel.value


async def test_https_keeps_sessions_and_a_renewed_secret_serves_without_a_failed_request(shop: Shop) -> None:
    old, new = make_pair(), make_pair()
    await shop.world.kubectl.apply([manifest(shop, old)])
    await ask_for_tls(shop)
    service = await shop.get("service", "shop-sticky")
    assert [(port["name"], port["appProtocol"]) for port in service["spec"]["ports"]] == [("https", "https")]
    async with doors(shop) as found, aiohttp.ClientSession(cookie_jar=DummyCookieJar()) as kept:
        visitor = Visitor((old, new), found)
        await visitor.visit(kept)
        await shop.world.kubectl.apply([manifest(shop, new)])
        # The kubelet looks after a mount when its pod changes, and else about once a minute.
        await shop.run(
            "annotate", "pods", "-l", "app.kubernetes.io/name=sticky-proxy", "example.com/look=again"
        )
        end = time.monotonic() + 90
        while {await shown(door) for door in found} != {new.serial}:
            assert time.monotonic() < end, "the new certificate is not shown"
            await visitor.visit(kept)
        await visitor.visit(kept)
    assert len(found) == 2
    assert len(set(visitor.pods)) == 1, "one session, one pod"
    await shop.ready()
    assert (await shop.condition("ResolvedRefs"))["status"] == "True"


async def test_a_secret_that_does_not_exist_is_named_and_the_proxies_that_serve_go_on(shop: Shop) -> None:
    before = {pod["metadata"]["name"] for pod in await shop.proxies()}
    patch = json.dumps({"spec": {"proxy": {"tls": {"secretName": "none-such"}}}})
    await shop.run("patch", "stickyservice", "shop", "--type=merge", "-p", patch)

    async def named() -> bool:
        found = await shop.condition("ResolvedRefs")
        return found["reason"] == "InvalidCertificateRef" and "Secret none-such: " in found["message"]

    await until("the condition to name the Secret", named, 30)
    ready = {
        pod["metadata"]["name"]
        for pod in await shop.proxies()
        if {"type": "Ready", "status": "True"}.items()
        <= next(c for c in pod["status"]["conditions"] if c["type"] == "Ready").items()
    }
    assert ready == before
    assert (await shop.condition("Ready"))["status"] == "True"
