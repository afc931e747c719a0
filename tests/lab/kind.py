"""The ``kind`` provider: a control plane and three nodes as containers of a Docker engine.

https://kind.sigs.k8s.io/docs/user/configuration/
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import docker
from lab.build.images import IMAGES
from lab.commands import run
from lab.errors import LabError
from lab.paths import Places
from lab.progress import Progress
from lab.provider import Fault, FaultKind, Status, VerifierPlace

CLUSTER = "sticky-routing"
CONTROL_PLANE = f"{CLUSTER}-control-plane"
# Disjoint parts of 198.18.0.0/15, like the native provider's.
PODS = "198.18.80.0/20"
SERVICES = "198.18.192.0/20"
NODES = {"n1": f"{CLUSTER}-worker", "n2": f"{CLUSTER}-worker2", "n3": f"{CLUSTER}-worker3"}
MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
PARKED = "/etc/kubernetes/kube-apiserver.yaml"


def cluster_config() -> dict[str, Any]:
    """Return kind's configuration of the cluster."""
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": CLUSTER,
        "networking": {"podSubnet": PODS, "serviceSubnet": SERVICES},
        "nodes": [{"role": "control-plane"}, *({"role": "worker"} for _ in NODES)],
    }


@dataclass(frozen=True)
class KindCluster:
    """A kind cluster named ``sticky-routing``; see Provider for the methods."""

    places: Places
    name: str = "kind"
    image_prefix: str = "reg.lab/sticky-routing"
    verifier_place: VerifierPlace = VerifierPlace.POD

    @property
    def kubeconfig(self) -> Path:
        """See Provider."""
        return self.places.kubeconfig

    @property
    def kubectl(self) -> str:
        """See Provider."""
        return require_program("kubectl", "https://kubernetes.io/docs/tasks/tools/")

    @property
    def audit_log(self) -> Path | None:
        """See Provider: kind's API server runs without an audit policy."""
        return None

    def up(self, progress: Progress) -> None:
        """See Provider."""
        self._require_programs()
        self.places.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        if self._exists():
            run(["kind", "export", "kubeconfig", "--name", CLUSTER, "--kubeconfig", str(self.kubeconfig)])
            self._mend()
            return
        with progress.step("kind cluster made"):
            config = yaml.safe_dump(cluster_config())
            flags = ["--config", "-", "--kubeconfig", str(self.kubeconfig), "--wait", "180s"]
            run(["kind", "create", "cluster", *flags], stdin=config)

    def down(self, progress: Progress) -> None:
        """See Provider."""
        self._require_programs()
        with progress.step("kind cluster removed"):
            run(["kind", "delete", "cluster", "--name", CLUSTER, "--kubeconfig", str(self.kubeconfig)])
        self.kubeconfig.unlink(missing_ok=True)

    def status(self) -> Status:
        """See Provider."""
        self._require_programs()
        if not self._exists():
            return Status(well=False, headline="no kind cluster is up; start one with: python -m lab up")
        lines = run([self.kubectl, "--kubeconfig", str(self.kubeconfig), "get", "nodes"]).splitlines()
        well = all(line.split()[1] == "Ready" for line in lines[1:])
        return Status(
            well, f"kind cluster {CLUSTER}: {'well' if well else 'some nodes are not ready'}", tuple(lines)
        )

    def images(self, progress: Progress) -> Mapping[str, str]:
        """See Provider: loaded into the nodes, nothing is pulled."""
        references = {}
        for image in IMAGES:
            reference = f"{self.image_prefix}/{image.name}:{image.tag(self.places.checkout)}"
            if not docker.has(reference):
                with progress.step(f"image {reference} built"):
                    docker.build(self.places, image, reference)
            run(["kind", "load", "docker-image", "--name", CLUSTER, reference])
            references[image.name] = reference
        return references

    def fault(self, fault: Fault) -> None:
        """See Provider."""
        containers = [_container(name) for name in fault.nodes]
        match fault.kind:
            case FaultKind.NODE_OFF:
                run(["docker", "kill", containers[0]])
            case FaultKind.NODE_ON:
                run(["docker", "start", containers[0]])
            case FaultKind.NODE_CUT | FaultKind.LINK_CUT:
                _each_way(fault, containers, _cut)
            case FaultKind.NODE_HEAL | FaultKind.LINK_HEAL:
                _each_way(fault, containers, _heal)
            case FaultKind.API_DOWN:
                docker.succeeds_in(CONTROL_PLANE, ["mv", MANIFEST, PARKED])
            case FaultKind.API_UP:
                docker.succeeds_in(CONTROL_PLANE, ["mv", PARKED, MANIFEST])
                self._await_api()

    def _mend(self) -> None:
        self.fault(Fault(FaultKind.API_UP))
        for kind in (FaultKind.NODE_ON, FaultKind.NODE_HEAL):
            for node in NODES:
                self.fault(Fault(kind, (node,)))

    def _await_api(self) -> None:
        deadline = time.monotonic() + 120
        while True:
            try:
                run([self.kubectl, "--kubeconfig", str(self.kubeconfig), "get", "--raw", "/readyz"])
                return
            except LabError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def _exists(self) -> bool:
        return CLUSTER in run(["kind", "get", "clusters"]).split()

    def _require_programs(self) -> None:
        require_program("kind", "go install sigs.k8s.io/kind@latest")
        if not docker.answers():
            raise LabError("no Docker engine answers: start it, or use STICKY_PROVIDER=native (Linux, root)")


def require_program(name: str, how: str) -> str:
    """Return the path of a program; raises LabError with how to get it."""
    path = shutil.which(name)
    if path is None:
        raise LabError(f"{name} is not installed; get it with: {how}")
    return path


def _container(node: str) -> str:
    if node not in NODES:
        raise LabError(f"no node {node!r}; there are {', '.join(NODES)}")
    return NODES[node]


def _each_way(fault: Fault, containers: list[str], act: Callable[[str, str], None]) -> None:
    """Act on each end of a link; a node that is cut is cut from every other container of the cluster."""
    if len(containers) == 1:
        peers = [name for name in (CONTROL_PLANE, *NODES.values()) if name != containers[0]]
    else:
        peers = [containers[1]]
    for peer in peers:
        for end, source in ((containers[0], peer), (peer, containers[0])):
            for network in _networks(source):
                act(end, network)


def _networks(container: str) -> list[str]:
    """Return the node's own address and the range of its pods."""
    details = json.loads(run(["docker", "container", "inspect", container]))[0]
    address = str(details["NetworkSettings"]["Networks"]["kind"]["IPAddress"])
    return [address, _pod_range(container)]


def _pod_range(container: str) -> str:
    template = "{.spec.podCIDR}"
    kubectl = ["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "get", "node", container]
    return docker.run_in(CONTROL_PLANE, [*kubectl, "-o", f"jsonpath={template}"])


def _rule(source: str) -> list[str]:
    return ["PREROUTING", "--source", source, "--jump", "DROP"]


def _cut(container: str, source: str) -> None:
    table = ["iptables", "--wait", "--table", "raw"]
    if not docker.succeeds_in(container, [*table, "--check", *_rule(source)]):
        docker.run_in(container, [*table, "--insert", *_rule(source)])


def _heal(container: str, source: str) -> None:
    table = ["iptables", "--wait", "--table", "raw"]
    if docker.succeeds_in(container, [*table, "--check", *_rule(source)]):
        docker.run_in(container, [*table, "--delete", *_rule(source)])
