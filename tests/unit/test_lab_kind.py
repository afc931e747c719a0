"""The kind provider's commands, literally: what it asks of kind, docker and kubectl."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lab import docker, kind
from lab.errors import LabError
from lab.kind import KindCluster
from lab.paths import Places
from lab.progress import SILENT
from lab.provider import Fault, FaultKind

ADDRESSES = {"control-plane": 2, "worker": 3, "worker2": 4, "worker3": 5}
CUT = "iptables --wait --table raw --{} PREROUTING --source {} --jump DROP"


class Machine:
    """A machine with docker, kind and kubectl: records the commands and answers those that ask."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.clusters = ""
        self.there: Callable[[str], bool] = lambda _: False

    def run(self, argv: list[str], stdin: str | None = None, where: object = None) -> str:
        """Record a command and return its output."""
        command = " ".join(argv)
        if command == "kind get clusters":
            return self.clusters
        if command.startswith("docker container inspect"):
            number = ADDRESSES[command.removeprefix("docker container inspect sticky-routing-")]
            return (
                f'[{{"NetworkSettings": {{"Networks": {{"kind": {{"IPAddress": "172.18.0.{number}"}}}}}}}}]'
            )
        if "jsonpath={.spec.podCIDR}" in command:
            number = ADDRESSES[command.rpartition(" -o ")[0].rpartition("sticky-routing-")[2]]
            return f"198.18.{78 + number}.0/24"
        self.commands.append(command if stdin is None else f"{command} <<< {yaml.safe_load(stdin)['name']}")
        return ""

    def succeeds(self, argv: list[str]) -> bool:
        """Record a command that may fail, unless it only asks."""
        command = " ".join(argv)
        if "--check" not in command and "docker version" not in command:
            self.commands.append(command)
        return "docker version" in command or self.there(command)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Put the machine in the place of the real one."""
    machine = Machine()
    monkeypatch.setattr(kind, "run", machine.run)
    monkeypatch.setattr(docker, "run", machine.run)
    monkeypatch.setattr(docker, "succeeds", machine.succeeds)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    return machine


@pytest.fixture
def cluster(tmp_path: Path) -> KindCluster:
    """A kind cluster of a checkout in a temporary folder."""
    return KindCluster(Places(tmp_path, tmp_path / "cache"))


def test_up_makes_a_cluster_with_our_configuration(machine: Machine, cluster: KindCluster) -> None:
    cluster.up(SILENT)
    assert machine.commands == [
        f"kind create cluster --config - --kubeconfig {cluster.kubeconfig} --wait 180s <<< sticky-routing"
    ]


def test_up_mends_a_cluster_that_is_there(machine: Machine, cluster: KindCluster) -> None:
    machine.clusters = "other\nsticky-routing\n"
    cluster.up(SILENT)
    assert machine.commands == [
        f"kind export kubeconfig --name sticky-routing --kubeconfig {cluster.kubeconfig}",
        "docker exec sticky-routing-control-plane mv /etc/kubernetes/kube-apiserver.yaml "
        "/etc/kubernetes/manifests/kube-apiserver.yaml",
        f"/usr/bin/kubectl --kubeconfig {cluster.kubeconfig} get --raw /readyz",
        "docker start sticky-routing-worker",
        "docker start sticky-routing-worker2",
        "docker start sticky-routing-worker3",
    ]


def test_down_deletes_cluster_and_kubeconfig(machine: Machine, cluster: KindCluster) -> None:
    cluster.kubeconfig.parent.mkdir()
    cluster.kubeconfig.touch()
    cluster.down(SILENT)
    assert machine.commands == [
        f"kind delete cluster --name sticky-routing --kubeconfig {cluster.kubeconfig}"
    ]
    assert not cluster.kubeconfig.exists()


def test_a_link_is_cut_at_both_ends(machine: Machine, cluster: KindCluster) -> None:
    cluster.fault(Fault(FaultKind.LINK_CUT, ("n1", "n2")))
    assert machine.commands == [
        "docker exec sticky-routing-worker " + CUT.format("insert", "172.18.0.4"),
        "docker exec sticky-routing-worker " + CUT.format("insert", "198.18.82.0/24"),
        "docker exec sticky-routing-worker2 " + CUT.format("insert", "172.18.0.3"),
        "docker exec sticky-routing-worker2 " + CUT.format("insert", "198.18.81.0/24"),
    ]


def test_a_link_that_is_cut_is_not_cut_again_but_healed(machine: Machine, cluster: KindCluster) -> None:
    machine.there = lambda _: True
    cluster.fault(Fault(FaultKind.LINK_CUT, ("n1", "n2")))
    assert machine.commands == []
    cluster.fault(Fault(FaultKind.LINK_HEAL, ("n1", "n2")))
    assert machine.commands[0] == "docker exec sticky-routing-worker " + CUT.format("delete", "172.18.0.4")
    assert len(machine.commands) == 4


def test_a_node_is_switched_off_and_on_as_a_container(machine: Machine, cluster: KindCluster) -> None:
    cluster.fault(Fault(FaultKind.NODE_OFF, ("n3",)))
    cluster.fault(Fault(FaultKind.NODE_ON, ("n3",)))
    assert machine.commands == ["docker kill sticky-routing-worker3", "docker start sticky-routing-worker3"]


def test_an_unknown_node_is_refused_with_the_names(machine: Machine, cluster: KindCluster) -> None:
    with pytest.raises(LabError, match="no node 'n4'; there are n1, n2, n3"):
        cluster.fault(Fault(FaultKind.NODE_OFF, ("n4",)))
    assert machine.commands == []
