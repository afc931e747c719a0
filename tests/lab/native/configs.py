"""Pure: the configuration files of the programs of the cluster, as data; nothing here touches the machine."""

import json
from pathlib import Path
from typing import Any

import yaml

from lab.native import addresses
from lab.native.addresses import Node

CGROUP = "sticky-lab"
PAUSE_IMAGE = "lab.local/pause:1"
# A node that is cut off is noticed after 6 s and its pods are evicted 3 s later, instead of 50 s and 300 s. The
# kubelet renews its lease every quarter of its duration, which must stay well below the grace period.
NODE_GRACE_SECONDS = 6
TOLERATION_SECONDS = 3
LEASE_SECONDS = 4
# Kubelet and kube-proxy drop dead connections fast; else a healed node stays NotReady for 12 s more.
FAST_HTTP2 = {"HTTP2_READ_IDLE_TIMEOUT_SECONDS": "2", "HTTP2_PING_TIMEOUT_SECONDS": "2"}


def as_yaml(document: Any) -> str:
    """Return the document as YAML (or as TOML's twin where a program reads JSON: YAML 1.2 contains JSON)."""
    return yaml.safe_dump(document, sort_keys=False)


def kubelet(node: Node, pki: Path) -> dict[str, Any]:
    """Return the KubeletConfiguration of a node (kubelet.config.k8s.io/v1beta1)."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": True,
        "cgroupRoot": f"/{CGROUP}/{node.name}",
        "enforceNodeAllocatable": ["pods"],
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "resolvConf": "",
        "clusterDNS": [addresses.CONTROL_PLANE],
        "clusterDomain": addresses.CLUSTER_DOMAIN,
        "authentication": {
            "x509": {"clientCAFile": str(pki / "ca.crt")},
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / f"{node.name}-serving.crt"),
        "tlsPrivateKeyFile": str(pki / f"{node.name}-serving.key"),
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "syncFrequency": "5s",
        "nodeStatusUpdateFrequency": "1s",
        "nodeStatusReportFrequency": "10s",
        "nodeLeaseDurationSeconds": LEASE_SECONDS,
    }


def kube_proxy(pki: Path) -> dict[str, Any]:
    """Return the KubeProxyConfiguration; its cluster range is that of the pods only.

    If it covered the underlay, calls from host and nodes to a Service would not be masqueraded and the replies would
    go past the node that translated the address.
    """
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(pki / "proxy.kubeconfig")},
        "mode": "iptables",
        "clusterCIDR": str(addresses.PODS),
        "conntrack": {"maxPerCore": 0, "min": 0},
        "oomScoreAdj": 0,
    }


def audit_policy() -> dict[str, Any]:
    """Return the audit policy: who called what, for service accounts other than Kubernetes' own."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
            {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
            {"level": "None"},
        ],
    }


def cni(node: Node) -> str:
    """Return the network of a node's pods as a CNI list; leases live in /run and are gone after a power-off."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/cni-ipam",
            "ranges": [[{"subnet": node.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, portmap]}, indent=1)


def registry(storage: Path) -> dict[str, Any]:
    """Return the configuration of the image registry (distribution 2)."""
    return {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
        "http": {"addr": addresses.REGISTRY},
    }


def corefile(pki: Path) -> str:
    """Return CoreDNS's configuration: names of the cluster only, nothing is forwarded."""
    return f""".:53 {{
    errors
    health 127.0.0.1:8080
    ready 127.0.0.1:8181
    kubernetes {addresses.CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {pki / "dns.kubeconfig"}
        pods insecure
        ttl 5
    }}
    cache 5
    loadbalance
}}
"""


CONTAINERD = f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/var/lib/cni/net.d"

  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."{addresses.REGISTRY_NAME}"]
    endpoint = ["http://{addresses.REGISTRY}"]
"""
