"""The lab's configuration files and certificates, as the programs will read them."""

import datetime
import io
import json
import tarfile
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lab.kind import cluster_config
from lab.native import configs, controlplane, faults, metrics, pki
from lab.native.addresses import Node
from lab.native.pause import image_tar
from lab.native.site import Site
from lab.paths import Places

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SITE = Site(Places(Path("/checkout"), Path("/cache")), Path("/k8s"), Path("/coredns"), Path("/pause.tar"))


def test_a_kubelet_lives_in_its_own_cgroup_and_writes_below_its_own_folders() -> None:
    kubelet = configs.kubelet(Node(1), Path("/pki"))
    assert kubelet["cgroupRoot"] == "/sticky-lab/n1"
    assert kubelet["volumePluginDir"] == "/var/lib/kubelet/volume-plugins"
    assert kubelet["tlsCertFile"] == "/pki/n1-serving.crt"
    assert kubelet["clusterDNS"] == ["198.18.64.1"]


def test_a_lease_is_renewed_well_within_the_grace_period() -> None:
    renewal = configs.LEASE_SECONDS / 4
    assert 3 * renewal <= configs.NODE_GRACE_SECONDS


def test_only_calls_from_pods_are_masqueraded_by_kube_proxy() -> None:
    assert configs.kube_proxy(Path("/pki"))["clusterCIDR"] == "198.18.80.0/20"


def test_the_audit_log_holds_service_accounts_but_kubernetes_own() -> None:
    rules = configs.audit_policy()["rules"]
    assert [(rule["level"], rule.get("userGroups")) for rule in rules] == [
        ("None", ["system:serviceaccounts:kube-system"]),
        ("Metadata", ["system:serviceaccounts"]),
        ("None", None),
    ]


def test_pods_of_a_node_get_addresses_of_its_range() -> None:
    bridge, portmap = json.loads(configs.cni(Node(3)))["plugins"]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "198.18.83.0/24"}]]
    assert bridge["bridge"] == "cni0"
    assert portmap["type"] == "portmap"


def test_documents_survive_the_way_to_yaml_and_back() -> None:
    for document in (
        configs.kubelet(Node(1), Path("/p")),
        configs.registry(Path("/r")),
        configs.audit_policy(),
    ):
        assert yaml.safe_load(configs.as_yaml(document)) == document


def test_names_outside_the_cluster_are_not_forwarded() -> None:
    assert "forward" not in configs.corefile(Path("/pki"))
    assert "kubeconfig /pki/dns.kubeconfig" in configs.corefile(Path("/pki"))


def test_the_api_server_is_told_of_its_audit_log_and_its_certificates() -> None:
    argv = controlplane.api_server(SITE).argv
    assert argv[0] == "/k8s/kube-apiserver"
    assert "--audit-log-path=/cache/cluster/audit.log" in argv
    assert "--tls-cert-file=/cache/cluster/pki/apiserver.crt" in argv
    assert "--default-unreachable-toleration-seconds=3" in argv


def test_metrics_are_served_beside_the_api_server_which_is_told_where() -> None:
    argv = metrics.metrics_server(SITE, Path("/ms/metrics-server")).argv
    assert argv[0] == "/ms/metrics-server"
    assert {"--bind-address=198.18.64.1", "--secure-port=4443"} <= set(argv)
    _, slice_, api = metrics.registration()
    assert slice_["endpoints"][0]["addresses"] == ["198.18.64.1"]
    assert slice_["ports"] == [{"name": "https", "port": 4443}]
    assert api["metadata"]["name"] == "v1beta1.metrics.k8s.io"


def test_a_leaf_carries_user_group_and_what_it_serves() -> None:
    authority = pki.make_authority("ca", NOW)
    leaf = pki.issue(authority, pki.Subject("system:node:n1", "system:nodes", ("n1", "198.18.64.11")), NOW)
    assert leaf.certificate.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
    names = leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["n1"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["198.18.64.11"]
    leaf.certificate.verify_directly_issued_by(authority.certificate)
    assert isinstance(leaf.certificate.public_key(), ec.EllipticCurvePublicKey)


def test_keys_and_kubeconfigs_are_for_root_only(tmp_path: Path) -> None:
    pki.write_all(tmp_path, NOW)
    private = [path for path in tmp_path.iterdir() if path.suffix in {".key", ".kubeconfig"}]
    assert len(private) == 22
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
    config = yaml.safe_load((tmp_path / "admin.kubeconfig").read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://198.18.64.1:6443"


def test_the_pause_image_is_one_layer_with_one_program() -> None:
    with tarfile.open(fileobj=io.BytesIO(image_tar("lab.local/pause:1", b"ELF"))) as image:
        manifest = image.extractfile("manifest.json")
        layer = image.extractfile("layer.tar")
        assert manifest is not None
        assert layer is not None
        assert json.load(manifest) == [
            {"Config": "config.json", "RepoTags": ["lab.local/pause:1"], "Layers": ["layer.tar"]}
        ]
        with tarfile.open(fileobj=io.BytesIO(layer.read())) as content:
            assert [(member.name, member.mode) for member in content] == [("pause", 0o755)]


def test_a_cut_link_drops_what_comes_from_the_peer_and_its_pods() -> None:
    assert faults.drop_rules(Node(1), Node(2)) == [
        ["PREROUTING", "--source", "198.18.64.12", "--jump", "DROP"],
        ["PREROUTING", "--source", "198.18.82.0/24", "--jump", "DROP"],
    ]


@pytest.mark.parametrize("key", ["podSubnet", "serviceSubnet"])
def test_kind_uses_our_addresses_too(key: str) -> None:
    config = cluster_config()
    assert config["networking"][key].startswith("198.18.")
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker", "worker", "worker"]
