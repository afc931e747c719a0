"""A node: containerd, kubelet and kube-proxy in a machine of its own."""

import socket
from pathlib import Path

from lab.native import cgroups, configs, daemons, machines, network
from lab.native.addresses import Node
from lab.native.api import wait_until
from lab.native.daemons import Daemon
from lab.native.machines import Machine, Order
from lab.native.site import Site


def write_configs(site: Site, node: Node) -> None:
    """Write the files that the node's programs read."""
    folder = _folder(site, node)
    (folder / "cni").mkdir(parents=True, exist_ok=True)
    (folder / "cni" / "10-pods.conflist").write_text(configs.cni(node))
    (folder / "containerd.toml").write_text(configs.CONTAINERD)
    (folder / "kubelet.yaml").write_text(configs.as_yaml(configs.kubelet(node, site.pki)))
    (folder / "kube-proxy.yaml").write_text(configs.as_yaml(configs.kube_proxy(site.pki)))


def boot(site: Site, node: Node, control_plane: Machine) -> None:
    """Bring the node up from whatever state it is in; what runs already is left alone."""
    machine = machines.find(node.name, site.state)
    if machine is None:
        # Each dead container that a power-off left in the tree would cost the kubelet 3 s before it is ready.
        cgroups.remove(node.name)
        cgroups.make(node.name)
        machine = machines.start(Order(node.name, site.state, site.places.checkout, inside=control_plane))
        network.plug_in(node, machine, control_plane)
    _start_containerd(site, node, machine)
    daemons.ensure(machine, kubelet(site, node))
    daemons.ensure(machine, kube_proxy(site, node))


def containerd(site: Site, node: Node) -> Daemon:
    """Return the container runtime."""
    return Daemon("containerd", ("containerd", "--config", str(_folder(site, node) / "containerd.toml")))


def kubelet(site: Site, node: Node) -> Daemon:
    """Return the kubelet; the node's name is the machine's host name."""
    argv = (
        str(site.kubernetes / "kubelet"),
        f"--config={_folder(site, node) / 'kubelet.yaml'}",
        f"--kubeconfig={site.pki / node.name}.kubeconfig",
        f"--node-ip={node.address}",
        "--root-dir=/var/lib/kubelet",
    )
    return Daemon("kubelet", argv, configs.FAST_HTTP2)


def kube_proxy(site: Site, node: Node) -> Daemon:
    """Return the program that makes Services reachable."""
    config = _folder(site, node) / "kube-proxy.yaml"
    return Daemon(
        "kube-proxy", (str(site.kubernetes / "kube-proxy"), f"--config={config}"), configs.FAST_HTTP2
    )


def _start_containerd(site: Site, node: Node, machine: Machine) -> None:
    network_folder = machine.root / "var/lib/cni/net.d"
    network_folder.mkdir(parents=True, exist_ok=True)
    source = _folder(site, node) / "cni" / "10-pods.conflist"
    (network_folder / source.name).write_text(source.read_text())
    daemon = containerd(site, node)
    if not daemons.ensure(machine, daemon):
        return
    listening = machine.root / "run/containerd/containerd.sock"
    wait_until(
        f"containerd on {node.name}", lambda: _answers(listening), lambda: daemons.require(machine, daemon)
    )
    machines.run_in(machine, ["ctr", "--namespace", "k8s.io", "images", "import", str(site.pause)])


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def _folder(site: Site, node: Node) -> Path:
    return site.configs / node.name
