"""Builds images without a daemon, in a store of our own, with the same Dockerfiles that Docker takes."""

from pathlib import Path

from lab.build.cache import locked
from lab.build.images import Image
from lab.commands import ENCLOSED, Surroundings, follow, run, succeeds
from lab.native import prerequisites
from lab.paths import Places
from lab.progress import Progress
from lab.rootfs import artefact, ensure_rootfs

BASE = "docker.io/library/debian:trixie-slim"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
ENVIRONMENT = {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}


class Builder:
    """Builds and pushes; each buildah runs enclosed, so that one that is killed leaves no mount and no process."""

    def __init__(self, places: Places, progress: Progress) -> None:
        """Use the store below the cache of ``places``."""
        self._checkout = places.checkout
        self._cache = places.cache
        self._store = places.cache / "images"
        self._progress = progress

    def has(self, reference: str) -> bool:
        """Whether the store has the image."""
        return succeeds(
            [*ENCLOSED, "env", *_assignments(), *self._buildah(), "inspect", "--type=image", reference]
        )

    def build(self, image: Image, reference: str) -> None:
        """Build one image and name it ``reference``; raises CommandFailed with the end of the build's output."""
        prerequisites.ensure(prerequisites.FOR_IMAGES, self._progress)
        with locked(self._cache, "images"):
            self._ensure_base()
            target = [] if image.target is None else ["--target", image.target]
            files = ["--file", str(self._checkout / image.dockerfile)]
            files += ["--ignorefile", str(self._checkout / image.ignorefile)]
            options = ["--layers", "--pull-never", "--format=docker", *self._trust()]
            argv = ["bud", *options, *target, *files, "--tag", reference, str(self._checkout)]
            self._follow(argv, f"image {image.name}")

    def name(self, reference: str, another: str) -> None:
        """Give an image of the store another name."""
        self._follow(["tag", reference, another], reference)

    def push(self, reference: str, destination: str) -> None:
        """Push an image of the store to a registry that speaks plain HTTP; raises CommandFailed."""
        argv = ["push", "--tls-verify=false", "--quiet", reference, f"docker://{destination}"]
        self._follow(argv, f"push {destination}")

    def _ensure_base(self) -> None:
        """Make our Debian root the image that the Dockerfiles start from."""
        ours = f"localhost/rootfs:{artefact().key}"
        if self.has(ours):
            return
        root = ensure_rootfs(self._progress, self._cache)
        archive = self._store / "rootfs.tar"
        self._store.mkdir(parents=True, exist_ok=True)
        self._progress.say("importing the Debian root as an image (15 s once)")
        try:
            run(["tar", "--create", "--numeric-owner", "--file", str(archive), "--directory", str(root), "."])
            container = run([*ENCLOSED, "env", *_assignments(), *self._buildah(), "from", "scratch"]).strip()
            self._follow(["add", "--quiet", container, str(archive), "/"], "Debian root")
            self._follow(["commit", "--quiet", "--rm", container, ours], "Debian root")
        finally:
            archive.unlink(missing_ok=True)
        self.name(ours, BASE)

    def _trust(self) -> list[str]:
        """Return mounts by which pip and uv inside the build trust whom this machine trusts; no image keeps them."""
        if not AUTHORITIES.exists():
            return []
        self._store.mkdir(parents=True, exist_ok=True)
        pip, uv = self._store / "pip.conf", self._store / "uv.toml"
        pip.write_text(f"[global]\ncert = {AUTHORITIES}\n")
        uv.write_text("system-certs = true\n")
        mounts = {AUTHORITIES: AUTHORITIES, pip: "/etc/pip.conf", uv: "/etc/uv/uv.toml"}
        return [part for source, target in mounts.items() for part in ("--volume", f"{source}:{target}:ro")]

    def _buildah(self) -> list[str]:
        return ["buildah", "--root", str(self._store / "storage"), "--runroot", str(self._store / "run")]

    def _follow(self, argv: list[str], title: str) -> None:
        follow([*self._buildah(), *argv], title, self._progress, Surroundings(variables=ENVIRONMENT))


def _assignments() -> list[str]:
    return [f"{name}={value}" for name, value in ENVIRONMENT.items()]
