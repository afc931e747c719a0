"""Every fault of the native cluster does what it says, and its mending verb undoes it."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from lab.commands import run
from lab.errors import CommandFailed
from lab.native import daemons, machines
from lab.native.addresses import CONTROL_PLANE, NODES
from lab.native.api import Api
from lab.native.cluster import NativeCluster
from lab.native.machines import Machine
from lab.paths import places
from lab.progress import SILENT
from lab.provider import Fault, FaultKind

pytestmark = pytest.mark.lab

PLACES = places()


@pytest.fixture(scope="module")
def cluster() -> Iterator[NativeCluster]:
    """A cluster for the tests of this file, which leave it as they found it."""
    cluster = NativeCluster(PLACES)
    cluster.up(SILENT)
    yield cluster
    cluster.down(SILENT)


def wait_for(what: str, condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until the condition holds; fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.1)


def readiness(node: str) -> str | None:
    """Return the status of the node's condition Ready."""
    return Api(PLACES.state / "pki").nodes().get(node)


def machine(name: str) -> Machine:
    """Return a machine that runs."""
    found = machines.find(name, PLACES.state)
    assert found is not None, f"machine {name} is not there"
    return found


def reaches(source: str, address: str) -> bool:
    """Whether a machine can open a TCP connection to the kubelet at an address."""
    probe = ["timeout", "1", "bash", "-c", f"exec 3<>/dev/tcp/{address}/10250"]
    done = subprocess.run([*machines.entering(machine(source)), *probe], capture_output=True, check=False)
    return done.returncode == 0


def kubectl(cluster: NativeCluster, *argv: str) -> str:
    """Run kubectl on the cluster."""
    return run([cluster.kubectl, "--kubeconfig", str(cluster.kubeconfig), *argv])


def test_a_cut_node_is_noticed_and_comes_back_when_healed(cluster: NativeCluster) -> None:
    first = machine("n3").process.pid
    cluster.fault(Fault(FaultKind.NODE_CUT, ("n3",)))
    assert not reaches("n1", NODES[2].address)
    wait_for("n3 unknown", lambda: readiness("n3") == "Unknown")
    assert machine("n3").process.pid == first
    cluster.fault(Fault(FaultKind.NODE_HEAL, ("n3",)))
    wait_for("n3 ready", lambda: readiness("n3") == "True")
    assert reaches("n1", NODES[2].address)


def test_a_node_that_is_off_has_no_process_until_it_is_on(cluster: NativeCluster) -> None:
    for _ in range(2):
        cluster.fault(Fault(FaultKind.NODE_OFF, ("n2",)))
    assert machines.find("n2", PLACES.state) is None
    wait_for("n2 unknown", lambda: readiness("n2") == "Unknown")
    for _ in range(2):
        cluster.fault(Fault(FaultKind.NODE_ON, ("n2",)))
    wait_for("n2 ready", lambda: readiness("n2") == "True")


def test_a_cut_link_separates_two_nodes_only(cluster: NativeCluster) -> None:
    for _ in range(2):
        cluster.fault(Fault(FaultKind.LINK_CUT, ("n1", "n2")))
    assert not reaches("n1", NODES[1].address)
    assert not reaches("n2", NODES[0].address)
    assert reaches("n1", NODES[2].address)
    assert reaches("cp", NODES[0].address)
    for _ in range(2):
        cluster.fault(Fault(FaultKind.LINK_HEAL, ("n2", "n1")))
    assert reaches("n1", NODES[1].address)
    assert reaches("n2", NODES[0].address)


def test_the_api_server_goes_and_comes_back_while_nodes_stay(cluster: NativeCluster) -> None:
    api = Api(PLACES.state / "pki")
    kubelet = daemons.find(machine("n1"), "kubelet")
    cluster.fault(Fault(FaultKind.API_DOWN))
    assert not api.is_ready()
    with pytest.raises(CommandFailed, match="was refused"):
        kubectl(cluster, "get", "nodes")
    cluster.fault(Fault(FaultKind.API_UP))
    assert api.is_ready()
    assert daemons.find(machine("n1"), "kubelet") == kubelet
    wait_for("all nodes ready", lambda: set(api.nodes().values()) == {"True"})


def test_up_mends_whatever_is_broken(cluster: NativeCluster) -> None:
    cluster.fault(Fault(FaultKind.NODE_OFF, ("n1",)))
    cluster.fault(Fault(FaultKind.NODE_CUT, ("n2",)))
    cluster.fault(Fault(FaultKind.LINK_CUT, ("n2", "n3")))
    daemons.kill_daemon(machine("n3"), "kube-proxy")
    daemons.kill_daemon(machine("cp"), "kube-scheduler")
    cluster.up(SILENT)
    assert reaches("n3", NODES[1].address)
    assert cluster.status().well


def test_nothing_leaves_the_machines(cluster: NativeCluster) -> None:
    for name in ("cp", "n1", "n2", "n3"):
        routes = json.loads(machines.run_in(machine(name), ["ip", "-json", "route"]))
        assert [route for route in routes if not route["dst"].startswith("198.18.")] == []


def test_calls_of_service_accounts_are_in_the_audit_log(cluster: NativeCluster) -> None:
    token = kubectl(cluster, "create", "token", "default").strip()
    with pytest.raises(CommandFailed, match="Forbidden"):
        run(
            [
                cluster.kubectl,
                f"--server=https://{CONTROL_PLANE}:6443",
                f"--certificate-authority={PLACES.state}/pki/ca.crt",
                f"--token={token}",
                "--kubeconfig=/dev/null",
                "get",
                "secrets",
            ]
        )
    events = [json.loads(line) for line in cluster.audit_log.read_text().splitlines()]
    ours = [e for e in events if e["user"]["username"] == "system:serviceaccount:default:default"]
    assert {
        (e["verb"], e["objectRef"]["resource"], e["responseStatus"]["code"]) for e in ours if "objectRef" in e
    } == {("list", "secrets", 403)}
    assert [e for e in events if e["user"]["username"].startswith("system:serviceaccount:kube-system:")] == []
