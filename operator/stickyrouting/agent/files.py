"""Files that others replace under us, and files that we replace under others: each seen whole or not at all."""

import os
from dataclasses import dataclass, field
from pathlib import Path

_Signature = tuple[int, int, int] | None


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace ``path`` by ``data``, so that a reader or a crash finds the old or the new content; raises
    OSError.
    """
    part = path.with_name(f".{path.name}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def write_if_changed(path: Path, data: bytes) -> None:
    """Like :func:`write_atomically`, but leave a file alone that already holds ``data``."""
    try:
        if path.read_bytes() == data:
            return
    except FileNotFoundError:
        pass
    write_atomically(path, data)


@dataclass(slots=True)
class WatchedPath:
    """Notices by its metadata that a file or directory was replaced; a mounted volume is swapped by a
    symbolic link.
    """

    path: Path
    _seen: _Signature = field(default=None, init=False)

    def changed(self) -> bool:
        """Return whether the path was replaced, came or went since the last call."""
        found = _signature(self.path)
        if found == self._seen:
            return False
        self._seen = found
        return True


def _signature(path: Path) -> _Signature:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
