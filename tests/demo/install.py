"""Brings everything up that the demo needs: operator (Helm), shop, StickyService."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from helm_python import Config, HelmContext

from apps.verifier.settings import Target
from demo.kube import Kubectl
from demo.settings import CHART, EXAMPLES, NAMESPACE, PROXY, RELEASE, SHOP, SYSTEM

PATIENCE = "180s"


def install_chart(kubeconfig: Path, values: Mapping[str, Any]) -> str:
    """Install or upgrade the release with Helm's own library; return its status."""
    with HelmContext() as context, Config(kubeconfig_path=kubeconfig, namespace=SYSTEM) as helm:
        known = any(release["name"] == RELEASE for release in helm.list())
        action = helm.upgrade if known else helm.install
        kwargs: dict[str, Any] = {} if known else {"create_namespace": True}
        release = action(CHART, RELEASE, dict(values), context=context, namespace=SYSTEM, **kwargs)
    return str(release.get("info", {}).get("status", "deployed"))


def make_values(images: Mapping[str, str]) -> dict[str, Any]:
    """Chart values that name the images built just now."""
    return {"image": {name: split_reference(images[name]) for name in ("operator", "proxy")}}


def split_reference(reference: str) -> dict[str, str]:
    """Repository and tag of "host/name:tag"."""
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag}


def make_shop(text: str, image: str) -> list[dict[str, Any]]:
    """Manifests of the example shop with ``image`` in its Deployment."""
    manifests = [manifest for manifest in yaml.safe_load_all(text) if manifest]
    for manifest in manifests:
        manifest["metadata"]["namespace"] = NAMESPACE
        if manifest["kind"] == "Deployment":
            manifest["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return manifests


async def install(
    kubectl: Kubectl, kubeconfig: Path, images: Mapping[str, str], say: Callable[[str], None]
) -> None:
    """Operator, shop and StickyService; waits until the StickyService is Ready."""
    say(f"helm install {RELEASE} {CHART.name} -n {SYSTEM}")
    await asyncio.to_thread(install_chart, kubeconfig, make_values(images))
    await kubectl.run("rollout", "status", "deployment", "-n", SYSTEM, f"--timeout={PATIENCE}")
    say("kubectl apply -f deploy/examples/shop.yaml, stickyservice.yaml")
    await kubectl.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
    for name in ("shop.yaml", "stickyservice.yaml"):
        await kubectl.apply(make_shop((EXAMPLES / name).read_text(encoding="utf-8"), images["apps"]))
    await kubectl.run("scale", f"deployment/{SHOP}", "-n", NAMESPACE, "--replicas=2")
    await kubectl.run("rollout", "status", f"deployment/{SHOP}", "-n", NAMESPACE, f"--timeout={PATIENCE}")
    say("waiting for the StickyService to be Ready")
    await kubectl.run(
        "wait", "--for=condition=Ready", f"stickyservice/{SHOP}", "-n", NAMESPACE, f"--timeout={PATIENCE}"
    )


async def service_target(kubectl: Kubectl) -> Target:
    """Address of the proxies' Service."""
    spec = (await kubectl.get("service", PROXY, "-n", NAMESPACE))["spec"]
    return Target(spec["clusterIP"], spec["ports"][0]["port"])
