"""A Debian 13 root folder: base of all images, and the place of an HAProxy for tests on the host."""

from collections.abc import Iterable
from pathlib import Path
from shutil import rmtree

from lab.build.cache import Artefact, ensure, key_of
from lab.commands import follow
from lab.native import prerequisites
from lab.paths import places
from lab.progress import Progress

SUITE = "trixie"
PACKAGES = ("ca-certificates", "haproxy", "python3", "python3-venv")


def artefact() -> Artefact:
    """Return the cache name of the root folder."""
    return Artefact("rootfs", key_of(part.encode() for part in (SUITE, *PACKAGES)))


def ensure_rootfs(progress: Progress, cache: Path | None = None) -> Path:
    """Return the folder with Debian 13 and HAProxy 3.0 (``usr/sbin/haproxy``), making it with debootstrap once."""

    def make(folder: Path) -> None:
        prerequisites.ensure(prerequisites.FOR_ROOTFS, progress)
        title = f"Debian {SUITE} with HAProxy (1 minute once)"
        progress.say(f"making {title}")
        include = f"--include={','.join(PACKAGES)}"
        follow(["debootstrap", "--variant=minbase", include, SUITE, str(folder)], title, progress)
        _empty(folder / name for name in ("var/cache/apt", "var/lib/apt/lists"))
        _empty([folder / "usr/share/doc", folder / "usr/share/man", folder / "usr/share/locale"])

    return ensure(cache or places().cache, artefact(), make)


def _empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        rmtree(folder, ignore_errors=True)
        folder.mkdir()
