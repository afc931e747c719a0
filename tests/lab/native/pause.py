"""The image that holds a pod's namespaces: one static program, packed here so that no registry is needed."""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

from lab.build.cache import Artefact, ensure, key_of
from lab.build.golang import PAUSE, ensure_module
from lab.native.configs import PAUSE_IMAGE
from lab.progress import Progress

FILE = "pause.tar"
# How Go and images call what the kernel calls otherwise.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def ensure_pause(cache: Path, progress: Progress) -> Path:
    """Return a tar that ``ctr images import`` takes, building program and image if the cache has none."""
    artefact = Artefact("pause-image", key_of([PAUSE.artefact.key.encode(), PAUSE_IMAGE.encode()]))

    def make(folder: Path) -> None:
        program = ensure_module(PAUSE, cache, progress) / "pause"
        (folder / FILE).write_bytes(image_tar(PAUSE_IMAGE, program.read_bytes()))

    return ensure(cache, artefact, make) / FILE


def image_tar(name: str, program: bytes) -> bytes:
    """Return a ``docker save`` archive of an image whose only file and command is /pause.

    Layout: https://github.com/moby/docker-image-spec/blob/main/spec.md
    """
    layer = _tar({"pause": program}, mode=0o755)
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {"manifest.json": json.dumps(manifest).encode(), "config.json": config, "layer.tar": layer}
    return _tar(files, mode=0o644)


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
