"""A Docker engine, as the kind provider uses it."""

import shutil

from lab.build.images import Image
from lab.commands import Surroundings, run, succeeds
from lab.paths import Places


def answers() -> bool:
    """Whether a Docker client is installed and its engine answers."""
    return shutil.which("docker") is not None and succeeds(
        ["docker", "version", "--format", "{{.Server.Version}}"]
    )


def has(reference: str) -> bool:
    """Whether the engine has the image."""
    return succeeds(["docker", "image", "inspect", reference])


def build(places: Places, image: Image, reference: str) -> None:
    """Build one image with BuildKit; raises CommandFailed with the end of its output."""
    target = [] if image.target is None else ["--target", image.target]
    where = Surroundings(places.checkout, {"DOCKER_BUILDKIT": "1"})
    run(["docker", "build", "--file", image.dockerfile, *target, "--tag", reference, "."], where=where)


def run_in(container: str, argv: list[str]) -> str:
    """Run a program in a container; raises CommandFailed."""
    return run(["docker", "exec", container, *argv])


def succeeds_in(container: str, argv: list[str]) -> bool:
    """Tell whether a program in a container ends with 0."""
    return succeeds(["docker", "exec", container, *argv])
