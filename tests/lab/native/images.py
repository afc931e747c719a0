"""Gives images to the cluster: built if their tag is new, pushed if the registry lacks it."""

import http.client
from collections.abc import Mapping

from lab.build.images import IMAGES, Image
from lab.errors import LabError
from lab.native import addresses
from lab.native.buildah import Builder
from lab.paths import Places
from lab.progress import Progress

ATTEMPTS = 3
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def publish(places: Places, prefix: str, progress: Progress) -> Mapping[str, str]:
    """Return the references of all images by name, each one pullable by the nodes; raises LabError."""
    builder = Builder(places, progress)
    tags = {image.name: _publish(places, builder, image, progress) for image in IMAGES}
    return {name: f"{prefix}/{name}:{tag}" for name, tag in tags.items()}


def _publish(places: Places, builder: Builder, image: Image, progress: Progress) -> str:
    tag = image.tag(places.checkout)
    repository = f"sticky-routing/{image.name}"
    if in_registry(repository, tag):
        return tag
    tag = _build(places, builder, image, progress)
    with progress.step(f"image {image.name}:{tag} pushed"):
        builder.push(_local(image, tag), f"{addresses.REGISTRY}/{repository}:{tag}")
    return tag


def _build(places: Places, builder: Builder, image: Image, progress: Progress) -> str:
    """Build the image unless the store has it and return its tag; files edited meanwhile mean another build."""
    for _ in range(ATTEMPTS):
        tag = image.tag(places.checkout)
        if builder.has(_local(image, tag)):
            return tag
        built = f"localhost/unfinished/{image.name}"
        with progress.step(f"image {image.name}:{tag} built"):
            builder.build(image, built)
        if image.tag(places.checkout) == tag:
            builder.name(built, _local(image, tag))
            return tag
        progress.say(f"files of image {image.name} changed while it was built: once more")
    raise LabError(f"files of image {image.name} keep changing while it is built: run the command again")


def _local(image: Image, tag: str) -> str:
    return f"localhost/sticky-routing/{image.name}:{tag}"


def in_registry(repository: str, tag: str) -> bool:
    """Whether the cluster's registry has the image (HEAD of the manifest, OCI distribution specification)."""
    connection = http.client.HTTPConnection(addresses.REGISTRY, timeout=5)
    try:
        connection.request("HEAD", f"/v2/{repository}/manifests/{tag}", headers={"Accept": MANIFESTS})
        return connection.getresponse().status == 200
    except OSError as error:
        raise LabError(f"the cluster's registry does not answer ({error}); run: python -m lab up") from error
    finally:
        connection.close()
