"""metrics-server for as long as a test wants it: beside the API server, with the administrator's rights."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.build.golang import Module, ensure_module
from lab.commands import run
from lab.native import addresses, daemons
from lab.native.api import Api, wait_until
from lab.native.daemons import Daemon
from lab.native.machines import Machine
from lab.native.site import Site
from lab.progress import Progress

NAME = "metrics-server"
METRICS_SERVER = Module(NAME, "metrics-server (4 minutes once)", "tool", "-s -w")
NAMESPACE = "kube-system"
PORT = 4443
GROUP, VERSION = "metrics.k8s.io", "v1beta1"


@contextlib.contextmanager
def serving(site: Site, machine: Machine, progress: Progress) -> Iterator[None]:
    """Serve metrics.k8s.io while the block runs, from its first metrics of all nodes on; raises LabError."""
    program = ensure_module(METRICS_SERVER, site.places.cache, progress) / NAME
    daemon = metrics_server(site, program)
    try:
        with progress.step("metrics of all nodes served"):
            daemons.ensure(machine, daemon)
            _kubectl(site, "apply")
            api = Api(site.pki)
            wait_until(
                "metrics of the nodes", lambda: _measured(api), lambda: daemons.require(machine, daemon)
            )
        yield
    finally:
        # First: a namespace does not end while an API is registered that nobody serves.
        _kubectl(site, "delete", "--ignore-not-found")
        daemons.kill_daemon(machine, NAME)


def metrics_server(site: Site, program: Path) -> Daemon:
    """Return metrics-server; it makes its own certificate, and asks no kubelet for longer than it may wait."""
    administrator = str(site.pki / "admin.kubeconfig")
    flags = {
        "kubeconfig": administrator,
        "authentication-kubeconfig": administrator,
        "authorization-kubeconfig": administrator,
        "bind-address": addresses.CONTROL_PLANE,
        "secure-port": str(PORT),
        "cert-dir": "/run/metrics-server",
        "kubelet-certificate-authority": str(site.pki / "ca.crt"),
        "kubelet-preferred-address-types": "InternalIP",
        "metric-resolution": "10s",
        "kubelet-request-timeout": "5s",
    }
    return Daemon("metrics", (str(program), *(f"--{name}={value}" for name, value in flags.items())))


def registration() -> list[dict[str, Any]]:
    """Return what tells the API server who serves the API: a Service without pods, at the control plane's address."""
    meta = {"name": NAME, "namespace": NAMESPACE}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": PORT}]},
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**meta, "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": PORT}],
        "endpoints": [{"addresses": [addresses.CONTROL_PLANE], "conditions": {"ready": True}}],
    }
    api = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{VERSION}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "service": meta,
            "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        },
    }
    return [service, endpoints, api]


def _kubectl(site: Site, verb: str, *flags: str) -> None:
    manifests = json.dumps({"apiVersion": "v1", "kind": "List", "items": registration()})
    kubectl = [str(site.kubernetes / "kubectl"), "--kubeconfig", str(site.pki / "admin.kubeconfig")]
    run([*kubectl, verb, *flags, "-f", "-"], manifests)


def _measured(api: Api) -> bool:
    body = api.get(f"/apis/{GROUP}/{VERSION}/nodes")
    return body is not None and len(json.loads(body)["items"]) == len(addresses.NODES)
