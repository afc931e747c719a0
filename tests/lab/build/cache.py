"""Artefacts in the cache: named by their inputs, made under a lock, visible only when complete."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Artefact:
    """A folder in the cache; ``key`` changes when any input changes."""

    name: str
    key: str

    def folder(self, cache: Path) -> Path:
        """Return where the complete artefact is."""
        return cache / f"{self.name}-{self.key}"


def key_of(parts: Iterable[bytes]) -> str:
    """Return 16 hex digits over the parts; their boundaries count."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:16]


def key_of_files(files: Iterable[Path], root: Path) -> str:
    """Return 16 hex digits over names (below ``root``), executable bits and contents of the files."""
    parts: list[bytes] = []
    for file in sorted(files):
        mode = b"x" if os.access(file, os.X_OK) else b"-"
        parts += [str(file.relative_to(root)).encode(), mode, file.read_bytes()]
    return key_of(parts)


@contextmanager
def locked(cache: Path, name: str) -> Iterator[None]:
    """Hold the lock of one artefact name; the kernel frees it when the holder dies."""
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ensure(cache: Path, artefact: Artefact, make: Callable[[Path], None]) -> Path:
    """Return the artefact's folder; if it is not there, let ``make`` fill a temporary one and rename it."""
    final = artefact.folder(cache)
    if final.exists():
        return final
    with locked(cache, artefact.name):
        if final.exists():
            return final
        unfinished = cache / f".{artefact.name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        make(unfinished)
        unfinished.rename(final)
    return final
