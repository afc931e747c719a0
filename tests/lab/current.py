"""The ``current`` provider: the cluster of the user's kubeconfig; it is used, never made, broken or removed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.commands import run
from lab.errors import LabError
from lab.kind import require_program
from lab.progress import Progress
from lab.provider import Fault, Status, VerifierPlace

IMAGES = ("operator", "proxy", "apps")
PREFIX = "STICKY_IMAGE_PREFIX"
TAG = "STICKY_IMAGE_TAG"


@dataclass(frozen=True)
class CurrentCluster:
    """The cluster that kubectl talks to; see Provider for the methods."""

    environ: Mapping[str, str]
    name: str = "current"
    verifier_place: VerifierPlace = VerifierPlace.POD

    @property
    def image_prefix(self) -> str:
        """The registry and folder of images that the user has pushed; raises LabError if not told."""
        return self._told(PREFIX)

    @property
    def kubeconfig(self) -> Path:
        """See Provider; of several files in KUBECONFIG the first is taken."""
        first = self.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
        return Path(first or Path(self.environ.get("HOME", "/root")) / ".kube" / "config")

    @property
    def kubectl(self) -> str:
        """See Provider."""
        return require_program("kubectl", "https://kubernetes.io/docs/tasks/tools/")

    @property
    def audit_log(self) -> Path | None:
        """See Provider: the cluster's log is its owner's."""
        return None

    def up(self, progress: Progress) -> None:
        """Check that the cluster answers; raises CommandFailed with kubectl's words."""
        with progress.step("the cluster of your kubeconfig answers"):
            self._kubectl("get", "--raw", "/readyz")

    def down(self, progress: Progress) -> None:
        """Leave the user's cluster alone."""
        progress.say("STICKY_PROVIDER=current: the cluster is yours and stays")

    def status(self) -> Status:
        """See Provider."""
        lines = self._kubectl("get", "nodes").splitlines()
        return Status(well=True, headline=f"cluster of {self.kubeconfig}", details=tuple(lines))

    def images(self, progress: Progress) -> Mapping[str, str]:
        """Return the references that the environment tells; raises LabError if it does not."""
        tag = self._told(TAG)
        return {name: f"{self.image_prefix}/{name}:{tag}" for name in IMAGES}

    def fault(self, fault: Fault) -> None:
        """Refuse: other people's cluster is not broken on purpose."""
        raise LabError(
            f"{fault.kind}: not on a cluster that the lab did not make; use STICKY_PROVIDER=kind or native"
        )

    def _told(self, variable: str) -> str:
        value = self.environ.get(variable, "")
        if not value:
            raise LabError(
                f"{variable} is not set: push the images of deploy/images/Dockerfile and tests/apps/Dockerfile to a "
                f"registry that the cluster pulls from, then set {PREFIX}=REGISTRY/FOLDER and {TAG}=TAG"
            )
        return value

    def _kubectl(self, *argv: str) -> str:
        return run([self.kubectl, "--kubeconfig", str(self.kubeconfig), *argv])
