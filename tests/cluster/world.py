"""The cluster as the tests act on it: the shop, its StickyService, traffic, and what is waited for."""

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from apps.verifier import Result
from apps.verifier import Settings as Load
from apps.verifier.settings import Target
from demo.install import install_chart, make_shop, make_values
from demo.kube import Kubectl, until
from demo.settings import EXAMPLES, OPERATOR_SELECTOR, SYSTEM
from demo.traffic import Traffic, in_pod, on_host
from lab.progress import Progress
from lab.provider import Provider, VerifierPlace

PATIENCE = 90.0


@dataclass(frozen=True, slots=True)
class World:
    """The cluster, its images by name, and kubectl as its administrator."""

    provider: Provider
    images: Mapping[str, str]
    kubectl: Kubectl

    def traffic(self, settings: Load) -> AbstractAsyncContextManager[Traffic]:
        """Return the verifier, to be run where it reaches Services."""
        if self.provider.verifier_place is VerifierPlace.HOST:
            return on_host(settings)
        return in_pod(self.kubectl, settings, self.images["apps"])

    async def operator_pods(self) -> list[str]:
        """Return the names of the operator's pods that are not ending."""
        pods = await self.kubectl.items("pods", "-n", SYSTEM, "-l", OPERATOR_SELECTOR)
        return [p["metadata"]["name"] for p in pods if "deletionTimestamp" not in p["metadata"]]

    async def leader(self) -> str:
        """Return the name of the operator pod that holds the Lease."""
        lease = await self.kubectl.get("lease", "-n", SYSTEM, "sticky-routing")
        return str(lease["spec"].get("holderIdentity") or "").partition("_")[0]

    async def scale_operator(self, replicas: int) -> None:
        """Run so many operator pods and wait until it is so."""
        await self.kubectl.run(
            "scale", "deployment", "-n", SYSTEM, "-l", OPERATOR_SELECTOR, f"--replicas={replicas}"
        )
        await self.kubectl.run("rollout", "status", "deployment", "-n", SYSTEM, "--timeout=60s")

        async def settled() -> bool:
            pods = await self.kubectl.items("pods", "-n", SYSTEM, "-l", OPERATOR_SELECTOR)
            return len(pods) == replicas

        await until(f"{replicas} operator pods", settled, PATIENCE)


async def make_world(provider: Provider) -> World:
    """Publish the images and install the operator."""
    images = provider.images(Progress())
    kubectl = Kubectl([provider.kubectl, "--kubeconfig", str(provider.kubeconfig)])
    install_chart(provider.kubeconfig, make_values(images))
    world = World(provider, images, kubectl)
    await kubectl.run("rollout", "status", "deployment", "-n", SYSTEM, "--timeout=120s")
    return world


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop behind a StickyService called ``shop`` in a namespace of its own."""

    world: World
    namespace: str

    async def deploy(self) -> None:
        """Start two pods and the StickyService, and wait until it is Ready."""
        for name in ("shop.yaml", "stickyservice.yaml"):
            manifests = make_shop((EXAMPLES / name).read_text(encoding="utf-8"), self.world.images["apps"])
            for manifest in manifests:
                manifest["metadata"]["namespace"] = self.namespace
            await self.world.kubectl.apply(manifests)
        await self.ready()

    async def run(self, *arguments: str) -> str:
        """Run kubectl in the shop's namespace."""
        return await self.world.kubectl.run(*arguments, "-n", self.namespace)

    async def get(self, *arguments: str) -> Any:
        """Get an object of the shop's namespace."""
        return await self.world.kubectl.get(*arguments, "-n", self.namespace)

    async def items(self, *arguments: str) -> list[dict[str, Any]]:
        """Get a list of the shop's namespace."""
        return await self.world.kubectl.items(*arguments, "-n", self.namespace)

    async def scale(self, replicas: int) -> None:
        """Run so many shop pods; return when all are ready."""
        await self.run("scale", "deployment/shop", f"--replicas={replicas}")
        await self.run("rollout", "status", "deployment/shop", "--timeout=90s")

    async def ready(self) -> None:
        """Wait until the StickyService is Ready."""
        await self.run("wait", "--for=condition=Ready", "stickyservice/shop", f"--timeout={PATIENCE:.0f}s")

    async def condition(self, kind: str, name: str = "shop") -> dict[str, Any]:
        """Return a condition of a StickyService ({} if it is not there)."""
        status = (await self.get("stickyservice", name)).get("status", {})
        found = [c for c in status.get("conditions", []) if c["type"] == kind]
        return found[0] if found else {}

    async def desired(self) -> dict[str, Any]:
        """Return the proxies' desired state."""
        config = await self.get("configmap", "shop-sticky")
        found: dict[str, Any] = json.loads(config["data"]["desired.json"])
        return found

    async def proxies(self) -> list[dict[str, Any]]:
        """Return the proxy pods that are not ending."""
        pods = await self.items("pods", "-l", "app.kubernetes.io/name=sticky-proxy")
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    async def load(self, **settings: Any) -> Load:
        """Return the settings of a verifier of 200 sessions towards the proxies' Service."""
        spec = (await self.get("service", "shop-sticky"))["spec"]
        target = Target(spec["clusterIP"], spec["ports"][0]["port"])
        return Load((target,), **{"sessions": 200, "rate": 300.0, "births_per_second": 2.0, **settings})


def broken(result: Result) -> list[str]:
    """Return every promise that the verifier saw broken, as text."""
    samples = [s for phase in result.phases for s in phase.samples]
    if not (result.violations or result.errors):
        return []
    return [
        f"{result.violations} violations, {result.errors} errors",
        *(f"{s.kind}: {s.text}" for s in samples),
    ]
