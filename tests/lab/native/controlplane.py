"""The control plane machine: etcd, API server, controller manager, scheduler, cluster DNS, image registry."""

from pathlib import Path

from lab.native import addresses, configs, daemons
from lab.native.api import Api, wait_until
from lab.native.daemons import Daemon
from lab.native.machines import Machine
from lab.native.site import Site

ETCD = "http://127.0.0.1:2379"


def write_configs(site: Site) -> None:
    """Write the files that the programs read."""
    site.configs.mkdir(parents=True, exist_ok=True)
    site.registry.mkdir(parents=True, exist_ok=True)
    (site.configs / "audit-policy.yaml").write_text(configs.as_yaml(configs.audit_policy()))
    (site.configs / "registry.yaml").write_text(configs.as_yaml(configs.registry(site.registry)))
    (site.configs / "Corefile").write_text(configs.corefile(site.pki))


def start_api(site: Site, machine: Machine) -> None:
    """Start etcd and the API server and wait until it is ready; raises LabError if it dies or is late."""
    etcd_data = machine.root / "var/lib/etcd"
    etcd_data.mkdir(mode=0o700, exist_ok=True)
    daemons.ensure(machine, etcd())
    server = api_server(site)
    daemons.ensure(machine, server)
    api = Api(site.pki)
    wait_until("the API server", api.is_ready, lambda: daemons.require(machine, server))


def start_rest(site: Site, machine: Machine) -> None:
    """Start what needs a ready API server: the controller manager ends at once without one."""
    for daemon in (controller_manager(site), scheduler(site), dns(site)):
        daemons.ensure(machine, daemon)


def etcd() -> Daemon:
    """Return etcd: nothing is synced to disk, the cluster does not outlive a reboot anyway."""
    peers = "http://127.0.0.1:2380"
    return Daemon(
        "etcd",
        (
            "etcd",
            "--data-dir=/var/lib/etcd",
            "--unsafe-no-fsync",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            f"--listen-peer-urls={peers}",
        ),
    )


def api_server(site: Site) -> Daemon:
    """Return the API server; it reaches aggregated APIs and webhooks by endpoint, having no kube-proxy beside it."""
    flags = {**_api_basics(), **_api_certificates(site.pki), **_audit(site)}
    return _kubernetes(site, "kube-apiserver", flags)


def controller_manager(site: Site) -> Daemon:
    """Return the controller manager, quick to notice a lost node."""
    flags = {
        "use-service-account-credentials": "true",
        "service-account-private-key-file": str(site.pki / "service-accounts.key"),
        "root-ca-file": str(site.pki / "ca.crt"),
        "leader-elect": "false",
        "node-monitor-period": "1s",
        "node-monitor-grace-period": f"{configs.NODE_GRACE_SECONDS}s",
    }
    return _kubernetes(site, "kube-controller-manager", {**_as_user(site.pki, "controller-manager"), **flags})


def scheduler(site: Site) -> Daemon:
    """Return the scheduler."""
    return _kubernetes(site, "kube-scheduler", {**_as_user(site.pki, "scheduler"), "leader-elect": "false"})


def dns(site: Site) -> Daemon:
    """Return the cluster's name server; pods ask it at the control plane's address."""
    return Daemon("dns", (str(site.coredns), "-conf", str(site.configs / "Corefile")))


def registry(site: Site) -> Daemon:
    """Return the image registry, reached at the control plane's address, port 5000, by plain HTTP."""
    return Daemon("registry", ("docker-registry", "serve", str(site.configs / "registry.yaml")))


def _kubernetes(site: Site, program: str, flags: dict[str, str]) -> Daemon:
    argv = (str(site.kubernetes / program), *(f"--{name}={value}" for name, value in flags.items()))
    return Daemon(program.removeprefix("kube-"), argv)


def _as_user(pki: Path, name: str) -> dict[str, str]:
    file = str(pki / f"{name}.kubeconfig")
    return {"kubeconfig": file, "authentication-kubeconfig": file, "authorization-kubeconfig": file}


def _api_basics() -> dict[str, str]:
    return {
        "etcd-servers": ETCD,
        "secure-port": "6443",
        "bind-address": "0.0.0.0",
        "advertise-address": addresses.CONTROL_PLANE,
        "service-cluster-ip-range": str(addresses.SERVICES),
        "service-account-issuer": "https://kubernetes.default.svc",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "enable-aggregator-routing": "true",
        "kubelet-preferred-address-types": "InternalIP",
        "default-not-ready-toleration-seconds": str(configs.TOLERATION_SECONDS),
        "default-unreachable-toleration-seconds": str(configs.TOLERATION_SECONDS),
    }


def _api_certificates(pki: Path) -> dict[str, str]:
    files = {
        "tls-cert-file": "apiserver.crt",
        "tls-private-key-file": "apiserver.key",
        "client-ca-file": "ca.crt",
        "service-account-key-file": "service-accounts.crt",
        "service-account-signing-key-file": "service-accounts.key",
        "kubelet-client-certificate": "admin.crt",
        "kubelet-client-key": "admin.key",
        "kubelet-certificate-authority": "ca.crt",
        "requestheader-client-ca-file": "front-proxy-ca.crt",
        "proxy-client-cert-file": "front-proxy.crt",
        "proxy-client-key-file": "front-proxy.key",
    }
    headers = {
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
    }
    return {**{flag: str(pki / file) for flag, file in files.items()}, **headers}


def _audit(site: Site) -> dict[str, str]:
    return {
        "audit-policy-file": str(site.configs / "audit-policy.yaml"),
        "audit-log-path": str(site.audit_log),
        "audit-log-maxsize": "500",
        "audit-log-maxbackup": "1",
    }
