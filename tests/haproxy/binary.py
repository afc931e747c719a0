"""Where the tests' HAProxy comes from: the machine's own, else the one of the images' Debian root folder."""

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

OLDEST = (3, 0)


@functools.cache
def haproxy_command() -> tuple[str, ...]:
    """Return the words that start HAProxy 3.0 or later; the root folder is made first if it must be."""
    found = shutil.which("haproxy")
    if found and _version((found,)) >= OLDEST:
        return (found,)
    from lab.paths import places
    from lab.progress import Progress
    from lab.rootfs import ensure_rootfs

    return (str(_make_launcher(ensure_rootfs(Progress()), places().cache)),)


def _make_launcher(root: Path, cache: Path) -> Path:
    """Write a script that starts the folder's HAProxy with the folder's own loader and libraries.

    A script, since HAProxy's master executes itself again by the name that it was started with.
    """
    loader = next(root.glob("lib64/ld-linux*.so.*"), None) or next(root.glob("lib/ld-linux*.so.*"))
    libraries = ":".join(
        str(folder) for folder in (*root.glob("usr/lib/*-linux-gnu"), *root.glob("lib/*-linux-gnu"))
    )
    script = cache / f"haproxy-{root.name}"
    unfinished = cache / f".{script.name}.{os.getpid()}"
    unfinished.write_text(
        f"#!/bin/sh\nexec '{loader}' --library-path '{libraries}' --argv0 '{script}'"
        f" '{root}/usr/sbin/haproxy' \"$@\"\n"
    )
    unfinished.chmod(0o755)
    unfinished.rename(script)
    return script


def _version(command: tuple[str, ...]) -> tuple[int, ...]:
    text = subprocess.run([*command, "-v"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)\.(\d+)", text)
    return tuple(int(number) for number in found.groups()) if found else (0,)
