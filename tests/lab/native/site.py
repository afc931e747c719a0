"""The parts a native cluster is started from: folders, programs and the pause image."""

from dataclasses import dataclass
from pathlib import Path

from lab.build.golang import COREDNS, KUBERNETES, ensure_module
from lab.errors import LabError
from lab.native import prerequisites
from lab.native.pause import ensure_pause
from lab.paths import Places
from lab.progress import Progress

# Inside a machine these are its own folders, so programs and certificates kept below the host's would be hidden.
HIDDEN = ("/var/lib", "/var/log", "/run", "/proc", "/sys")


@dataclass(frozen=True)
class Site:
    """Where everything is that the machines run."""

    places: Places
    kubernetes: Path
    coredns: Path
    pause: Path

    @property
    def state(self) -> Path:
        """The folder of the running cluster."""
        return self.places.state

    @property
    def pki(self) -> Path:
        """Certificates and kubeconfigs."""
        return self.state / "pki"

    @property
    def configs(self) -> Path:
        """Configuration files."""
        return self.state / "configs"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON event per line."""
        return self.state / "audit.log"

    @property
    def registry(self) -> Path:
        """The registry's storage; it outlives the cluster, so that images are pushed once."""
        return self.places.cache / "registry"


def ensure_site(places: Places, progress: Progress) -> Site:
    """Return the site, building or installing whatever is missing; raises LabError."""
    prerequisites.require_root()
    require_visible(places.cache)
    prerequisites.ensure(prerequisites.FOR_CLUSTER, progress)
    return Site(
        places=places,
        kubernetes=ensure_module(KUBERNETES, places.cache, progress),
        coredns=ensure_module(COREDNS, places.cache, progress) / "coredns",
        pause=ensure_pause(places.cache, progress),
    )


def require_visible(cache: Path) -> None:
    """Raise LabError if the cache lies in a folder that machines replace by their own."""
    for hidden in HIDDEN:
        if cache.is_relative_to(hidden):
            raise LabError(f"the cache {cache} lies below {hidden}: set STICKY_CACHE to a folder elsewhere")
