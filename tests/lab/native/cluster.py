"""The native provider: brings the machines up, mends them, removes them."""

import datetime
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from lab.build.golang import KUBERNETES
from lab.errors import LabError
from lab.native import (
    addresses,
    cgroups,
    cleanup,
    controlplane,
    daemons,
    faults,
    images,
    machines,
    metrics,
    network,
    ownership,
    pki,
    prerequisites,
)
from lab.native import nodes as node_machines
from lab.native.api import Api, wait_until
from lab.native.machines import CONTROL_PLANE, Machine, Order
from lab.native.processes import processes
from lab.native.site import Site, ensure_site
from lab.paths import Places
from lab.progress import Progress
from lab.provider import Fault, Status, VerifierPlace

COMPLETE = "complete"
PROGRAMS = {
    CONTROL_PLANE: (
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "coredns",
        "docker-registry",
    ),
    **{node.name: ("containerd", "kubelet", "kube-proxy") for node in addresses.NODES},
}


@dataclass(frozen=True)
class NativeCluster:
    """One control plane and three nodes on this machine; they end when ``lifeline`` (a readable descriptor) closes."""

    places: Places
    lifeline: int | None = None
    name: str = "native"
    image_prefix: str = f"{addresses.REGISTRY_NAME}/sticky-routing"
    verifier_place: VerifierPlace = VerifierPlace.HOST

    @property
    def kubeconfig(self) -> Path:
        """See Provider."""
        return self.places.kubeconfig

    @property
    def kubectl(self) -> str:
        """See Provider: the one that was built with the cluster."""
        return str(KUBERNETES.artefact.folder(self.places.cache) / "kubectl")

    @property
    def audit_log(self) -> Path:
        """See Provider."""
        return self.places.state / "audit.log"

    def up(self, progress: Progress) -> None:
        """See Provider."""
        prerequisites.require_root()
        with ownership.one_at_a_time(progress):
            self._refuse_foreign()
            site = ensure_site(self.places, progress)
            machine = self._complete() or self._start_control_plane(site, progress)
            self._start_programs(site, machine, progress)
            self._write_kubeconfig(site)

    def down(self, progress: Progress) -> None:
        """See Provider."""
        prerequisites.require_root()
        with ownership.one_at_a_time(progress):
            self._refuse_foreign()
            with progress.step("cluster removed"):
                cleanup.remove_everything(self.places.state)
            self.places.kubeconfig.unlink(missing_ok=True)

    def whoever_holds_it(self) -> "NativeCluster":
        """Return the cluster that is up on this machine as its own checkout would see it; else this one."""
        holder = ownership.holder()
        if holder is None:
            return self
        return NativeCluster(Places(checkout=holder.checkout, cache=holder.state.parent))

    def status(self) -> Status:
        """See Provider."""
        holder = ownership.holder()
        if holder is None:
            return Status(well=False, headline="no cluster is up; start one with: python -m lab up")
        ownership.require_ours(holder, self.places)
        ready = Api(self.places.state / "pki").nodes()
        absent = [f"{m}: {program} does not run" for m, program in self._absent()]
        lines = [f"node {name}: Ready={ready.get(name, 'unreachable')}" for name in _node_names()]
        well = not absent and all(ready.get(name) == "True" for name in _node_names())
        verdict = "well" if well else "broken; mend it with: python -m lab up"
        headline = f"native cluster of {holder.checkout}: {verdict}"
        return Status(well, headline, (*lines, *absent, f"logs: {self.places.state / 'logs'}"))

    def images(self, progress: Progress) -> Mapping[str, str]:
        """See Provider: pushed to the registry in the control plane machine, from which the nodes pull."""
        self._require_up()
        return images.publish(self.places, self.image_prefix, progress)

    def fault(self, fault: Fault) -> None:
        """See Provider."""
        machine = self._require_up()
        faults.apply(ensure_site(self.places, Progress()), machine, fault)

    def metrics(self, progress: Progress) -> AbstractContextManager[None]:
        """Have CPU and memory of pods served (metrics.k8s.io) while the block runs; raises LabError."""
        return metrics.serving(ensure_site(self.places, progress), self._require_up(), progress)

    def _refuse_foreign(self) -> None:
        holder = ownership.holder()
        if holder:
            ownership.require_ours(holder, self.places)

    def _require_up(self) -> Machine:
        self._refuse_foreign()
        machine = self._complete()
        if machine is None:
            raise LabError("no cluster is up; start one with: python -m lab up")
        return machine

    def _complete(self) -> Machine | None:
        """Return the control plane machine if its network was finished; else it is of no use."""
        machine = machines.find(CONTROL_PLANE, self.places.state)
        marker = self.places.state / COMPLETE
        if machine and marker.exists() and marker.read_text() == _identity(machine):
            return machine
        return None

    def _start_control_plane(self, site: Site, progress: Progress) -> Machine:
        cleanup.remove_everything(site.state)
        network.require_free()
        with progress.step("control plane machine started"):
            pki.write_all(site.pki, datetime.datetime.now(datetime.UTC))
            controlplane.write_configs(site)
            for node in addresses.NODES:
                node_machines.write_configs(site, node)
            cgroups.make(CONTROL_PLANE)
            order = Order(CONTROL_PLANE, site.state, site.places.checkout, lifeline=self.lifeline)
            machine = machines.start(order)
            network.make_control_plane(machine)
            (site.state / COMPLETE).write_text(_identity(machine))
        return machine

    def _start_programs(self, site: Site, machine: Machine, progress: Progress) -> None:
        daemons.ensure(machine, controlplane.registry(site))
        faults.heal_links(site, machine)
        with ThreadPoolExecutor(len(addresses.NODES)) as pool:
            booting = [pool.submit(node_machines.boot, site, node, machine) for node in addresses.NODES]
            with progress.step("API server ready"):
                controlplane.start_api(site, machine)
            controlplane.start_rest(site, machine)
            for boot in booting:
                boot.result()
        api, now = Api(site.pki), datetime.datetime.now(datetime.UTC)
        with progress.step("all nodes ready"):
            wait_until("the nodes to be ready", lambda: _is_usable(api, now), self._require_programs)

    def _require_programs(self) -> None:
        for machine, program in self._absent():
            log = self.places.state / "logs" / f"{machine}.{program.removeprefix('kube-')}.log"
            raise LabError(f"{program} on {machine} ended by itself; see {log}")

    def _absent(self) -> list[tuple[str, str]]:
        """Return (machine, program) of everything that should run and does not."""
        firsts = {m.process.pid: m.name for m in machines.running() if m.state == self.places.state}
        table = list(processes())
        present = {(firsts[p.parent], Path(p.argv[0]).name) for p in table if p.parent in firsts}
        return [
            (name, p) for name, programs in PROGRAMS.items() for p in programs if (name, p) not in present
        ]

    def _write_kubeconfig(self, site: Site) -> None:
        self.places.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(site.pki / "admin.kubeconfig", self.places.kubeconfig)
        self.places.kubeconfig.chmod(0o600)


def _identity(machine: Machine) -> str:
    return f"{machine.process.pid} {machine.process.started}"


def _node_names() -> list[str]:
    return [node.name for node in addresses.NODES]


def _is_usable(api: Api, since: datetime.datetime) -> bool:
    """Whether pods run everywhere: a node that went silent stays Ready for seconds, so each must have spoken since."""
    ready, renewals = api.nodes(), api.renewals()
    spoken = {name for name, moment in renewals.items() if moment > since}
    return api.takes_pods() and all(ready.get(name) == "True" and name in spoken for name in _node_names())
